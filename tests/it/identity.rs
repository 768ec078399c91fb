//! What is in a key and what is not, seen from outside: who builds, where and when never counts.

use crate::project::Project;

/// A query with a parameter, a tie-breaking order, and a command with a declared variable.
fn project() -> Project {
    Project::new(
        r#"
[data.orders]
path = "raw/orders.csv"

[data.late]
params = { after = 10 }

[data.tag]
command = "printf 'level,seen\n%s,%s\n' \"$LEVEL\" \"${UNDECLARED:-none}\" > {out}"
env = { LEVEL = "1" }
out = "tag.csv"
format = "csv"
"#,
    )
    .file("raw/orders.csv", "id,at,amount\n1,10,5\n2,20,6\n3,20,7\n")
    .file(
        "data/late.sql",
        "select id, amount from data.orders where at > $after order by at, id",
    )
    .file("data/sum.sql", "select sum(amount) as total from data.late")
}

const ALL: [&str; 4] = ["data:late", "data:orders", "data:sum", "data:tag"];

#[test]
fn a_parameter_in_the_middle_rebuilds_what_depends_on_it() {
    let project = project();
    project.build(&[]).built(&ALL);
    project.replace("mlbuild.toml", "after = 10", "after = 9");
    let built = project.build(&[]);
    built.built(&["data:late", "data:sum"]);
    assert_eq!(built.reasons("data:late"), ["parameter after: 10 -> 9"]);
}

#[test]
fn the_tie_rule_of_an_order_is_identity() {
    let project = project();
    project.write("data/first.sql", "select * from data.late limit 1");
    project.build(&[]);
    project.replace(
        "data/late.sql",
        "order by at, id",
        "order by at, amount desc",
    );
    let built = project.build(&[]);
    // The sum reads amounts in another order: other content, the same total.
    built.built(&["data:first", "data:late", "data:sum"]);
    project.assert_same_as_clean_build(&[]);
}

#[test]
fn a_declared_variable_counts_and_an_undeclared_one_is_not_even_seen() {
    let project = project();
    project.build(&[]);
    let with = |name: &str, value: &str| {
        let output = project
            .command(&["build", "--json"])
            .env(name, value)
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: serde_json::Value =
            serde_json::from_str(text.lines().last().unwrap()).unwrap();
        summary["built"].as_array().unwrap().len()
    };
    assert_eq!(with("UNDECLARED", "x"), 0);
    // What the manifest declares is the value, whatever the caller's environment says.
    assert_eq!(with("LEVEL", "9"), 0);
    project.replace("mlbuild.toml", "LEVEL = \"1\"", "LEVEL = \"2\"");
    let built = project.build(&[]);
    built.built(&["data:tag"]);
    assert_eq!(built.reasons("data:tag"), ["environment LEVEL: 1 -> 2"]);
    let show = project.run(&["show", "data:tag"]).stdout;
    assert!(show.contains("none"), "{show}");
}

#[test]
fn user_home_time_zone_locale_and_umask_do_not_count() {
    let project = project();
    project.build(&[]).built(&ALL);
    let home = tempfile::tempdir().unwrap();
    let environments: [&[(&str, &str)]; 4] = [
        &[("USER", "somebody"), ("LOGNAME", "somebody")],
        &[
            ("HOME", home.path().to_str().unwrap()),
            ("XDG_CACHE_HOME", "/nowhere"),
        ],
        &[("TZ", "Asia/Kathmandu")],
        &[("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8")],
    ];
    for environment in environments {
        let mut command = project.command(&["build", "--json"]);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: serde_json::Value =
            serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(
            summary["up_to_date"].as_array().unwrap().len(),
            ALL.len(),
            "{environment:?}"
        );
    }
}

#[test]
fn the_same_keys_come_of_another_folder_time_zone_and_locale() {
    // Not the same cache: built anew, with the same results.
    let keys = |project: &Project, environment: &[(&str, &str)]| {
        let mut build = project.command(&["build"]);
        assert!(
            build
                .envs(environment.iter().copied())
                .output()
                .unwrap()
                .status
                .success()
        );
        let sql = "select label, key, artifact from actions order by label, stage";
        project.run(&["query", "--format", "csv", sql]).stdout
    };
    let here = keys(&project(), &[]);
    assert!(here.lines().count() > ALL.len(), "{here}");
    let elsewhere = keys(
        &project(),
        &[("TZ", "Pacific/Apia"), ("LC_ALL", "tr_TR.UTF-8")],
    );
    assert_eq!(here, elsewhere);
}

#[test]
fn the_accelerator_asked_for_counts() {
    let project = Project::new(
        r#"
[model.next]
train = "popularity"
input = "data:lists"
sequence = "items"
resources = { gpus = 1 }
"#,
    )
    .file("data/lists.sql", "select 1 as u, array_agg(x order by x) as items from (select 1 as x union all select 2 as x) t");
    let without = project.try_build(&[]);
    without.failed(&["model:next"]);
    assert_eq!(without.ran.exit, Some(3));
    let on_cpu = project.run(&["build", "--device", "cpu"]);
    assert_eq!(on_cpu.exit, Some(0), "{}", on_cpu.stderr);
    // The project still asks for a GPU, which is another key.
    project.try_build(&[]).failed(&["model:next"]);
    project.replace("mlbuild.toml", "gpus = 1", "gpus = 0");
    project.build(&[]).built(&[]);
}
