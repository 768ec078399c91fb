//! Mistakes of the user: a clear error at the right place, exit status 2, nothing built or half-written.

use crate::project::{Project, Ran};

/// Builds everything, expects exit status 2 and each of `needles` on standard error.
#[track_caller]
fn refuses(project: &Project, needles: &[&str]) -> Ran {
    let ran = project.run(&["build"]);
    assert_eq!(ran.exit, Some(2), "{}{}", ran.stdout, ran.stderr);
    for needle in needles {
        assert!(
            ran.stderr.contains(needle),
            "{needle:?} is missing from:\n{}",
            ran.stderr
        );
    }
    assert!(!project.has("out"), "nothing is placed");
    ran
}

#[test]
fn all_mistakes_of_a_manifest_are_told_at_once_each_at_its_place() {
    let project = Project::new(
        "[data.orders]\npath = \"raw/orders.csv\"\nkye = [\"id\"]\n\n[daata.x]\npath = \"y\"\n\n[model.m]\ntrain = \"sasreck\"\ninput = \"data:ordres\"\n",
    )
    .file("raw/orders.csv", "id\n1\n");
    let ran = refuses(
        &project,
        &["kye", "key", "daata", "data", "sasreck", "sasrec"],
    );
    assert!(ran.stderr.contains("mlbuild.toml:6:1"), "{}", ran.stderr);
}

#[test]
fn a_label_that_names_no_target_gets_the_nearest() {
    let project = Project::sums();
    let ran = project.run(&["build", "data:totl"]);
    assert_eq!(ran.exit, Some(2));
    assert!(ran.stderr.contains("data:total"), "{}", ran.stderr);
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let project = Project::new("")
        .file("data/a.sql", "select * from data.b\n")
        .file("data/b.sql", "select * from data.a\n");
    refuses(&project, &["data:a", "data:b", "cycle"]);
}

#[test]
fn mistakes_in_sql_point_into_the_file() {
    let cases = [
        ("select * frm data.orders\n", "data/bad.sql:1"),
        ("select * from data.nothing\n", "data/bad.sql:1:15"),
        (
            "select id from data.orders; select 2 as two\n",
            "data/bad.sql:1",
        ),
        (
            "select id, now() as at from data.orders\n",
            "data/bad.sql:1:12",
        ),
        (
            "select id, $gap as gap from data.orders\n",
            "data/bad.sql:1:12",
        ),
        ("select\n    idd\nfrom data.orders\n", "data/bad.sql:2:5"),
    ];
    for (sql, place) in cases {
        let project = Project::sums().file("data/bad.sql", sql);
        let ran = project.run(&["build", "data:bad"]);
        assert_eq!(ran.exit, Some(2), "{sql}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stderr.contains(place),
            "{sql}: no {place} in:\n{}",
            ran.stderr
        );
    }
}

#[test]
fn an_unknown_column_gets_the_nearest_and_the_list() {
    let project = Project::sums().file("data/bad.sql", "select amuont from data.orders\n");
    let built = project.try_build(&["data:bad"]);
    let diagnostic = built.diagnostic("data:bad");
    let text = diagnostic.to_string();
    assert!(text.contains("amount"), "{text}");
    assert_eq!(diagnostic["places"][0]["line"], 1);
}

#[test]
fn broken_sources_are_named_with_their_line() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("raw/orders.csv", b"id,amount,note\n1,10\n", "2"),
        ("raw/orders.csv", b"id,amount,note\n1,10,\xff\n", "2"),
        ("raw/orders.csv", b"", "orders.csv"),
        ("raw/orders.csv", b"id,id\n1,2\n", "id"),
    ];
    for (path, bytes, needle) in cases {
        let project = Project::sums();
        project.write(path, bytes);
        let built = project.try_build(&["data:orders"]);
        assert_eq!(built.ran.exit, Some(2), "{bytes:?}: {}", built.ran.stderr);
        let text = built.diagnostic("data:orders").to_string();
        assert!(
            text.contains("orders.csv") && text.contains(needle),
            "{text}"
        );
    }
}

#[test]
fn a_truncated_parquet_file_is_named() {
    let project = Project::sums();
    project.build(&["data:page"]);
    let whole = std::fs::read(project.root().join("out/data/page.parquet")).unwrap();
    let broken = Project::new("[data.p]\npath = \"p.parquet\"\n");
    broken.write("p.parquet", &whole[..whole.len() / 2]);
    let built = broken.try_build(&["data:p"]);
    assert_eq!(built.ran.exit, Some(2));
    assert!(built.diagnostic("data:p").to_string().contains("p.parquet"));
}

#[test]
fn an_empty_glob_points_at_its_declaration() {
    let project = Project::new("[data.orders]\npath = \"raw/*.csv\"\n");
    refuses(
        &project,
        &["no file matches `raw/*.csv`", "mlbuild.toml:5:8"],
    );
}

#[test]
fn paths_and_names_stay_inside_the_project() {
    for path in ["../secret.csv", "/etc/passwd", "raw/../../x.csv"] {
        let project = Project::new(&format!("[data.x]\npath = \"{path}\"\nformat = \"csv\"\n"));
        refuses(&project, &["mlbuild.toml:5"]);
    }
    refuses(
        &Project::new("[data.\"../x\"]\npath = \"x.csv\"\n"),
        &["../x"],
    );
}

#[test]
fn failing_checks_fail_the_target_and_show_rows() {
    let project = Project::sums().file(
        "data/orders2.sql",
        "select id, amount, note from data.orders\n",
    );
    let manifest = project.read("mlbuild.toml");
    let checks = "[data.orders2.checks]\naccepted_values = { note = [\"a\"] }\n";
    project.write("mlbuild.toml", format!("{manifest}{checks}"));
    let built = project.try_build(&["data:orders2"]);
    assert_eq!(built.ran.exit, Some(1), "{}", built.ran.stderr);
    let diagnostic = built.diagnostic("data:orders2");
    assert!(
        diagnostic["detail"].to_string().contains('b'),
        "{diagnostic}"
    );
    assert!(!project.has("out/data/orders2.parquet"));

    // As a warning it passes, and says so again when nothing runs.
    project.write(
        "mlbuild.toml",
        format!("{manifest}{}", checks.replace("checks]", "checks.warn]")),
    );
    for replayed in [false, true] {
        let built = project.build(&["data:orders2"]);
        let warned = built
            .events
            .iter()
            .find(|event| event["event"] == "warning")
            .expect("it warns");
        assert_eq!(warned["replayed"], replayed);
    }
}

#[test]
fn a_duplicate_key_is_refused_with_the_rows() {
    let project = Project::sums();
    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n1,11,b\n");
    let built = project.try_build(&["data:orders"]);
    assert_eq!(built.ran.exit, Some(1));
    assert!(
        built.diagnostic("data:orders")["detail"]
            .to_string()
            .contains('1')
    );
}

#[test]
fn outside_a_project_the_way_in_is_named() {
    let project = Project::empty();
    let ran = project.run(&["build"]);
    assert_eq!(ran.exit, Some(2));
    assert!(ran.stderr.contains("mlbuild init"), "{}", ran.stderr);
}

#[test]
fn a_mistake_in_the_manifest_is_json_too_where_json_is_asked_for() {
    let project = Project::new("[data.a]\npth = \"a.csv\"\n");
    let ran = project.run(&["build", "--json"]);
    assert_eq!(ran.exit, Some(2));
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect();
    assert_eq!(lines[0]["event"], "diagnostic");
    let place = &lines[0]["diagnostic"]["places"][0];
    assert_eq!(
        (&place["file"], &place["line"]),
        (&"mlbuild.toml".into(), &5.into())
    );
}
