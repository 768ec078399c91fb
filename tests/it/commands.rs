//! The other commands, as a newcomer would try them.

use serde_json::Value;

use crate::project::Project;

#[test]
fn init_writes_a_project_that_builds_to_its_report() {
    let project = Project::empty();
    let ran = project.run(&["init"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    project.build(&[]);
    for file in ["report.html", "report.md", "report.json"] {
        assert!(project.has(&format!("out/report/songs/{file}")), "{file}");
    }
    let report: Value =
        serde_json::from_str(&project.read("out/report/songs/report.json")).unwrap();
    assert_eq!(report["gates"][0]["passed"], true, "{report:#}");
    project.build(&[]).built(&[]);

    let again = project.run(&["init"]);
    assert_eq!(again.exit, Some(2));
    assert!(
        again.stderr.contains("already has mlbuild.toml"),
        "{}",
        again.stderr
    );
}

#[test]
fn ls_selects_with_the_grammar_that_dbt_users_know() {
    let project = Project::sums();
    let names = |selection: &[&str]| {
        let arguments: Vec<&str> = ["ls", "--json"].iter().chain(selection).copied().collect();
        let ran = project.run(&arguments);
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        let names = ran.stdout.lines().map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            value["target"].as_str().unwrap().to_owned()
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["data:orders", "data:total", "data:page"]);
    assert_eq!(names(&["+data:total"]), ["data:orders", "data:total"]);
    assert_eq!(names(&["data:total+"]), ["data:total", "data:page"]);
    assert_eq!(names(&["kind:data,data:p*"]), ["data:page"]);
    assert_eq!(names(&["state:stale"]).len(), 3);
    project.build(&[]);
    assert_eq!(names(&["state:stale"]).len(), 0);
}

#[test]
fn show_prints_columns_digests_and_rows() {
    let project = Project::sums();
    project.build(&["data:page"]);
    let ran = project.run(&["show", "data:page"]);
    assert!(ran.stdout.contains("total"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("42") && ran.stdout.contains("84"),
        "{}",
        ran.stdout
    );
}

#[test]
fn lineage_shows_both_ways_with_digests() {
    let project = Project::sums();
    project.build(&["data:page"]);
    let ran = project.run(&["lineage", "data:total"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("data:total "), "{}", ran.stdout);
    assert_eq!(lines[2], "made from");
    assert!(lines[3].trim_start().starts_with("data:orders ") && lines[3].ends_with("2 rows"));
    assert_eq!(lines[5], "used by");
    assert!(lines[6].trim_start().starts_with("data:page "));
}

#[test]
fn query_reads_lineage_and_refuses_to_write() {
    let project = Project::sums();
    assert_eq!(project.run(&["query", "select 1"]).exit, Some(2));
    project.build(&["data:page"]);
    let sql = "select label, outcome from targets order by label";
    let ran = project.run(&["query", "--format", "csv", sql]);
    assert_eq!(
        ran.stdout,
        "label,outcome\ndata:orders,built\ndata:page,built\ndata:total,built\n"
    );
    let ran = project.run(&["query", "drop table run"]);
    assert_eq!(ran.exit, Some(2));
    assert_eq!(project.run(&["query", "select 1 +"]).exit, Some(2));
    assert!(project.run(&["query"]).stdout.contains("edges"));
    assert!(
        project
            .run(&["log"])
            .stdout
            .contains("build --json data:page")
    );
}

#[test]
fn clean_removes_outputs_and_on_request_the_cache() {
    let project = Project::sums();
    project.build(&["data:page"]);
    assert_eq!(project.run(&["clean"]).exit, Some(0));
    assert!(!project.has("out"));
    project
        .build(&["data:page"])
        .built(&[])
        .restored(&["data:page"]);
    project.run(&["clean", "--cache"]);
    project
        .build(&["data:page"])
        .built(&["data:orders", "data:page", "data:total"]);
    assert!(project.has(".mlbuild/lineage.db"));
    project.run(&["clean", "--all"]);
    assert!(!project.has(".mlbuild"));
}

#[test]
fn doctor_completions_and_version_answer() {
    let project = Project::empty();
    assert_eq!(project.run(&["doctor"]).exit, Some(0));
    let completions = project.run(&["completions", "bash"]);
    assert!(completions.stdout.contains("_mlbuild"));
    assert!(project.run(&["--version"]).stdout.starts_with("mlbuild "));
    assert_eq!(project.run(&["bulid"]).exit, Some(2));
}

#[test]
fn a_command_target_logs_what_it_prints() {
    let project = Project::new(
        "[data.made]\ncommand = \"echo hello; printf 'id\\\\n1\\\\n' > {out}\"\nout = \"made.csv\"\nformat = \"csv\"\n",
    );
    project.build(&["data:made"]);
    let log = project.run(&["log", "data:made"]);
    assert!(
        log.stdout.contains("--- command\nhello\n"),
        "{}",
        log.stdout
    );
}
