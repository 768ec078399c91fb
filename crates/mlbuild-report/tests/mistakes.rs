//! Tables that cannot be measured on: each is the user's mistake, named with examples, before any figure is made.

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, Int64Builder, ListBuilder};
use fixture::{Project, ints, lists, texts};
use mlbuild_action::{Bound, Failure};

/// Three users, lists of two.
fn three_users() -> Project {
    Project::new(&["recs"], &["hit_rate@2"])
        .table(
            "truth",
            vec![("user", ints(&[1, 2, 3])), ("item", ints(&[10, 20, 30]))],
        )
        .table(
            "predictions.recs",
            vec![
                ("user", ints(&[1, 2, 3])),
                ("items", lists(&[[10, 20], [10, 20], [10, 20]])),
            ],
        )
}

/// Three users, and what `recs` predicts for `users`.
fn predicted(users: &[i64], items: &[Vec<i64>]) -> Project {
    three_users().table(
        "predictions.recs",
        vec![("user", ints(users)), ("items", lists(items))],
    )
}

#[test]
fn the_base_case_is_sound() {
    assert!(three_users().run().result.is_ok());
}

#[test]
fn keys_must_match_one_to_one() {
    let list = || vec![10, 20];
    insta::assert_snapshot!(predicted(&[1], &[list()]).mistake(), @r#"
    report::missing-key: `predictions.recs` lacks 2 of 3 rows of `truth`
    user = 2
    user = 3
    `truth` and predictions need one row each for every key: predict on the table that is the truth
    "#);
    insta::assert_snapshot!(predicted(&[1, 2, 3, 4], &[list(), list(), list(), list()]).mistake(), @r#"
    report::extra-key: `predictions.recs` has 1 row with a key that `truth` lacks
    user = 4
    `truth` and predictions need one row each for every key: predict on the table that is the truth
    "#);
    insta::assert_snapshot!(predicted(&[1, 2, 3, 2], &[list(), list(), list(), list()]).mistake(), @r#"
    report::duplicate-key: `predictions.recs` has 1 row with a key that an earlier row has
    user = 2
    `truth` and predictions need one row each for every key: predict on the table that is the truth
    "#);
    let twice = three_users().table(
        "truth",
        vec![("user", ints(&[1, 2, 1])), ("item", ints(&[10, 20, 30]))],
    );
    insta::assert_snapshot!(twice.mistake(), @r#"
    report::duplicate-key: a key of `truth` stands twice
    user = 1
    every row of `truth` needs a key of its own
    "#);
    let null = three_users().table(
        "truth",
        vec![
            (
                "user",
                Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            ),
            ("item", ints(&[10, 20, 30])),
        ],
    );
    insta::assert_snapshot!(null.mistake(), @r#"
    report::null: a key of `truth` is null
    user = null
    "#);
}

#[test]
fn a_diagnostic_shows_the_first_five_rows_only() {
    let users: Vec<i64> = (1..=9).collect();
    let project = three_users().table(
        "truth",
        vec![("user", ints(&users)), ("item", ints(&[1; 9]))],
    );
    insta::assert_snapshot!(project.mistake(), @r#"
    report::missing-key: `predictions.recs` lacks 6 of 9 rows of `truth`
    user = 4
    user = 5
    user = 6
    user = 7
    user = 8
    `truth` and predictions need one row each for every key: predict on the table that is the truth
    "#);
}

#[test]
fn lists_must_be_as_long_as_the_metrics_look() {
    insta::assert_snapshot!(predicted(&[1, 2, 3], &[vec![10], vec![10, 20], vec![]]).mistake(), @r#"
    report::list-too-short: `predictions.recs` has 2 rows with a list of fewer than 2 items
    user = 1: 1 item
    user = 3: 0 items
    a metric looks at the first 2: predict with `k = 2` or more
    "#);
}

#[test]
fn an_item_stands_once_in_a_list() {
    insta::assert_snapshot!(predicted(&[1, 2, 3], &[vec![10, 20], vec![10, 20, 10], vec![1, 2]]).mistake(), @r#"
    report::duplicate-item: item 10 stands twice in a list of `predictions.recs`
    user = 2
    "#);
}

#[test]
fn nulls_are_not_skipped() {
    let mut items = ListBuilder::new(Int64Builder::new());
    items.append_value([Some(10), None]);
    items.append_value([Some(10), Some(20)]);
    items.append_null();
    let project = three_users().table(
        "predictions.recs",
        vec![
            ("user", ints(&[1, 2, 3])),
            ("items", Arc::new(items.finish())),
        ],
    );
    insta::assert_snapshot!(project.mistake(), @"report::null: column `items` of `predictions.recs` holds a null");
    let project = three_users().table(
        "truth",
        vec![
            ("user", ints(&[1, 2, 3])),
            (
                "item",
                Arc::new(Int64Array::from(vec![Some(1), Some(2), None])),
            ),
        ],
    );
    insta::assert_snapshot!(project.mistake(), @"report::null: column `item` of `truth` holds a null");
}

#[test]
fn columns_must_be_there_and_comparable() {
    let mut project = three_users();
    project.work.labels = vec!["itm".to_owned()];
    insta::assert_snapshot!(project.mistake(), @r#"
    report::unknown-column: no column `itm` in `truth`
    `truth` has `user`, `item`
    "#);
    let texts_as_items =
        three_users().table("truth", vec![("user", ints(&[1])), ("item", texts(&["x"]))]);
    insta::assert_snapshot!(texts_as_items.mistake(), @r#"
    report::type-mismatch: `items` of `predictions.recs` holds integers, but `item` of `truth` holds text
    both must hold integers, or both text; cast one in its query
    "#);
    let texts_as_keys = three_users().table(
        "truth",
        vec![("user", texts(&["1"])), ("item", ints(&[10]))],
    );
    insta::assert_snapshot!(texts_as_keys.mistake(), @r#"
    report::type-mismatch: `user` of `predictions.recs` holds integers, but `user` of `truth` holds text
    both must hold integers, or both text; cast one in its query
    "#);
    let floats = three_users().table(
        "truth",
        vec![
            ("user", ints(&[1])),
            ("item", Arc::new(Float64Array::from(vec![1.0]))),
        ],
    );
    insta::assert_snapshot!(floats.mistake(), @r#"
    report::wrong-type: column `item` of `truth` is `Float64`, but must hold integers or text
    cast it in the query that makes the table
    "#);
    let no_lists = three_users().table(
        "predictions.recs",
        vec![("user", ints(&[1, 2, 3])), ("items", ints(&[10, 20, 30]))],
    );
    insta::assert_snapshot!(no_lists.mistake(), @r#"
    report::wrong-type: column `items` of `predictions.recs` is `Int64`, but must hold lists of integers or of text
    cast it in the query that makes the table
    "#);
}

#[test]
fn truth_must_have_rows() {
    let project = three_users().table("truth", vec![("user", ints(&[])), ("item", ints(&[]))]);
    insta::assert_snapshot!(project.mistake(), @"report::no-rows: `truth` has no rows to measure on");
}

#[test]
fn coverage_needs_a_catalog_that_lists_every_item_once() {
    let with_coverage = || {
        let mut project = three_users();
        project.work.metrics.push("coverage@2".parse().unwrap());
        project
    };
    insta::assert_snapshot!(with_coverage().mistake(), @r#"
    report::no-catalog: `coverage@2` needs a catalog
    name the table that lists all items, one row each: `catalog = "data:items"`
    "#);
    let catalog = |items: &[i64]| with_coverage().table("catalog", vec![("item_id", ints(items))]);
    assert!(catalog(&[10, 20, 30]).run().result.is_ok());
    insta::assert_snapshot!(catalog(&[10, 20, 10]).mistake(), @r#"
    report::duplicate-item: item 10 stands twice in column `item_id` of `catalog`
    a catalog has one row an item
    "#);
    insta::assert_snapshot!(catalog(&[10, 30]).mistake(), @r#"
    report::unknown-item: item 20 in a list of `predictions.recs` is not in `catalog`
    user = 1
    the metrics look every item up in the catalog, so it must list all of them
    "#);
}

#[test]
fn gates_are_about_what_the_report_has() {
    insta::assert_snapshot!(three_users().gate("rex", "hit_rate@2", Bound::Min(0.1)).mistake(), @r#"
    report::unknown-model: a gate is about the model `rex`, which the report does not have
    the report has `recs`
    "#);
    insta::assert_snapshot!(three_users().gate("recs", "hit_rate@5", Bound::Min(0.1)).mistake(), @r#"
    report::unknown-metric: a gate is about the metric `hit_rate@5`, which the report does not have
    the report has `hit_rate@2`
    "#);
    let above = Bound::Above("markov".to_owned());
    insta::assert_snapshot!(three_users().gate("recs", "hit_rate@2", above).mistake(), @r#"
    report::unknown-model: a gate is about the model `markov`, which the report does not have
    the report has `recs`
    "#);
}

#[test]
fn a_table_that_does_not_open_is_the_environments() {
    let mut project = three_users();
    let path = project.input("truth").path.join("table.parquet");
    std::fs::write(&path, b"PAR1 but not really").unwrap();
    let Err(Failure::Environment(diagnostic)) = project.run().result else {
        panic!("not the environment's")
    };
    assert_eq!(
        diagnostic.to_string(),
        "report::unreadable: the table of `truth` cannot be read"
    );
}
