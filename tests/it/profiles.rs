//! Profiles, and parameters on the command line: variants of one project.

use crate::project::{Built, Project};

/// A raw table, a query with a parameter, and a model; the profile `small` reads a sample and counts otherwise.
fn project() -> Project {
    Project::new(
        r#"
[data.plays]
path = "raw/plays.csv"
key = ["id"]

[features.lists]
key = ["user"]
params = { least = 1 }

[data.words]
path = "raw/words.csv"

[model.next]
train = "popularity"
input = "features:lists"
sequence = "items"

[profile.small]
description = "a sample"
data.plays.path = "raw/sample.csv"

[profile.tiny.features.lists]
params = { least = 2 }

[profile.same.features.lists]
params = { least = 1 }
"#,
    )
    .file(
        "raw/plays.csv",
        "id,user,item\n1,1,7\n2,1,8\n3,2,7\n4,2,9\n5,3,7\n",
    )
    .file("raw/sample.csv", "id,user,item\n1,1,7\n2,1,8\n")
    .file("raw/words.csv", "word\na\n")
    .file(
        "features/lists.sql",
        "select user, array_agg(item order by id) as items from data.plays group by user having count(*) >= $least\n",
    )
}

fn build(project: &Project, more: &[&str]) -> Built {
    project.build(more)
}

#[test]
fn a_profile_builds_what_it_changes_apart_and_shares_the_rest() {
    let project = project();
    build(&project, &[]).built(&["data:plays", "data:words", "features:lists", "model:next"]);
    let full = project.read("out/model/next/model.json");

    let small = build(&project, &["--profile", "small"]);
    small
        .built(&["data:plays", "features:lists", "model:next"])
        .restored(&["data:words"]);
    assert_eq!(small.events[0]["profile"], "small");
    // The first build under a profile is explained by what there was without one.
    assert_eq!(
        small.reasons("data:plays"),
        ["files: raw/plays.csv removed, raw/sample.csv added"]
    );
    assert_ne!(
        project.read("out/profile/small/model/next/model.json"),
        full
    );
    assert_eq!(project.read("out/model/next/model.json"), full);
    assert!(project.has("out/profile/small/data/words.parquet"));

    // Each has its own state: going to and fro does nothing.
    for _ in 0..2 {
        build(&project, &[]).built(&[]).restored(&[]);
        build(&project, &["--profile", "small"])
            .built(&[])
            .restored(&[]);
    }
    build(&project, &["--profile", "default"])
        .built(&[])
        .restored(&[]);
}

#[test]
fn a_profile_that_changes_nothing_runs_nothing_and_no_profile_is_in_a_key() {
    let project = project();
    build(&project, &["--profile", "same"]);
    build(&project, &[]).built(&[]);
    let keys = "select count(*), count(distinct key) from actions where label = 'features:lists'";
    let keys = project.run(&["query", "--format", "csv", keys]).stdout;
    assert_eq!(keys.lines().last(), Some("2,1"));
}

#[test]
fn what_is_asked_for_is_part_of_the_question() {
    // Null builds of two variants leave two snapshots.
    let project = project();
    for profile in ["default", "tiny"] {
        build(&project, &["--profile", profile]);
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    let snapshot = |more: &[&str]| {
        build(&project, more);
        build(&project, more).events.last().unwrap()["snapshot"] == true
    };
    assert!(snapshot(&["--profile", "tiny"]));
    assert!(snapshot(&["--profile", "default"]));
    assert!(snapshot(&[]), "no profile and `default` are one");
    let given = build(&project, &["--param", "features:lists.least=2"]);
    given.built(&[]).restored(&["features:lists", "model:next"]);
}

#[test]
fn plan_why_and_history_go_by_profile() {
    let project = project();
    build(&project, &[]);
    let plan = project.run(&["plan", "--profile", "tiny", "features:lists"]);
    assert!(
        plan.stdout.contains("parameter least: 1 -> 2"),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
    assert!(
        !plan.stdout.contains("about"),
        "no history: {}",
        plan.stdout
    );
    build(&project, &["--profile", "tiny"]);
    // The last build under the profile counts now.
    project.replace("mlbuild.toml", "least = 2", "least = 3");
    let why = project
        .run(&["why", "--profile", "tiny", "features:lists"])
        .stdout;
    assert!(why.contains("parameter least: 2 -> 3"), "{why}");
    assert!(why.contains("(run 2):\n  parameter least: 1 -> 2"), "{why}");
    let why = project.run(&["why", "features:lists"]).stdout;
    assert!(why.contains("is up to date"), "{why}");
    assert!(why.contains("(run 1):\n  never built before"), "{why}");

    build(
        &project,
        &["--profile", "tiny", "--param", "features:lists.least=1"],
    );
    let runs = "select run, profile from runs order by run";
    let runs = project.run(&["query", "--format", "csv", runs]).stdout;
    assert_eq!(
        runs.lines().collect::<Vec<_>>(),
        ["run,profile", "1,", "2,tiny", "3,tiny"]
    );
    let given = "select * from given_parameters";
    let given = project.run(&["query", "--format", "csv", given]).stdout;
    assert_eq!(given.lines().last(), Some("3,features:lists,least,1"));
}

#[test]
fn a_parameter_of_the_command_line_counts_for_this_once() {
    let project = project();
    build(&project, &[]);
    let given = [
        "--param",
        "features:lists.least=9",
        "--param",
        "features:lists.least=2",
    ];
    let built = build(&project, &given);
    built.built(&["features:lists", "model:next"]);
    assert_eq!(built.reasons("features:lists"), ["parameter least: 1 -> 2"]);
    let back = build(&project, &[]);
    back.built(&[]).restored(&["features:lists", "model:next"]);
    assert_eq!(back.reasons("features:lists"), ["parameter least: 2 -> 1"]);

    // One that the manifest gives no value may be given here alone.
    project.write(
        "data/some.sql",
        "select * from data.plays where item > $from",
    );
    let without = project.run(&["plan"]);
    assert_eq!(without.exit, Some(2));
    build(&project, &["--param", "data:some.from=7", "data:some"]).built(&["data:some"]);
}

#[test]
fn mistakes_on_the_command_line_point_at_it() {
    let project = project();
    let mistake = |arguments: &[&str]| {
        let ran = project.run(&[&["plan"], arguments].concat());
        assert_eq!(ran.exit, Some(2), "{}{}", ran.stdout, ran.stderr);
        ran.stderr
    };
    insta::assert_snapshot!(mistake(&["--profile", "smal"]), @r"
    manifest::unknown-profile

      × there is no profile `smal`
      help: did you mean `small`?
    ");
    insta::assert_snapshot!(mistake(&["--param", "features:lists.leest=2"]), @r"
    sql::unused-parameter

      × the query of `features:lists` has no parameter `leest`
       ╭─[--param:1:16]
     1 │ features:lists.leest=2
       ·                ──┬──
       ·                  ╰── not used
       ╰────
      help: did you mean `least`?
    ");
    insta::assert_snapshot!(mistake(&["--param", "features:list.least=2"]), @r"
    manifest::unknown-target

      × --param changes `features:list`, which is not declared
       ╭─[--param:1:1]
     1 │ features:list.least=2
       · ──────┬──────
       ·       ╰── not a target
       ╰────
      help: did you mean `features:lists`?
    ");
    insta::assert_snapshot!(mistake(&["--param", "features:lists.least=two"]), @r#"
    cli::bad-parameter

      × `two` is no value
       ╭─[--param:1:22]
     1 │ features:lists.least=two
       ·                      ─┬─
       ·                       ╰── not a value
       ╰────
      help: values are written as in the manifest: numbers, `true` and `false` as they are, text in
            quotes: `"two"`
    "#);
    // All at once, each in its own line.
    let both = ["--param", "least=2", "--param", "data:words.least=1"];
    insta::assert_snapshot!(mistake(&both), @r"
    cli::bad-parameter

      × `least=2` gives no parameter
       ╭─[--param:1:1]
     1 │ least=2
       · ───┬───
       ·    ╰── not a parameter
     2 │ data:words.least=1
       ╰────
      help: write `KIND:NAME.PARAMETER=VALUE`, as in `model:recs.epochs=3`
    manifest::unknown-key

      × `params` does not belong to rule `path`
       ╭─[--param:2:12]
     1 │ least=2
     2 │ data:words.least=1
       ·            ──┬──
       ·              ╰── not a key here
       ╰────
      help: it is a key of rule `sql`
    ");
}

#[test]
fn two_profiles_are_compared_as_they_stand() {
    let project = project();
    build(&project, &[]);
    let none = project.run(&["diff", "profile:default", "profile:small"]);
    assert_eq!(none.exit, Some(2));
    assert!(
        none.stderr
            .contains("nothing was built under profile `small`"),
        "{}",
        none.stderr
    );
    build(&project, &["--profile", "small", "model:next"]);
    let differ = project.run(&["diff", "profile:default", "profile:small"]);
    insta::assert_snapshot!(differ.stdout, @r"
    profile default -> profile small: 4 targets differ
    data:plays  5 -> 2 rows, 3 removed
    data:words  only in profile default
    features:lists  3 -> 1 rows, 2 removed
    model:next
      catalog.parquet changed
      model.json changed
      model.safetensors changed
      interactions 5.000000 -> 2.000000
      items 3.000000 -> 2.000000
      sequences 3.000000 -> 1.000000
    ");
    let same = project.run(&["diff", "profile:small", "2"]).stdout;
    assert_eq!(same, "profile small -> run 2: no difference\n");
    let json = project
        .run(&["diff", "--json", "profile:default", "profile:small"])
        .stdout;
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (
            &first["old_profile"],
            &first["new_profile"],
            &first["old_run"]
        ),
        (&"default".into(), &"small".into(), &serde_json::Value::Null)
    );
    let unknown = project.run(&["diff", "profile:smal"]);
    assert_eq!(unknown.exit, Some(2));
    assert!(
        unknown.stderr.contains("did you mean `small`?"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_collection_keeps_what_every_profile_was_last_built_as() {
    let project = project();
    build(&project, &["--profile", "small"]);
    build(&project, &[]);
    let gc = project.run(&["gc", "--grace", "1ms", "--keep-last", "0"]);
    assert_eq!(gc.exit, Some(0), "{}", gc.stderr);
    build(&project, &["--profile", "small"])
        .built(&[])
        .restored(&[]);
    build(&project, &[]).built(&[]).restored(&[]);
    // What no profile declares any more goes.
    project.replace(
        "mlbuild.toml",
        "\n[profile.small]\ndescription = \"a sample\"\ndata.plays.path = \"raw/sample.csv\"\n",
        "",
    );
    let gc = project.run(&["gc", "--grace", "1ms", "--keep-last", "0"]);
    assert!(gc.stdout.contains("data:plays, run 1"), "{}", gc.stdout);
    build(&project, &[]).built(&[]).restored(&[]);
}

#[test]
fn a_pin_under_a_profile_holds_what_was_built_there() {
    let project = project();
    build(&project, &["--profile", "small"]);
    let pinned = project.run(&["pin", "--profile", "small", "model:next"]);
    assert_eq!(
        pinned.stdout,
        "pinned small/model:next  model:next, 3 results\n"
    );
    let without = project.run(&["pin", "model:next"]);
    assert_eq!(without.exit, Some(2), "{}", without.stdout);
}

#[test]
fn every_command_that_reads_the_manifest_takes_a_profile() {
    let project = project();
    build(&project, &["--profile", "tiny"]);
    for arguments in [
        &["ls"][..],
        &["show", "features:lists"],
        &["lineage", "--columns", "model:next"],
        &["verify", "features:lists"],
        &["log", "data:plays"],
        &["cache", "stats"],
        &["doctor"],
        &["gc", "--dry-run"],
        &["build", "--dry-run"],
    ] {
        let ran = project.run(&[arguments, &["--profile", "tiny"]].concat());
        assert_eq!(
            ran.exit,
            Some(0),
            "{arguments:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
    }
    let show = project
        .run(&["show", "--profile", "tiny", "features:lists"])
        .stdout;
    assert!(show.contains("\nrows         2\n"), "{show}");
}
