//! Parts of the rows, comparisons under change, and gates on them.

#![expect(
    clippy::unwrap_used,
    reason = "a table or page that is not there is a failing test"
)]

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use fixture::{Project, float_lists, floats, ints, lists, text_lists, texts};
use mlbuild_action::{
    Bound, Evaluate, Failure, Gate, GateSlice, Slicing, Stability, StabilityMetric,
};

/// Sixty customers in three countries: `good` is right on all but the fifteen of `IT`, `bad` on every fourth.
fn customers() -> Project {
    let rows = 0..60i64;
    let users: Vec<i64> = rows.clone().collect();
    let country = |row: i64| ["DE", "FR", "DE", "IT"][(row % 4) as usize];
    let yes = "yes";
    let good: Vec<&str> = rows
        .clone()
        .map(|row| if country(row) == "IT" { "no" } else { yes })
        .collect();
    let bad: Vec<&str> = rows
        .clone()
        .map(|row| if row % 4 == 1 { yes } else { "no" })
        .collect();
    let predictions =
        |classes: &[&str]| vec![("user", ints(&users)), ("prediction", texts(classes))];
    let slices = vec![
        Slicing {
            column: "country".to_owned(),
            bins: Vec::new(),
        },
        Slicing {
            column: "age".to_owned(),
            bins: vec![20.0, 40.0],
        },
    ];
    Project::new(&["good", "bad"], &["accuracy", "f1_macro"])
        .with(|work| {
            work.labels = vec!["churned".to_owned()];
            work.slices = slices;
        })
        .table(
            "truth",
            vec![
                ("user", ints(&users)),
                ("churned", texts(&[yes; 60])),
                (
                    "country",
                    texts(&rows.clone().map(country).collect::<Vec<_>>()),
                ),
                (
                    "age",
                    floats(&rows.map(|row| row as f64).collect::<Vec<_>>()),
                ),
            ],
        )
        .table("predictions.good", predictions(&good))
        .table("predictions.bad", predictions(&bad))
}

fn slice(by: &str, group: Option<&str>) -> Option<GateSlice> {
    Some(GateSlice {
        by: by.to_owned(),
        group: group.map(str::to_owned),
        min_rows: 16,
    })
}

/// The last gate, changed.
fn gate(work: &mut Evaluate, change: impl FnOnce(&mut Gate)) {
    change(work.gates.last_mut().unwrap());
}

/// What failing gates say, one a line; empty if all hold.
fn failing(project: &Project) -> Vec<String> {
    match project.run().result {
        Ok(_) => Vec::new(),
        Err(Failure::Rejected(diagnostic)) => diagnostic.detail,
        other => panic!("neither passed nor rejected: {other:?}"),
    }
}

fn json(project: &Project) -> serde_json::Value {
    serde_json::from_str(&project.run().files["report.json"]).unwrap()
}

#[test]
fn rows_are_parted_by_value_and_by_bounds() {
    let report = json(&customers());
    let parts = |key: &str, metric: &str| {
        let slices = report["slices"].as_array().unwrap();
        let slice = slices
            .iter()
            .find(|it| it["key"] == key && it["metric"] == metric)
            .unwrap();
        let groups = slice["groups"].as_array().unwrap().iter();
        groups
            .map(|group| {
                let figures =
                    [0, 1].map(|model| group["figures"][model]["value"].as_f64().unwrap());
                (
                    group["name"].as_str().unwrap().to_owned(),
                    group["rows"].as_u64().unwrap(),
                    figures,
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        parts("country", "accuracy"),
        [
            ("DE".to_owned(), 30, [1.0, 0.0]),
            ("FR".to_owned(), 15, [1.0, 1.0]),
            ("IT".to_owned(), 15, [0.0, 0.0]),
        ]
    );
    assert_eq!(
        parts("age", "accuracy"),
        [
            ("< 20".to_owned(), 20, [0.75, 0.25]),
            ("20–40".to_owned(), 20, [0.75, 0.25]),
            ("≥ 40".to_owned(), 20, [0.75, 0.25]),
        ]
    );
    assert_eq!(parts("age", "f1_macro").len(), 3);
}

#[test]
fn gates_are_judged_on_parts_of_the_rows() {
    let project = customers()
        .gate("good", "accuracy", Bound::Min(0.5))
        .with(|work| {
            gate(work, |gate| gate.slice = slice("country", Some("IT")));
        });
    assert_eq!(
        failing(&project),
        ["good accuracy on country=IT = 0.0000, below min 0.5000 by 0.5000"]
    );
    // Without a group every part of at least 16 rows is: only DE is.
    let project = customers()
        .gate("good", "accuracy", Bound::Min(0.5))
        .with(|work| {
            gate(work, |gate| gate.slice = slice("country", None));
        });
    assert_eq!(failing(&project), [""; 0]);
    assert_eq!(json(&project)["gates"].as_array().unwrap().len(), 1);
    let project = customers()
        .gate("good", "accuracy", Bound::Above("bad".to_owned()))
        .with(|work| {
            gate(work, |gate| gate.slice = slice("age", None));
        });
    assert_eq!(json(&project)["gates"].as_array().unwrap().len(), 3);
    let project = customers()
        .gate("good", "accuracy", Bound::Min(0.5))
        .with(|work| {
            gate(work, |gate| gate.slice = slice("country", Some("ES")));
        });
    insta::assert_snapshot!(project.mistake(), @r"
    report::unknown-slice: a gate is about the rows of `country=ES`, and there are none
    the parts are `DE`, `FR`, `IT`
    ");
}

#[test]
fn a_gate_may_ask_to_be_sure() {
    let above = |model: &str, other: &str, confidence| {
        customers()
            .gate(model, "accuracy", Bound::Above(other.to_owned()))
            .with(|work| {
                gate(work, |gate| gate.confidence = Some(confidence));
            })
    };
    assert_eq!(failing(&above("good", "bad", 0.99)), [""; 0]);
    let lines = failing(&above("bad", "good", 0.99));
    assert!(
        lines[0].starts_with(
            "bad accuracy = 0.2500, below good 0.7500 by 0.5000; with 99 % confidence no better"
        ),
        "{lines:?}"
    );
    // 45 of 60 are right: the interval reaches below 0.7.
    let min = customers().gate("good", "accuracy", Bound::Min(0.7));
    assert_eq!(failing(&min), [""; 0]);
    let sure = min.with(|work| gate(work, |gate| gate.confidence = Some(0.95)));
    assert_eq!(failing(&sure).len(), 1);
    let by = |margin| {
        let project = customers().gate("good", "accuracy", Bound::Above("bad".to_owned()));
        failing(&project.with(|work| gate(work, |gate| gate.margin = margin)))
    };
    assert_eq!(by(0.5), [""; 0]);
    assert_eq!(
        by(0.51),
        ["good accuracy = 0.7500, above bad 0.2500 by 0.5000, and 0.51 is demanded"]
    );
}

#[test]
fn differences_are_tested() {
    let report = json(&customers());
    let difference = &report["differences"][0];
    // The models differ on the thirty rows of DE, and `good` is right on all of them: p = 2 * 2^-30.
    assert_eq!(difference["test"], "mcnemar");
    assert!((difference["p"].as_f64().unwrap() - 2f64.powi(-29)).abs() < 1e-15);
    assert_eq!(difference["value"], 0.5);
    let other = &report["differences"][1];
    assert_eq!(other["test"], "bootstrap");
    assert!(other["p"].as_f64().unwrap() < 0.01);
    let holm = |index: usize| report["differences"][index]["p_holm"].as_f64().unwrap();
    assert!(holm(0) <= holm(1) && holm(0) >= 2.0 * 2f64.powi(-29));
}

#[test]
fn threads_and_memory_do_not_show() {
    let project = customers();
    assert_eq!(project.run().files, project.run_on(5).files);
}

fn stability(metric: StabilityMetric, bound: Option<Bound>) -> Vec<Stability> {
    vec![Stability {
        name: "changed".to_owned(),
        baseline: "table.data:base".to_owned(),
        perturbed: "table.data:changed".to_owned(),
        metric,
        bound,
    }]
}

fn k(k: u32) -> std::num::NonZeroU32 {
    std::num::NonZeroU32::new(k).unwrap()
}

#[test]
fn lists_for_changed_inputs_are_compared() {
    let of = |metric, bound| {
        let table = |first: &[i64; 3], second: &[i64; 3]| {
            vec![
                ("user", ints(&[2, 1])),
                ("items", lists(&[*first, *second])),
            ]
        };
        Project::new(&["recs"], &["hit_rate@3"])
            .table(
                "truth",
                vec![("user", ints(&[1, 2])), ("item", ints(&[10, 20]))],
            )
            .table("predictions.recs", table(&[1, 2, 3], &[4, 5, 6]))
            .table("table.data:base", table(&[1, 2, 3], &[4, 5, 6]))
            .table("table.data:changed", table(&[3, 1, 9], &[4, 5, 6]))
            .with(|work| work.stability = stability(metric, bound))
    };
    let value = |project: &Project| json(project)["stability"][0]["value"].as_f64().unwrap();
    // Two of three items, and all of them.
    assert!((value(&of(StabilityMetric::Overlap(k(3)), None)) - 5.0 / 6.0).abs() < 1e-15);
    assert_eq!(value(&of(StabilityMetric::Overlap(k(1)), None)), 0.5);
    let biased = value(&of(StabilityMetric::Rbo(k(3)), None));
    assert!(biased > 0.5 && biased < 1.0, "{biased}");
    let gated = of(StabilityMetric::Overlap(k(3)), Some(Bound::Min(0.9)));
    assert_eq!(
        failing(&gated),
        ["changed overlap@3 = 0.8333, below min 0.9000 by 0.0667"]
    );
    insta::assert_snapshot!(of(StabilityMetric::Overlap(k(4)), None).mistake(), @r"
    report::list-too-short: `table.data:base` has 2 rows with a list of fewer than 4 items
    user = 2: 3 items
    user = 1: 3 items
    `overlap@4` compares the first 4
    ");
    insta::assert_snapshot!(of(StabilityMetric::Changed(0.0), None).mistake(), @r"
    report::wrong-comparison: `changed` does not compare predictions of this report
    ranked lists are compared by `overlap@10` or `rbo@10`
    ");
}

#[test]
fn scores_for_changed_inputs_are_compared() {
    let of = |metric| {
        let table = |yes: [f64; 2]| {
            let classes = [["yes", "no"], ["no", "yes"]];
            let scores = [[yes[0], 1.0 - yes[0]], [1.0 - yes[1], yes[1]]];
            let word = |score: f64| if score > 0.5 { "yes" } else { "no" };
            vec![
                ("user", ints(&[1, 2])),
                ("prediction", texts(&yes.map(word))),
                ("classes", text_lists(&classes)),
                ("scores", float_lists(&scores)),
            ]
        };
        let project = Project::new(&["m"], &["accuracy"])
            .table(
                "truth",
                vec![("user", ints(&[1, 2])), ("item", texts(&["yes", "no"]))],
            )
            .table("predictions.m", table([0.75, 0.25]))
            .table("table.data:base", table([0.75, 0.25]))
            .table("table.data:changed", table([0.25, 0.375]))
            .with(|work| work.stability = stability(metric, None));
        json(&project)["stability"][0]["value"].as_f64().unwrap()
    };
    assert_eq!(of(StabilityMetric::Changed(0.0)), 0.5);
    assert_eq!(of(StabilityMetric::Increased(0.0)), 0.5);
    assert_eq!(of(StabilityMetric::Increased(0.125)), 0.0);
    assert_eq!(of(StabilityMetric::Decreased(0.25)), 0.5);
}

#[test]
fn what_a_model_was_trained_on_does_not_measure_it() {
    let project = customers().table("trained.good", vec![("user", ints(&[70, 3, 71, 5, 3]))]);
    insta::assert_snapshot!(project.mistake(), @r"
    report::leak: 2 of 60 rows of `truth` have a key that `good` was trained on
    user = 3
    user = 5
    a model that has seen the answers is not measured: split the rows before training
    ");
    let apart = customers().table("trained.good", vec![("user", ints(&[70, 71]))]);
    assert!(apart.run().result.is_ok());
}

/// Items 1 to 4 of two categories and prices 1, 10, 100, 10; the last items of the histories are 1 and 3.
fn items() -> Project {
    Project::new(
        &["recs"],
        &[
            "diversity@2",
            "less_wrong@2",
            "novelty@2",
            "popularity@2",
            "price_gap@2",
            "query_distance@2",
            "gini@2",
            "coverage@2",
        ],
    )
    .with(|work| {
        work.catalog.category = Some("genre".to_owned());
        work.catalog.price = Some("price".to_owned());
    })
    .table(
        "truth",
        vec![
            ("user", ints(&[1, 2])),
            ("item", ints(&[3, 2])),
            ("history", lists(&[vec![2, 1], vec![1, 3]])),
        ],
    )
    .table(
        "catalog",
        vec![
            ("item_id", ints(&[1, 2, 3, 4])),
            ("genre", texts(&["a", "a", "b", "b"])),
            ("price", ints(&[1, 10, 100, 10])),
        ],
    )
    .table(
        "predictions.recs",
        vec![("user", ints(&[1, 2])), ("items", lists(&[[1, 4], [2, 1]]))],
    )
}

#[test]
fn what_lists_hold_is_measured_by_the_catalog() {
    let metrics = items().run().result.unwrap().metrics;
    let expected = [
        // One pair of two categories, one of the same.
        ("diversity", 0.5),
        // The first list misses item 3, of category b, as item 4 is; the second finds item 2.
        ("less_wrong", 0.5),
        // In the histories 1 occurs twice, 2 and 3 once, 4 never: shares 1/2, 1/4 (as if once); 1/4, 1/2.
        ("novelty", 1.5),
        ("popularity", (2.0 + 0.0 + 1.0 + 2.0) / 4.0),
        // From price 1: 0 and 1; from 100: 1 and 2.
        ("price_gap", 1.0),
        // From item 1: same, other; from item 3: other, other.
        ("query_distance", 0.75),
        // Recommended 2, 1, 0 and 1 times: (-3*0 - 1*1 + 1*1 + 3*2) / (4 * 4).
        ("gini", 0.375),
        ("coverage", 0.75),
    ];
    for (name, value) in expected {
        let found = metrics[&format!("recs.{name}@2")];
        assert!(
            (found - value).abs() < 1e-12,
            "{name}: {found}, not {value}"
        );
    }
}

#[test]
fn training_says_how_often_items_occur() {
    let project = items().table(
        "training",
        vec![("history", lists(&[vec![4, 4, 4], vec![1]]))],
    );
    let outcome = project.run();
    let metrics = outcome.result.unwrap().metrics;
    assert_eq!(metrics["recs.popularity@2"], (1.0 + 3.0 + 0.0 + 1.0) / 4.0);
    assert!(outcome.files["report.json"].contains("training_frequency"));
}

#[test]
fn metrics_of_items_need_what_they_look_at() {
    let without = |change: fn(&mut Evaluate)| items().with(change).mistake();
    insta::assert_snapshot!(without(|work| work.catalog.category = None), @r#"
    report::no-catalog-column: `diversity@2` needs to know the category of each item
    name the column of the catalog that holds it: `category = "COLUMN"`
    "#);
    insta::assert_snapshot!(without(|work| work.sequence = "absent".to_owned()), @r#"
    report::no-training: `novelty@2` needs to know how often items occur
    name the table that was trained on: `training = "features:train"`
    "#);
}

#[test]
fn metrics_of_one_report_are_of_one_kind() {
    insta::assert_snapshot!(customers().with(|work| work.metrics.push("rmse".parse().unwrap())).mistake(), @r"
    report::mixed-metrics: `accuracy` and `rmse` are metrics of different kinds of predictions
    a report is of ranked lists, of classes, of labels or of numbers: declare one for each
    ");
    insta::assert_snapshot!(customers().with(|work| work.metrics.push("hamming_loss".parse().unwrap())).mistake(), @r#"
    report::mixed-metrics: `hamming_loss` is not defined for one class a row
    list the label columns, all boolean: `label = ["a", "b"]`
    "#);
}

#[test]
fn scores_are_probabilities() {
    let of = |scores: [f64; 2]| {
        Project::new(&["m"], &["roc_auc"])
            .table(
                "truth",
                vec![("user", ints(&[1, 2])), ("item", texts(&["yes", "no"]))],
            )
            .table(
                "predictions.m",
                vec![
                    ("user", ints(&[1, 2])),
                    ("prediction", texts(&["yes", "no"])),
                    ("classes", text_lists(&[["yes", "no"]; 2])),
                    ("scores", float_lists(&[[0.5, 0.5], scores])),
                ],
            )
            .mistake()
    };
    insta::assert_snapshot!(of([0.7, 0.2]), @r"
    report::not-probabilities: `scores` of `predictions.m` has scores that are 0.8999999999999999 together
    user = 2
    scores are probabilities: each from 0 to 1, and those of a row 1 together
    ");
    assert!(of([1.5, -0.5]).contains("holds 1.5"));
}
