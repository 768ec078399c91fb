//! The rebuild matrix: what an edit makes run in a chain of features, aggregate and training, and never more.
//!
//! Each test is one row. The raw file is a target too; it is named apart from the three steps.

use crate::project::{Project, copy_folder};

const STEPS: [&str; 3] = ["features:plays", "features:lists", "model:next"];

/// Raw plays, features of them, one list a user, and a model: `rating` and `note` are read by nobody but the features,
/// which carry `rating` along.
fn chain() -> Project {
    let manifest = r#"
[data.events]
path = "raw/events.csv"
key = ["id"]

[features.plays]
key = ["user", "seq"]

[features.lists]
key = ["user"]

[model.next]
train = "popularity"
input = "features:lists"
sequence = "items"
"#;
    let project = Project::new(manifest)
        .file(
            "raw/events.csv",
            "id,user,item,seq,rating,note\n1,1,7,1,3,a\n2,1,8,2,4,b\n3,2,7,1,5,c\n4,2,9,2,1,d\n",
        )
        .file(
            "features/plays.sql",
            "select user, item, seq, rating from data.events where item > 0\n",
        )
        .file(
            "features/lists.sql",
            "select user, array_agg(item order by seq) as items from features.plays group by user\n",
        );
    project.build(&["model:next"]).built(&[
        "data:events",
        "features:lists",
        "features:plays",
        "model:next",
    ]);
    project
}

#[test]
fn e1_touching_an_input_runs_nothing() {
    let project = chain();
    project.write("raw/events.csv", project.read("raw/events.csv"));
    project.build(&["model:next"]).built(&[]).restored(&[]);
}

#[test]
fn e2_a_comment_in_the_features_code_runs_nothing() {
    let project = chain();
    let sql = project.read("features/plays.sql");
    project.write("features/plays.sql", format!("-- plays\n{sql}"));
    project.build(&["model:next"]).built(&[]).restored(&[]);
}

#[test]
fn e4_features_rewritten_with_the_same_output_run_alone() {
    let project = chain();
    project.replace("features/plays.sql", "item > 0", "item >= 1");
    let built = project.build(&["model:next"]);
    built.built(&["features:plays"]).restored(&[]);
    assert_eq!(built.reasons("features:plays"), ["query: > 0 -> >= 1"]);
}

#[test]
fn e5_a_value_in_a_column_that_nobody_reads_runs_only_its_source() {
    let project = chain();
    project.replace("raw/events.csv", "3,2,7,1,5,c", "3,2,7,1,5,x");
    let built = project.build(&["model:next"]);
    built.built(&["data:events"]).restored(&[]);
    assert_eq!(
        built.unread("features:plays"),
        ["data:events: column note changed, not read"]
    );
    project.assert_same_as_clean_build(&["model:next"]);
}

#[test]
fn e5_a_value_in_a_column_of_features_that_nobody_reads_stops_there() {
    let project = chain();
    project.replace("raw/events.csv", "3,2,7,1,5,c", "3,2,7,1,2,c");
    let built = project.build(&["model:next"]);
    built
        .built(&["data:events", "features:plays"])
        .restored(&[]);
    assert_eq!(
        built.reasons("features:plays"),
        ["data:events: column rating changed"]
    );
    assert_eq!(
        built.unread("features:lists"),
        ["features:plays: column rating changed, not read"]
    );
    // Said once: the next build has nothing to say.
    assert_eq!(
        project.build(&["model:next"]).unread("features:lists"),
        [""; 0]
    );
    project.assert_same_as_clean_build(&["model:next"]);
}

#[test]
fn e6_an_unused_column_added_to_features_runs_the_features_alone() {
    let project = chain();
    project.replace("features/plays.sql", "rating from", "rating, note from");
    let built = project.build(&["model:next"]);
    built.built(&["features:plays"]).restored(&[]);
    assert_eq!(
        built.unread("features:lists"),
        ["features:plays: column note added, not read"]
    );
    project.assert_same_as_clean_build(&["model:next"]);
}

#[test]
fn e6b_another_expression_for_an_unused_column_runs_the_features_alone() {
    let project = chain();
    project.replace(
        "features/plays.sql",
        ", rating from",
        ", rating * 2 as rating from",
    );
    project
        .build(&["model:next"])
        .built(&["features:plays"])
        .restored(&[]);
}

#[test]
fn e7_reverting_everything_runs_nothing() {
    let project = chain();
    let (raw, sql) = (
        project.read("raw/events.csv"),
        project.read("features/plays.sql"),
    );
    project.replace("raw/events.csv", "3,2,7,1,5,c", "3,2,8,1,5,c");
    project.replace("features/plays.sql", "item > 0", "item > 1");
    project.build(&["model:next"]);
    project.write("raw/events.csv", raw);
    project.write("features/plays.sql", sql);
    project.build(&["model:next"]).built(&[]).restored(&[
        "data:events",
        STEPS[0],
        STEPS[1],
        STEPS[2],
    ]);
}

#[test]
fn e8_a_copy_in_another_folder_runs_nothing() {
    let project = chain();
    let copy = Project::empty();
    copy_folder(project.root(), copy.root(), &[]);
    copy.build(&["model:next"]).built(&[]).restored(&[]);
}

#[test]
fn a_null_build_plans_no_query_and_digests_no_file() {
    let project = chain();
    let built = project.build(&["model:next"]);
    let summary = built.events.last().unwrap();
    assert_eq!(summary["queries_planned"], 0);
    assert_eq!(summary["sources"]["digested"], 0);
    // The raw file, and the three files of the model under `out/`.
    assert_eq!(summary["sources"]["stats"], 4);
}

#[test]
fn columns_in_another_order_concern_only_who_reads_all_of_them() {
    let project = chain();
    project.write("data/copy.sql", "select * from features.plays");
    project.build(&["model:next", "data:copy"]);
    project.replace("features/plays.sql", "user, item, seq", "item, user, seq");
    let built = project.build(&["model:next", "data:copy"]);
    built.built(&["features:plays", "data:copy"]);
    assert_eq!(
        built.reasons("data:copy"),
        ["a name or type in the query now means another column"]
    );
}

#[test]
fn counting_rows_reads_no_column() {
    let project = chain();
    project.write("data/n.sql", "select count(*) as n from features.plays");
    project.build(&["data:n"]);
    project.replace("raw/events.csv", "3,2,7,1,5,c", "3,2,6,1,5,c");
    project
        .build(&["data:n"])
        .built(&["data:events", "features:plays"]);
    project.replace(
        "raw/events.csv",
        "4,2,9,2,1,d\n",
        "4,2,9,2,1,d\n5,3,9,1,1,d\n",
    );
    let built = project.build(&["data:n"]);
    built.built(&["data:events", "features:plays", "data:n"]);
    assert_eq!(built.reasons("data:n"), ["features:plays: 4 -> 5 rows"]);
}

#[test]
fn a_new_column_that_changes_what_a_name_means_is_seen() {
    // `rating` in the subquery is the outer query's until the inner table has one.
    let project = Project::new("[data.a]\npath = \"raw/a.csv\"\n\n[data.b]\npath = \"raw/b.csv\"\n")
        .file("raw/a.csv", "id,rating\n1,1\n")
        .file("raw/b.csv", "id\n1\n")
        .file(
            "data/c.sql",
            "select id, (select max(b.id) from data.b as b where b.id = rating) as best from data.a as a\n",
        );
    project.build(&["data:c"]);
    project.write("raw/b.csv", "id,rating\n1,4\n");
    let built = project.build(&["data:c"]);
    built.built(&["data:b", "data:c"]);
    project.assert_same_as_clean_build(&["data:c"]);
}

#[test]
fn a_check_runs_again_only_if_its_column_changed() {
    let project = Project::new(
        "[data.a]\npath = \"raw/a.csv\"\n[data.b.checks]\nnot_null = [\"x\"]\nrows = \">= 1\"\n",
    )
    .file("raw/a.csv", "id,x,y\n1,5,5\n")
    .file("data/b.sql", "select * from data.a\n");
    let checks = |built: &crate::project::Built| {
        let started = built
            .events
            .iter()
            .filter(|event| event["event"] == "started");
        let stages = started.map(|event| event["stage"].as_str().unwrap().to_owned());
        stages
            .filter(|stage| stage.starts_with("check"))
            .collect::<Vec<_>>()
    };
    assert_eq!(checks(&project.build(&["data:b"])).len(), 2);
    project.write("raw/a.csv", "id,x,y\n1,5,6\n");
    assert_eq!(checks(&project.build(&["data:b"])), [""; 0]);
    project.write("raw/a.csv", "id,x,y\n1,4,6\n");
    assert_eq!(checks(&project.build(&["data:b"])), ["check not_null(x)"]);
}
