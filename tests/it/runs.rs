//! `runs`: the history of models as a table of experiments.

use serde_json::Value;

use crate::project::Project;

const TABLES: &str = r#"
[data.events]
path = "events.csv"

[features.train]
key = ["u"]
sql = "select u, array_agg(item order by seq) as history from data.events where seq < 4 group by u"

[features.valid]
key = ["u"]
sql = "select t.u, t.history, e.item as target from features.train t join data.events e on e.u = t.u and e.seq = 4"
"#;

fn project(models: &str) -> Project {
    let rows = (0..20).flat_map(|u| {
        (0..5).map(move |seq| format!("{u},{seq},{}\n", (u * 2 + seq * (1 + u % 3)) % 11))
    });
    Project::new(&format!("{TABLES}{models}")).file(
        "events.csv",
        &format!("u,seq,item\n{}", rows.collect::<String>()),
    )
}

fn knn(foreach: &str) -> String {
    format!(
        r#"
[model.knn]
train = "item_knn"
input = "features:train"
validate = "features:valid"
foreach = {foreach}
pick = {{ metric = "valid_ndcg@10", max = true }}
"#
    )
}

fn rows(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let ran = project.run(&[&["runs", "--json"], arguments].concat());
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_time_a_model_was_made_is_a_row_and_what_is_equal_is_said_once() {
    let project = project(&knn("{ neighbours = [1, 2, 3], last = [2] }"));
    assert!(
        project
            .run(&["runs"])
            .stderr
            .contains("nothing has been built here yet")
    );
    project.build(&["features:train"]);
    assert_eq!(project.run(&["runs"]).stdout, "");
    project.build(&["model:knn"]);
    project.replace("mlbuild.toml", "[1, 2, 3]", "[2, 3, 4]");
    project.build(&["model:knn"]);
    project.build(&["model:knn"]);

    let all = rows(&project, &[]);
    let labels: Vec<&str> = all
        .iter()
        .map(|row| row["target"].as_str().unwrap())
        .collect();
    assert_eq!(
        labels,
        [
            "model:knn@last=2@neighbours=4",
            "model:knn@last=2@neighbours=1",
            "model:knn@last=2@neighbours=2",
            "model:knn@last=2@neighbours=3",
        ],
        "the newest run first; what was up to date is no row"
    );
    let newest = &all[0];
    assert_eq!(newest["parameters"]["neighbours"], 4);
    assert_eq!(
        (&newest["device"], &newest["model"], &newest["outcome"]),
        (&"cpu".into(), &"model:knn".into(), &"built".into())
    );
    assert!(
        newest["metrics"]["valid_ndcg@10"].is_f64() && newest["seconds"].is_f64(),
        "{newest}"
    );
    assert_eq!(newest["artifact"].as_str().unwrap().len(), 64);

    let table = project.run(&["runs", "knn"]).stdout;
    let header = table.lines().next().unwrap();
    assert!(
        header.contains("neighbours")
            && header.contains("valid_ndcg@10")
            && !header.contains("last"),
        "{table}"
    );
    assert!(table.contains("in all of them: last 2"), "{table}");
    assert_eq!(table.lines().count(), 6, "{table}");
    assert_eq!(
        table.lines().filter(|line| line.contains(" * ")).count(),
        all.iter().filter(|row| row["picked"] == true).count()
    );

    let mut narrow = project.command(&["runs", "knn"]);
    let narrow = project
        .ran(narrow.env("COLUMNS", "110").output().unwrap())
        .stdout;
    assert!(
        narrow
            .lines()
            .take(5)
            .all(|line| line.chars().count() <= 110),
        "{narrow}"
    );
    assert!(narrow.contains("too wide for this terminal: "), "{narrow}");
}

#[test]
fn the_best_come_first_and_a_model_that_is_not_there_is_named() {
    let project = project(&knn("{ neighbours = [1, 2, 3, 4], last = [1, 3] }"));
    project.build(&["model:knn"]);
    let figures = |arguments: &[&str]| -> Vec<f64> {
        rows(&project, arguments)
            .iter()
            .map(|row| row["metrics"]["valid_ndcg@10"].as_f64().unwrap())
            .collect()
    };
    let best = figures(&["--best", "valid_ndcg@10"]);
    assert_eq!(best.len(), 8);
    assert!(
        best.is_sorted_by(|a, b| a >= b) && best[0] > best[7],
        "{best:?}"
    );
    let mut worst = figures(&["--best", "valid_ndcg@10", "--min"]);
    worst.reverse();
    assert_eq!(best, worst);
    assert_eq!(
        figures(&["--best", "valid_ndcg@10", "--limit", "3"]),
        best[..3]
    );
    let point = rows(&project, &["--best", "valid_ndcg@10", "--limit", "1"]).remove(0);
    assert_eq!(figures(&[point["target"].as_str().unwrap()]), best[..1]);

    let wrong = |arguments: &[&str]| {
        let ran = project.run(&[&["runs"], arguments].concat());
        assert_eq!(ran.exit, Some(2), "{}", ran.stdout);
        ran.stderr
    };
    assert!(wrong(&["--best", "valid_ndgc@10"]).contains("did you mean `valid_ndcg@10`?"));
    assert!(wrong(&["knm"]).contains("did you mean `model:knn`?"));
    assert!(wrong(&["--compare", "1", "2"]).contains("run 2 made no model"));
}

#[test]
fn two_are_compared_by_what_differs() {
    let project = project(&format!(
        "{}\n[model.top]\ntrain = \"popularity\"\ninput = \"features:train\"\n",
        knn("[{ neighbours = 2 }, { neighbours = 3, last = 1 }]")
    ));
    project.build(&["model:knn"]);
    project.build(&["model:top"]);
    let compared = project
        .run(&[
            "runs",
            "--compare",
            "1:knn@neighbours=2",
            "knn@last=1@neighbours=3",
        ])
        .stdout;
    let line = |text: &str, start: &str| -> String {
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with(start));
        let words = found
            .unwrap_or_else(|| panic!("{start} in {text}"))
            .split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line(&compared, "neighbours"), "neighbours 2 3");
    assert_eq!(line(&compared, "last"), "last 5 1");
    assert!(
        !compared.contains("data\n"),
        "both saw the same: {compared}"
    );
    assert!(
        compared.contains("the same in both: 2 inputs"),
        "{compared}"
    );

    // Other data: the input differs, by digest; the picked point stands for the model, and `2` for the one model of that run.
    project.replace("events.csv", "\n0,0,0\n", "\n0,0,1\n");
    project.build(&["model:knn"]);
    let compared = project.run(&["runs", "--compare", "1", "knn", "--json"]);
    let compared: Value = serde_json::from_str(&compared.stdout).unwrap();
    assert_eq!(
        (&compared["a"]["run"], &compared["b"]["run"]),
        (&1.into(), &3.into())
    );
    assert_eq!(
        (&compared["a"]["picked"], &compared["b"]["picked"]),
        (&true.into(), &true.into())
    );
    assert!(compared["inputs"]["input"]["a"].is_string(), "{compared}");
    let two = project.run(&["runs", "--compare", "2", "1"]).stdout;
    assert_eq!(
        line(&two, "model"),
        format!(
            "model model:top {}",
            compared["a"]["target"].as_str().unwrap()
        )
    );
}
