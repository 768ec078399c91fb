//! The report executor as an engine uses it: tables in, three files and figures out.

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use fixture::{Project, ints, lists, small_ints, texts};
use mlbuild_action::{Bound, Cancel, Executor, Failure, Work};

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
    let project = four_users()
        .gate("recs", "hit_rate@3", Bound::Min(0.5))
        .gate("popularity", "ndcg@3", Bound::Above("recs".to_owned()));
    let written = &project.run().files["report.json"];
    assert!(written == example, "`spec/report.md` must show:\n{written}");
}
