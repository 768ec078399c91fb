//! The report executor as an engine uses it: tables in, three files and figures out.

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use std::sync::Arc;

use arrow::array::{ListBuilder, StringBuilder, StringDictionaryBuilder, UInt64Array};
use arrow::datatypes::{DataType, Field, Int32Type};
use fixture::{Project, ints, lists, small_ints, texts};
use mlbuild_action::{Bound, Cancel, Executor, Failure, Work};
use mlbuild_report::ReportExecutor;

const METRICS: [&str; 5] = ["hit_rate@3", "ndcg@3", "mrr@3", "precision@3", "coverage@3"];

/// Four users and five items. `recs` finds the true items at ranks 1, 2, 3 and not at all; `popularity` recommends the
/// same list to all and finds one at rank 1.
fn four_users() -> Project {
    Project::new(&["recs", "popularity"], &METRICS)
        .table(
            "truth",
            vec![
                ("user", ints(&[1, 2, 3, 4])),
                ("item", ints(&[10, 20, 30, 40])),
                (
                    "history",
                    lists(&[vec![20, 30], vec![10; 12], vec![], vec![10, 20, 30]]),
                ),
            ],
        )
        .table("catalog", vec![("item_id", ints(&[10, 20, 30, 40, 50]))])
        .table(
            "predictions.recs",
            vec![
                ("user", ints(&[4, 3, 2, 1])),
                (
                    "items",
                    lists(&[[50, 10, 20], [10, 20, 30], [10, 20, 50], [10, 20, 30]]),
                ),
            ],
        )
        .table(
            "predictions.popularity",
            vec![
                ("user", ints(&[1, 2, 3, 4])),
                ("items", lists(&[[10, 50, 40]; 4])),
            ],
        )
}

#[test]
fn every_figure_is_the_one_worked_out_by_hand() {
    let outcome = four_users().run();
    let metrics = outcome.result.unwrap().metrics;
    let expected = [
        // `recs`: ranks 1, 2, 3, miss.
        ("recs.hit_rate@3", 3.0 / 4.0),
        ("recs.ndcg@3", (1.0 + 1.0 / 3f64.log2() + 0.5) / 4.0),
        ("recs.mrr@3", (1.0 + 1.0 / 2.0 + 1.0 / 3.0) / 4.0),
        ("recs.precision@3", 3.0 / 12.0),
        // Items 10, 20, 30 and 50 of five.
        ("recs.coverage@3", 4.0 / 5.0),
        // `popularity`: 10 at rank 1 for user 1, 40 at rank 3 for user 4.
        ("popularity.hit_rate@3", 2.0 / 4.0),
        ("popularity.ndcg@3", (1.0 + 0.5) / 4.0),
        ("popularity.mrr@3", (1.0 + 1.0 / 3.0) / 4.0),
        ("popularity.precision@3", 2.0 / 12.0),
        ("popularity.coverage@3", 3.0 / 5.0),
    ];
    assert_eq!(metrics.len(), expected.len());
    for (name, value) in expected {
        assert!(
            (metrics[name] - value).abs() < 1e-15,
            "{name}: {} {value}",
            metrics[name]
        );
    }
}

#[test]
fn equal_inputs_give_equal_bytes() {
    assert_eq!(four_users().run().files, four_users().run().files);
}

/// The example in the specification is what the executor writes.
#[test]
fn report_json_is_as_specified() {
    let spec = include_str!("../../../spec/report.md");
    let (_, rest) = spec.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let mut project = four_users()
        .gate("recs", "hit_rate@3", Bound::Min(0.5))
        .gate("popularity", "hit_rate@3", Bound::Above("recs".to_owned()));
    project
        .work
        .metrics
        .retain(|metric| ["hit_rate@3", "coverage@3"].contains(&metric.to_string().as_str()));
    let written = &project.run().files["report.json"];
    assert!(written == example, "`spec/report.md` must show:\n{written}");
}

#[test]
fn the_markdown_fits_a_pull_request() {
    let project = four_users()
        .gate("recs", "hit_rate@3", Bound::Min(0.8))
        .gate("recs", "mrr@3", Bound::Above("popularity".to_owned()));
    insta::assert_snapshot!(project.run().files["report.md"], @r#"
    # Next item

    On 4 rows, recs has the highest hit_rate@3, 0.7500 (0.2500–1.0000): +0.2500 over popularity, the next best, which is within noise. 1 of 2 gates fails: recs hit_rate@3.

    ## Gates

    | Gate | Of | Demand | Found |
    |---|---|---|---|
    | ❌ fail | recs hit_rate@3 | at least 0.8 | 0.7500, below min 0.8000 by 0.0500 |
    | ✅ pass | recs mrr@3 | above popularity | 0.4583, above popularity 0.3333 by 0.1250 |

    ## Models

    | Model | hit_rate@3 | ndcg@3 | mrr@3 | precision@3 | coverage@3 |
    |---|---:|---:|---:|---:|---:|
    | recs | **0.7500** (0.2500–1.0000) | **0.5327** (0.1577–0.8750) | **0.4583** (0.1250–0.8333) | **0.2500** (0.0833–0.3333) | **0.8000** (0.6248–0.8248) |
    | popularity | 0.5000 (0.0000–1.0000) | 0.3750 (0.0000–0.7500) | 0.3333 (0.0000–0.7500) | 0.1667 (0.0000–0.3333) | 0.6000 |

    Intervals are 95 % bootstrap intervals over the rows (1,000 resamples).

    ## recs against the others

    | Compared with | hit_rate@3 | ndcg@3 | mrr@3 | precision@3 | coverage@3 |
    |---|---:|---:|---:|---:|---:|
    | popularity | +0.2500 (−0.5000 to +1.0000), p = 1.000: within noise | +0.1577 (−0.2500 to +0.5655), p = 1.000: within noise | +0.1250 (−0.1667 to +0.4167), p = 1.000: within noise | +0.0833 (−0.1667 to +0.3333), p = 1.000: within noise | +0.2000 (+0.0248 to +0.2248), p = 0.005: better |

    p-values are two-sided, by McNemar's exact test where a row is right or wrong, random signs of the rows' differences for other means over rows, the bootstrap for what is no mean over rows; with Holm's correction for the 5 comparisons of this table.

    ## hit_rate@3 by length of history

    | Group | Rows | recs | popularity |
    |---|---:|---:|---:|
    | 0 | 1 | 1.0000 | 0.0000 |
    | 1-9 | 2 | 0.5000 (0.0000–1.0000) | 1.0000 |
    | 10-19 | 1 | 1.0000 | 0.0000 |

    ## hit_rate@3 by popularity of the true item

    | Group | Rows | recs | popularity |
    |---|---:|---:|---:|
    | head | 1 | 1.0000 | 1.0000 |
    | torso | 2 | 1.0000 | 0.0000 |
    | tail | 1 | 0.0000 | 1.0000 |
    "#);
}

#[test]
fn a_failing_gate_rejects_the_report_but_leaves_it_to_be_read() {
    let project = four_users()
        .gate("recs", "hit_rate@3", Bound::Min(0.7588))
        .gate("recs", "coverage@3", Bound::Max(0.9))
        .gate("popularity", "ndcg@3", Bound::Above("recs".to_owned()));
    let outcome = project.run();
    let Err(Failure::Rejected(diagnostic)) = outcome.result else {
        panic!("{:?}", outcome.result);
    };
    assert_eq!(
        diagnostic.to_string(),
        "report::gate-failed: 2 of 3 report gates failed: `recs hit_rate@3`, `popularity ndcg@3`"
    );
    assert_eq!(
        diagnostic.detail,
        [
            "recs hit_rate@3 = 0.7500, below min 0.7588 by 0.0088",
            "popularity ndcg@3 = 0.3750, below recs 0.5327 by 0.1577",
        ]
    );
    let names: Vec<_> = outcome.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["report.html", "report.json", "report.md"]);
    assert!(outcome.files["report.html"].contains("gates failed"));
}

#[test]
fn gates_that_hold_let_the_report_through() {
    let project = four_users()
        .gate("recs", "hit_rate@3", Bound::Min(0.75))
        .gate("recs", "hit_rate@3", Bound::Above("popularity".to_owned()));
    let outcome = project.run();
    assert!(outcome.result.is_ok());
    assert!(outcome.files["report.html"].contains("gates passed"));
}

#[test]
fn the_page_needs_nothing_but_itself_and_escapes_names() {
    let mut project = four_users();
    project.work.title = "<script>alert(1)</script> & \"films\"".to_owned();
    let files = project.run().files;
    let html = &files["report.html"];
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp;"));
    for forbidden in [
        "<script", "<link", "<img", "src=", "href=", "url(", "@import", "https:",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(files["report.md"].starts_with("# &lt;script&gt;alert(1)"));
}

#[test]
fn names_of_models_are_escaped_in_charts_too() {
    let name = "a<b>&\"c|d";
    let mut project = Project::new(&[name], &["hit_rate@2"])
        .table("truth", vec![("user", ints(&[1])), ("item", ints(&[7]))]);
    project.set(
        &format!("predictions.{name}"),
        vec![("user", ints(&[1])), ("items", lists(&[[7, 8]]))],
    );
    let files = project.run().files;
    assert!(!files["report.html"].contains("a<b"));
    assert!(files["report.md"].contains("| a&lt;b&gt;&amp;\"c\\|d |"));
}

#[test]
fn without_histories_there_are_no_slices() {
    let mut project = four_users();
    project.work.sequence = "absent".to_owned();
    let files = project.run().files;
    assert!(files["report.json"].contains("\"slices\": []"));
    assert!(!files["report.html"].contains("length of history"));
}

#[test]
fn coverage_alone_makes_a_report() {
    let mut project = four_users();
    project
        .work
        .metrics
        .retain(|metric| metric.to_string() == "coverage@3");
    let outcome = project.run();
    assert_eq!(outcome.result.unwrap().metrics["recs.coverage@3"], 0.8);
    assert!(outcome.files["report.json"].contains("\"slices\": []"));
}

#[test]
fn keys_may_be_several_columns_of_any_integer_or_text_type() {
    let mut days = StringDictionaryBuilder::<Int32Type>::new();
    days.extend([Some("tue"), Some("mon")]);
    let mut project = Project::new(&["recs"], &["mrr@2"])
        .table(
            "truth",
            vec![
                ("user", small_ints(&[1, 1])),
                ("day", texts(&["mon", "tue"])),
                ("item", Arc::new(UInt64Array::from(vec![u64::MAX, 5]))),
            ],
        )
        .table(
            "predictions.recs",
            vec![
                ("user", ints(&[1, 1])),
                ("day", Arc::new(days.finish())),
                ("items", lists(&[[9, 5], [6, 5]])),
            ],
        );
    project.work.key = vec!["user".to_owned(), "day".to_owned()];
    // Tuesday's item 5 stands at rank 2; Monday's, far beyond any signed integer, is not there.
    assert_eq!(project.run().result.unwrap().metrics["recs.mrr@2"], 0.25);
}

#[test]
fn items_may_be_text() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("b"), Some("a")]);
    let project = Project::new(&["recs"], &["mrr@2", "coverage@2"])
        .table(
            "truth",
            vec![("user", texts(&["u"])), ("item", texts(&["a"]))],
        )
        .table("catalog", vec![("name", texts(&["a", "b", "c", "d"]))])
        .table(
            "predictions.recs",
            vec![("user", texts(&["u"])), ("items", Arc::new(lists.finish()))],
        );
    let metrics = project.run().result.unwrap().metrics;
    assert_eq!(
        (metrics["recs.mrr@2"], metrics["recs.coverage@2"]),
        (0.5, 0.5)
    );
}

#[test]
fn lists_and_text_may_be_stored_in_any_of_arrows_ways() {
    let cast = |array, data_type| arrow::compute::cast(&array, &data_type).unwrap();
    let item = || Arc::new(Field::new("item", DataType::Int64, true));
    let ways = [
        DataType::LargeList(item()),
        DataType::FixedSizeList(item(), 2),
        DataType::List(item()),
    ];
    for way in ways {
        let project = Project::new(&["recs"], &["mrr@2"])
            .table(
                "truth",
                vec![("user", texts(&["u", "v"])), ("item", small_ints(&[8, 9]))],
            )
            .table(
                "predictions.recs",
                vec![
                    ("user", cast(texts(&["v", "u"]), DataType::Utf8View)),
                    ("items", cast(lists(&[[7, 9], [8, 7]]), way)),
                ],
            );
        assert_eq!(project.run().result.unwrap().metrics["recs.mrr@2"], 0.75);
    }
}

#[test]
fn the_catalogs_column_is_its_key_then_item_id_then_the_first() {
    let mut project = four_users();
    let twice = || lists(&[[1], [1], [1], [1], [1]]);
    project.set(
        "catalog",
        vec![("note", twice()), ("item_id", ints(&[10, 20, 30, 40, 50]))],
    );
    assert!(project.run().result.is_ok());
    project.set(
        "catalog",
        vec![("id", ints(&[10, 20, 30, 40, 50])), ("note", twice())],
    );
    assert!(project.run().result.is_ok());
    project.set(
        "catalog",
        vec![("item_id", twice()), ("id", ints(&[10, 20, 30, 40, 50]))],
    );
    project.input("catalog").table.as_mut().unwrap().key = vec!["id".to_owned()];
    assert!(project.run().result.is_ok());
}

#[test]
fn a_cancelled_report_writes_nothing() {
    let cancel = Cancel::new();
    cancel.cancel();
    let outcome = four_users().run_with(&cancel);
    assert_eq!(outcome.result, Err(Failure::Cancelled));
    assert!(outcome.files.is_empty());
}

#[test]
fn the_toolchain_is_this_crates_epoch() {
    let work = Work::Evaluate(four_users().work);
    assert_eq!(
        ReportExecutor::new().toolchain(&work),
        Ok("report 2".to_owned())
    );
}
