//! `diff`: what two runs left different.

use crate::project::Project;

#[test]
fn two_runs_differ_in_schema_rows_by_key_files_and_metrics() {
    let project = Project::new(
        r#"
[data.orders]
path = "raw/orders.csv"
key = ["id"]

[features.lists]
key = ["u"]

[model.next]
train = "popularity"
input = "features:lists"
sequence = "items"
"#,
    )
    .file(
        "raw/orders.csv",
        "id,u,item,amount\n1,1,7,1.5\n2,1,8,2.5\n3,2,7,3.5\n",
    )
    .file("data/old.sql", "select 1 as x")
    .file(
        "features/lists.sql",
        "select u, array_agg(item order by id) as items from data.orders group by u",
    );
    assert!(
        project
            .run(&["diff"])
            .stderr
            .contains("nothing has been built here yet")
    );
    project.build(&[]);
    assert!(
        project
            .run(&["diff"])
            .stderr
            .contains("only one run to compare")
    );
    project.write(
        "raw/orders.csv",
        "id,u,item,amount,note\n2,1,9,2.5,a\n3,2,7,4.5,b\n4,2,8,3.5,c\n5,2,8,3.5,d\n",
    );
    std::fs::remove_file(project.root().join("data/old.sql")).unwrap();
    project.build(&[]);
    insta::assert_snapshot!(project.run(&["diff"]).stdout, @r"
    run 1 -> run 2: 4 targets differ
    data:old  only in run 1
    data:orders  3 -> 4 rows, 2 added, 1 removed, 2 changed
      + note Utf8
      ~ item values in 1 row
      ~ amount values in 1 row
          id=2: item 8 -> 9
          id=3: amount 3.5 -> 4.5
    features:lists  2 rows, 2 changed
      ~ items values in 2 rows
          u=1: items [7, 8] -> [9]
          u=2: items [7] -> [7, 8, 8]
    model:next
      catalog.parquet changed
      model.json changed
      model.safetensors changed
      interactions 3.000000 -> 4.000000
      items 2.000000 -> 3.000000
    ");
    insta::assert_snapshot!(project.run(&["diff", "2", "2"]).stdout, @"run 2 -> run 2: no difference");
    let missing = project.run(&["diff", "1", "9"]);
    assert_eq!(missing.exit, Some(2));
    assert!(
        missing.stderr.contains("there is no run 9"),
        "{}",
        missing.stderr
    );
    let json = project.run(&["diff", "--json", "1"]);
    let lines: Vec<serde_json::Value> = json
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let orders = lines
        .iter()
        .find(|line| line["target"] == "data:orders")
        .unwrap();
    assert_eq!(orders["by_row"]["added"], 2);
    assert_eq!(orders["columns"]["added"][0][0], "note");
}

/// Neither shows a row that it did not digest.
#[test]
fn a_damaged_table_is_named_and_none_of_its_rows_is_shown() {
    for arguments in [&["show", "data:orders"][..], &["diff"]] {
        let project = Project::sums();
        project.build(&[]);
        let orders = "id,amount,note\n1,10,a\n2,987654321,b\n";
        project.write("raw/orders.csv", orders);
        project.build(&[]);
        assert_eq!(project.run(arguments).exit, Some(0), "{arguments:?}");
        crate::faults::damage_objects(&project);
        let ran = project.run(arguments);
        assert_eq!(ran.exit, Some(3), "{arguments:?}: {}", ran.stdout);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("data:orders"), "{said}");
        assert!(said.contains("damaged"), "{said}");
        assert!(!ran.stdout.contains("987654321"), "{}", ran.stdout);
        // It was set aside: now it is not there, and nobody is misled.
        assert_eq!(project.run(arguments).exit, Some(0), "{arguments:?}");
    }
}

/// What was built of two commits, by the names that git knows them by.
#[test]
fn two_commits_differ_in_what_was_built_of_them() {
    let project = Project::sums().file(".gitignore", ".mlbuild/\nout/\n");
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(project.root())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "one"]);
    project.build(&[]);
    project.replace("raw/orders.csv", "32", "33");
    project
        .build(&[])
        .built(&["data:orders", "data:page", "data:total"]);
    // Until a snapshot would do, were it not for the commit.
    std::thread::sleep(std::time::Duration::from_millis(100));
    project.build(&[]);
    let changed = project.run(&["diff", "HEAD", "3"]);
    assert_eq!(changed.exit, Some(0), "{}", changed.stderr);
    assert!(
        changed.stdout.starts_with("run 1 -> run 3"),
        "{}",
        changed.stdout
    );

    git(&["commit", "--quiet", "-a", "-m", "two"]);
    project.build(&[]).built(&[]).restored(&[]);
    let differs = project.run(&["diff", "HEAD~1", "HEAD"]).stdout;
    assert!(
        differs.starts_with("run 1 -> run 4: 3 targets differ"),
        "{differs}"
    );

    git(&["commit", "--quiet", "--allow-empty", "-m", "three"]);
    let unbuilt = project.run(&["diff", "HEAD~2", "HEAD"]);
    assert_eq!(unbuilt.exit, Some(2));
    assert!(
        unbuilt
            .stderr
            .contains("nothing was built of commit `HEAD`"),
        "{}",
        unbuilt.stderr
    );
    let unknown = project.run(&["diff", "no-such-branch"]);
    assert_eq!(unknown.exit, Some(2));
    assert!(
        unknown
            .stderr
            .contains("neither a run's number nor a commit"),
        "{}",
        unknown.stderr
    );
}
