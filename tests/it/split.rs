//! `split`: parts as targets, and what a change in one of them runs.

use std::fmt::Write as _;

use crate::project::Project;

fn orders(rows: usize) -> String {
    let mut csv = "id,user,amount,at\n".to_owned();
    for id in 0..rows {
        let _ = writeln!(
            csv,
            "{id},{},{},2024-{:02}-01",
            id % 31,
            id * 7 % 100,
            1 + id * 12 / rows
        );
    }
    csv
}

/// Orders, split as `split` says, and a table made of the rows to train on.
fn project(split: &str) -> Project {
    Project::new(&format!(
        r#"
[data.orders]
path = "orders.csv"
key = ["id"]

[features.parts]
split = "data:orders"
{split}

[features.sums]
sql = "select \"user\", sum(amount) as amount from features.train group by \"user\""

[features.train]
sql = "select * from features.parts where part = 'train'"
"#
    ))
    .file("orders.csv", &orders(400))
}

fn count(project: &Project, target: &str) -> u64 {
    let shown = project.run(&["show", target, "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    shown["rows"].as_u64().unwrap()
}

const THIRDS: &str = "by = \"random\"\nparts = { train = 0.8, valid = 0.1, test = 0.1 }";

#[test]
fn a_changed_test_row_runs_nothing_behind_the_training_rows() {
    let project = project(THIRDS);
    project.build(&["features:sums", "features:parts@part=test"]);
    let rows = ["train", "valid", "test"].map(|part| {
        let target = format!("features:parts@part={part}");
        project.build(&[&target]);
        count(&project, &target)
    });
    assert_eq!(rows.iter().sum::<u64>(), 400);
    assert!(
        (290..350).contains(&rows[0]) && rows[1] > 20 && rows[2] > 20,
        "{rows:?}"
    );
    let shown = project
        .run(&["show", "features:parts@part=test", "--json"])
        .stdout;
    assert!(!shown.contains("\"name\":\"part\""), "{shown}");

    // One value of the first row that is in the test part.
    let first = project
        .run(&["show", "features:parts@part=test", "--rows", "1"])
        .stdout;
    let id: usize = first
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let old = format!("\n{id},{},{},", id % 31, id * 7 % 100);
    let new = format!("\n{id},{},{},", id % 31, 1000);
    project.replace("orders.csv", &old, &new);
    let built = project.build(&["features:sums", "features:parts@part=test"]);
    built.built(&[
        "data:orders",
        "features:parts",
        "features:parts@part=test",
        "features:train",
    ]);

    // More rows: those that were there keep their part.
    let before = project
        .run(&["show", "features:train", "--rows", "1000"])
        .stdout;
    project.write(
        "orders.csv",
        orders(400) + "9000,1,1,2024-12-01\n9001,1,1,2024-12-01\n",
    );
    project.build(&["features:train"]);
    let after = project
        .run(&["show", "features:train", "--rows", "1000"])
        .stdout;
    let ids = |text: &str| -> Vec<String> {
        let words = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        words
            .filter(|word| word.parse::<u32>().is_ok_and(|id| id < 9000))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(ids(&before), ids(&after));
    project.assert_same_as_clean_build(&[
        "features:sums",
        "features:parts@part=test",
        "features:parts@part=train",
        "features:parts@part=valid",
        "features:train",
    ]);
}

#[test]
fn folds_come_with_what_is_left_without_each() {
    let project = project(THIRDS);
    let manifest = project.read("mlbuild.toml");
    let folds = manifest
        .replace(THIRDS, "by = \"group\"\ngroup = [\"user\"]\nfolds = 4")
        .replace("part = 'train'", "fold <> 0");
    project.write("mlbuild.toml", folds);
    project.build(&["features:parts@*"]);
    for fold in 0..4 {
        let own = count(&project, &format!("features:parts@fold={fold}"));
        let rest = count(&project, &format!("features:parts@without={fold}"));
        assert_eq!(own + rest, 400);
        assert!(own > 0);
    }
    project.build(&["features:train"]);
    assert_eq!(
        count(&project, "features:train"),
        count(&project, "features:parts@without=0")
    );
    let verified = project.run(&["verify", "features:parts", "features:parts@fold=1"]);
    assert_eq!(verified.exit, Some(0), "{}", verified.stderr);
}

#[test]
fn time_decides_and_the_lineage_of_a_part_is_the_time() {
    let project = project(
        "by = \"time\"\ntime = \"at\"\nuntil = { train = 2024-07-01, valid = \"2024-10-01\" }",
    );
    project.build(&["features:train", "features:parts"]);
    assert_eq!(count(&project, "features:train"), 200);
    let lineage = project.run(&["lineage", "features:parts.part"]).stdout;
    assert!(
        lineage.contains("data:orders  at; not id, user, amount"),
        "{lineage}"
    );

    project.replace("mlbuild.toml", "2024-07-01", "2023-01-01");
    let built = project.try_build(&["features:parts"]);
    assert_eq!(built.ran.exit, Some(1));
    assert_eq!(
        built.diagnostic("features:parts")["code"],
        "split::empty-part"
    );
}
