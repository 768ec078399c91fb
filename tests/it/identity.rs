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

#[test]
fn variables_of_the_caller_count_by_value_secrets_by_name_and_tools_by_version() {
    let project = Project::new(
        r#"
[data.tag]
command = "printf 'region,token\n%s,%s\n' \"${REGION-unset}\" \"$(printf %s $TOKEN | wc -c)\" > {out}; echo the token is $TOKEN"
env = { REGION = { from = "MY_REGION" }, TOKEN = "env:MY_TOKEN" }
tools = ["probe"]
out = "tag.csv"
format = "csv"
"#,
    );
    let bin = tempfile::tempdir().unwrap();
    let tool = |version: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = bin.path().join("probe");
        std::fs::write(&path, format!("#!/bin/sh\necho probe {version}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    tool("1.0");
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = project.command(arguments);
        command.env("PATH", &path).envs(environment.iter().copied());
        project.ran(command.output().unwrap())
    };
    let reasons = |environment: &[(&str, &str)]| {
        let ran = run(&["build", "--json"], environment);
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        assert!(!ran.stdout.contains("hunter22") && !ran.stderr.contains("hunter22"));
        let events = ran
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let finished = events.filter(|event| event["event"] == "finished");
        let reasons = finished.flat_map(|event| event["reasons"].as_array().unwrap().clone());
        reasons
            .map(|reason| reason["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    let unset = run(&["build"], &[]);
    assert_eq!(unset.exit, Some(3), "{}", unset.stderr);
    assert!(
        unset.stderr.contains("`MY_TOKEN` is not set"),
        "{}",
        unset.stderr
    );

    let token = ("MY_TOKEN", "hunter22");
    assert_eq!(reasons(&[token]), ["never built before"]);
    let log = run(&["log", "data:tag"], &[]).stdout;
    assert!(log.contains("the token is ***"), "{log}");
    // Another secret is the same action; unset, empty and set are three different ones.
    assert_eq!(reasons(&[("MY_TOKEN", "other")]), [""; 0]);
    assert_eq!(
        reasons(&[token, ("MY_REGION", "")]),
        ["environment REGION: (unset) -> "]
    );
    assert_eq!(
        reasons(&[token, ("MY_REGION", "eu")]),
        ["environment REGION:  -> eu"]
    );
    assert!(
        run(&["show", "data:tag"], &[token, ("MY_REGION", "eu")])
            .stdout
            .contains("eu")
    );

    tool("1.1");
    assert_eq!(
        reasons(&[token, ("MY_REGION", "eu")]),
        ["tool probe: probe 1.0 -> probe 1.1"]
    );
    let null = run(&["build", "--json"], &[token, ("MY_REGION", "eu")]).stdout;
    let summary: serde_json::Value = serde_json::from_str(null.lines().last().unwrap()).unwrap();
    assert_eq!(summary["processes"], 0);
    std::fs::remove_file(bin.path().join("probe")).unwrap();
    let missing = run(&["build"], &[token]);
    assert_eq!(missing.exit, Some(3));
    assert!(
        missing.stderr.contains("there is no program `probe`"),
        "{}",
        missing.stderr
    );
}
