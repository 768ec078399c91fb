//! What a build executes, restores and leaves alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::project::Project;

const ALL: [&str; 3] = ["data:orders", "data:page", "data:total"];

#[test]
fn a_second_build_does_nothing_and_says_so() {
    let project = Project::sums();
    project.build(&["data:page"]).built(&ALL);
    project.build(&["data:page"]).built(&[]).restored(&[]);
    let ran = project.run(&["build", "data:page"]);
    assert!(
        ran.stdout
            .starts_with("data:page is up to date (3 targets looked at in "),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn an_unchanged_output_stops_the_rebuild() {
    let project = Project::sums();
    project.build(&["data:page"]);
    project.write("raw/orders.csv", "id,amount,note\n1,11,a\n2,31,b\n");
    project
        .build(&["data:page"])
        .built(&["data:orders", "data:total"])
        .restored(&[]);
    project.assert_same_as_clean_build(&["data:page"]);
}

#[test]
fn a_comment_in_a_query_rebuilds_nothing() {
    let project = Project::sums();
    project.build(&["data:page"]);
    project.write(
        "data/total.sql",
        "-- the sum\nSELECT sum(amount) AS total\nFROM data.orders /* all */\n",
    );
    project.build(&["data:page"]).built(&[]).restored(&[]);
}

#[test]
fn touching_a_source_rebuilds_nothing() {
    let project = Project::sums();
    project.build(&["data:page"]);
    project.write("raw/orders.csv", project.read("raw/orders.csv"));
    project.build(&["data:page"]).built(&[]).restored(&[]);
}

#[test]
fn reverting_restores_from_the_cache() {
    let project = Project::sums();
    project.build(&["data:page"]);
    project.replace("data/page.sql", "* 2", "* 3");
    project.build(&["data:page"]).built(&["data:page"]);
    project.replace("data/page.sql", "* 3", "* 2");
    let built = project.build(&["data:page"]);
    built.built(&[]).restored(&["data:page"]);
    assert_eq!(built.reasons("data:page"), ["query: 3 -> 2"]);
    project.assert_same_as_clean_build(&["data:page"]);
}

#[test]
fn a_removed_output_is_placed_again_without_executing() {
    let project = Project::sums();
    project.build(&["data:page"]);
    std::fs::remove_dir_all(project.root().join("out")).unwrap();
    project
        .build(&["data:page"])
        .built(&[])
        .restored(&["data:page"]);
    assert!(project.has("out/data/page.parquet"));
    assert!(
        !project.has("out/data/total.parquet"),
        "only what is asked for is placed"
    );
}

#[test]
fn a_moved_project_builds_nothing() {
    let project = Project::sums();
    project.build(&["data:page"]);
    let moved = Project::empty();
    crate::project::copy_folder(project.root(), moved.root(), &["out"]);
    moved.build(&["data:page"]).built(&[]);
}

#[test]
fn a_parameter_rebuilds_exactly_what_depends_on_it() {
    let project = Project::sums();
    project.write(
        "mlbuild.toml",
        "[project]\nname = \"test\"\n[data.orders]\npath = \"raw/*.csv\"\n[data.page]\nparams = { factor = 2 }\n",
    );
    project.write(
        "data/page.sql",
        "select total * $factor as page from data.total\n",
    );
    project.build(&["data:page"]);
    project.replace("mlbuild.toml", "factor = 2", "factor = 5");
    let built = project.build(&["data:page"]);
    built.built(&["data:page"]);
    assert_eq!(built.reasons("data:page"), ["parameter factor: 2 -> 5"]);
}

#[test]
fn force_executes_the_named_targets_only() {
    let project = Project::sums();
    project.build(&["data:page"]);
    project
        .build(&["--force", "data:total"])
        .built(&["data:total"]);
}

#[test]
fn a_failure_spares_what_does_not_depend_on_it() {
    let project = Project::sums()
        .file(
            "data/broken.sql",
            "select no_such_column from data.orders\n",
        )
        .file("data/after.sql", "select * from data.broken\n");
    let built = project.try_build(&["--keep-going"]);
    assert_eq!(built.ran.exit, Some(2), "{}", built.ran.stderr);
    built
        .built(&ALL)
        .failed(&["data:broken"])
        .skipped(&["data:after"]);
    project.try_build(&["data:page"]).built(&[]).failed(&[]);
}

#[test]
fn a_failed_target_is_never_cached() {
    let project = Project::new("[data.made]\ncommand = \"cat {src}/word > {out}; exit 1\"\nsrcs = [\"word\"]\nout = \"w\"\nformat = \"files\"\n")
        .file("word", "x");
    for _ in 0..2 {
        let built = project.try_build(&["data:made"]);
        assert_eq!(built.ran.exit, Some(1));
        built.failed(&["data:made"]);
    }
    assert!(!project.has("out/data/made"));
}

#[test]
fn serial_and_parallel_builds_give_the_same_bytes() {
    let serial = Project::sums();
    serial.build(&["--jobs", "1"]);
    let parallel = Project::sums();
    parallel.build(&["--jobs", "4"]);
    assert_eq!(
        crate::project::outputs(serial.root()),
        crate::project::outputs(parallel.root())
    );
}

/// Files that are taken as they are cost what changed of them, and are what an executor would have made of them.
#[test]
fn one_file_more_among_many_stores_one_object() {
    let project = Project::new("[data.notes]\npath = \"notes\"\nformat = \"files\"\n");
    for number in 0..40 {
        project.write(
            &format!("notes/{}/{number}", number % 3),
            format!("note {number}"),
        );
    }
    let program = project.root().join("notes/run");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    project.build(&[]).built(&["data:notes"]);
    let objects = || {
        let stats = project.run(&["cache", "stats", "--json"]).stdout;
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        stats["objects"]["files"].as_u64().unwrap()
    };
    assert_eq!(objects(), 41);
    project.write("notes/more", "one more");
    project.build(&[]).built(&["data:notes"]);
    assert_eq!(objects(), 42);
    let placed = fs::metadata(project.root().join("out/data/notes/notes/run")).unwrap();
    assert_eq!(placed.permissions().mode() & 0o777, 0o755);
    let verified = project.run(&["verify"]);
    assert_eq!(
        verified.exit,
        Some(0),
        "{}{}",
        verified.stdout,
        verified.stderr
    );
    project.assert_same_as_clean_build(&[]);
}
