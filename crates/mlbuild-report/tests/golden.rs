//! Every metric on seeded tables, held to scikit-learn and trec_eval: `golden.py` made the figures and draws the same rows.

#![expect(
    clippy::unwrap_used,
    reason = "a table or page that is not there is a failing test"
)]

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use arrow::array::ArrayRef;
use fixture::{Project, bools, float_lists, floats, ints, lists, text_lists, texts};

const BINARY: &[(&str, f64)] = &[
    ("accuracy", 0.6),
    ("balanced_accuracy", 0.5085227272727273),
    ("brier", 0.2529873333333333),
    ("ece", 0.1604),
    ("f1", 0.29411764705882354),
    ("f1_macro", 0.5075239398084815),
    ("f1_micro", 0.6),
    ("f1_weighted", 0.6071135430916552),
    ("log_loss", 0.7344577845576334),
    ("mcc", 0.016448792373994225),
    ("pr_auc", 0.31556234226830693),
    ("precision", 0.2777777777777778),
    ("recall", 0.3125),
    ("roc_auc", 0.48863636363636365),
];

const SEVERAL: &[(&str, f64)] = &[
    ("accuracy", 0.5666666666666667),
    ("balanced_accuracy", 0.5652014652014652),
    ("brier", 0.6687421666666666),
    ("ece", 0.15943333333333337),
    ("f1_macro", 0.5591722793335697),
    ("f1_micro", 0.5666666666666667),
    ("f1_weighted", 0.5646697388632873),
    ("log_loss", 1.2616963770393546),
    ("mcc", 0.4263856378455006),
    ("pr_auc", 0.5006048028015538),
    ("precision_macro", 0.567445054945055),
    ("recall_macro", 0.5652014652014652),
    ("roc_auc", 0.7171304532312858),
];

const LABELS: &[(&str, f64)] = &[
    ("f1_macro", 0.6236130007558578),
    ("f1_micro", 0.625),
    ("f1_weighted", 0.6257962366233043),
    ("hamming_loss", 0.3),
    ("log_loss", 0.49783545975881244),
    ("pr_auc", 0.781288143855785),
    ("precision_macro", 0.516447728516694),
    ("precision_micro", 0.5172413793103449),
    ("recall_macro", 0.7895719691385326),
    ("recall_micro", 0.7894736842105263),
    ("roc_auc", 0.8429495551617112),
    ("subset_accuracy", 0.4166666666666667),
];

const NUMBERS: &[(&str, f64)] = &[
    ("absolute_error@0.9", 0.7978),
    ("mae", 0.46525),
    ("mape", 0.10972198945366984),
    ("median_ae", 0.45699999999999963),
    ("pinball@0.9", 0.180525),
    ("r2", 0.9574389505355966),
    ("rmse", 0.5263765603950591),
];

const RANKING: &[(&str, f64)] = &[
    ("hit_rate@10", 0.4),
    ("map@10", 0.07375330687830688),
    ("mrr@10", 0.14277116402116402),
    ("ndcg@10", 0.13158736829628212),
    ("precision@10", 0.051666666666666666),
    ("recall@10", 0.225),
];

/// Metrics and what they must be.
type Golden = &'static [(&'static str, f64)];

/// The rows of every table.
const ROWS: usize = 60;

/// The generator of `golden.py`.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    fn thousandths(&mut self, parts: usize) -> Vec<u64> {
        let mut cuts: Vec<_> = (1..parts).map(|_| self.below(1001)).collect();
        cuts.sort_unstable();
        let starts = [0].into_iter().chain(cuts.clone());
        starts
            .zip(cuts.into_iter().chain([1000]))
            .map(|(a, b)| b - a)
            .collect()
    }
}

/// All tables, drawn in the order of `golden.py`, each by its name there.
fn projects() -> Vec<(&'static str, Project, Golden)> {
    let mut random = Random(7);
    vec![
        ("binary", binary(&mut random), BINARY),
        ("several", several(&mut random), SEVERAL),
        ("labels", labels(&mut random), LABELS),
        ("numbers", numbers(&mut random), NUMBERS),
        ("ranking", ranking(&mut random), RANKING),
    ]
}

fn project(
    expected: &[(&str, f64)],
    label: &str,
    truth: ArrayRef,
    predictions: Vec<(&str, ArrayRef)>,
) -> Project {
    let metrics: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let users: Vec<i64> = (0..ROWS as i64).collect();
    let mut columns = vec![("user", ints(&users))];
    columns.extend(predictions);
    Project::new(&["m"], &metrics)
        .with(|work| {
            work.labels = vec![label.to_owned()];
            work.resampling.resamples = 100;
        })
        .table("truth", vec![("user", ints(&users)), (label, truth)])
        .table("predictions.m", columns)
}

/// Classes best first, ties in the order of the classes, and their scores.
fn ranked(names: &[&str], thousandths: &[u64]) -> (Vec<String>, Vec<f64>) {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| thousandths[*b].cmp(&thousandths[*a]).then(a.cmp(b)));
    let of = |class: &usize| {
        (
            names[*class].to_owned(),
            thousandths[*class] as f64 / 1000.0,
        )
    };
    order.iter().map(of).unzip()
}

fn binary(random: &mut Random) -> Project {
    let truth: Vec<bool> = (0..ROWS).map(|_| random.below(10) < 3).collect();
    let positive: Vec<u64> = truth
        .iter()
        .map(|is| match is {
            // In Python both arguments of `min` are drawn.
            true => random.below(1001).min(400 + random.below(601)),
            false => random.below(801),
        })
        .collect();
    let names = ["no", "yes"];
    let rows = positive.iter().map(|p| ranked(&names, &[1000 - p, *p]));
    let (classes, scores): (Vec<_>, Vec<_>) = rows.unzip();
    let word = |is: bool| if is { "yes" } else { "no" };
    let truth: Vec<_> = truth.into_iter().map(word).collect();
    let predicted: Vec<_> = positive.iter().map(|p| word(*p > 500)).collect();
    let predictions = vec![
        ("prediction", texts(&predicted)),
        ("classes", text_lists(&classes)),
        ("scores", float_lists(&scores)),
    ];
    project(BINARY, "churned", texts(&truth), predictions)
}

fn several(random: &mut Random) -> Project {
    let truth: Vec<usize> = (0..ROWS).map(|_| random.below(4) as usize).collect();
    let names = ["a", "b", "c", "d"];
    let rows = truth.iter().map(|truth| {
        let mut parts = random.thousandths(4);
        if random.below(2) == 1 {
            let most = parts.iter().max().unwrap();
            let best = parts.iter().position(|part| part == most).unwrap();
            parts.swap(best, *truth);
        }
        ranked(&names, &parts)
    });
    let (classes, scores): (Vec<_>, Vec<_>) = rows.unzip();
    let truth: Vec<_> = truth.into_iter().map(|class| names[class]).collect();
    let predicted: Vec<_> = classes.iter().map(|classes| classes[0].as_str()).collect();
    let predictions = vec![
        ("prediction", texts(&predicted)),
        ("classes", text_lists(&classes)),
        ("scores", float_lists(&scores)),
    ];
    project(SEVERAL, "kind", texts(&truth), predictions)
}

fn labels(random: &mut Random) -> Project {
    let names = ["x", "y", "z"];
    let truth: Vec<bool> = (0..3 * ROWS).map(|_| random.below(3) == 0).collect();
    let scores: Vec<u64> = (truth
        .iter()
        .map(|is| 300 * u64::from(*is) + random.below(701)))
    .collect();
    let (mut predicted, mut classes, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    for row in scores.chunks(3) {
        let chosen = names.iter().zip(row).filter(|(_, score)| **score >= 500);
        predicted.push(
            chosen
                .map(|(name, _)| (*name).to_owned())
                .collect::<Vec<_>>(),
        );
        let (names, scores) = ranked(&names, row);
        classes.push(names);
        listed.push(scores);
    }
    let predictions = vec![
        ("prediction", text_lists(&predicted)),
        ("classes", text_lists(&classes)),
        ("scores", float_lists(&listed)),
    ];
    let column = |label: usize| {
        bools(
            &truth
                .iter()
                .copied()
                .skip(label)
                .step_by(3)
                .collect::<Vec<_>>(),
        )
    };
    let users: Vec<i64> = (0..ROWS as i64).collect();
    let truth = vec![
        ("user", ints(&users)),
        ("x", column(0)),
        ("y", column(1)),
        ("z", column(2)),
    ];
    project(LABELS, "x", column(0), predictions)
        .table("truth", truth)
        .with(|work| work.labels = names.map(str::to_owned).to_vec())
}

fn numbers(random: &mut Random) -> Project {
    let truth: Vec<f64> = (0..ROWS)
        .map(|_| (1000 + random.below(9000)) as f64 / 1000.0)
        .collect();
    let moved = truth
        .iter()
        .map(|truth| truth + (random.below(2001) as f64 - 900.0) / 1000.0);
    let predicted: Vec<f64> = moved.collect();
    project(
        NUMBERS,
        "price",
        floats(&truth),
        vec![("prediction", floats(&predicted))],
    )
}

fn ranking(random: &mut Random) -> Project {
    let (mut truth, mut found) = (Vec::new(), Vec::new());
    for _ in 0..ROWS {
        let several = 1 + random.below(4);
        let mut items: Vec<i64> = (0..several).map(|_| random.below(40) as i64).collect();
        items.sort_unstable();
        items.dedup();
        truth.push(items);
        let mut order: Vec<i64> = (0..40).collect();
        for i in 0..12 {
            order.swap(i, i + random.below(40 - i as u64) as usize);
        }
        found.push(order[..12].to_vec());
    }
    project(
        RANKING,
        "bought",
        lists(&truth),
        vec![("items", lists(&found))],
    )
}

#[test]
fn metrics_are_those_of_scikit_learn_and_trec_eval() {
    for (task, project, expected) in projects() {
        let outcome = project.run();
        let metrics = outcome.result.unwrap().metrics;
        assert_eq!(metrics.len(), expected.len(), "{task}");
        for (name, value) in expected {
            let found = metrics[&format!("m.{name}")];
            assert!(
                (found - value).abs() < 1e-9,
                "{task} {name}: {found}, not {value}"
            );
        }
    }
}

#[test]
fn the_order_of_predictions_does_not_show() {
    for (task, mut project, _) in projects() {
        let before = project.run().result.unwrap().metrics;
        project.reverse("predictions.m");
        assert_eq!(project.run().result.unwrap().metrics, before, "{task}");
    }
}

#[test]
fn figures_and_intervals_are_in_every_page() {
    for (task, project, expected) in projects() {
        let files = project.run().files;
        for (name, _) in expected {
            assert!(files["report.html"].contains(name), "{task} {name}");
        }
        let json: serde_json::Value = serde_json::from_str(&files["report.json"]).unwrap();
        for figure in json["models"][0]["figures"].as_array().unwrap() {
            let [low, value, high] =
                ["low", "value", "high"].map(|it| figure[it].as_f64().unwrap());
            assert!(
                low <= value && value <= high && low < high,
                "{task} {figure}"
            );
        }
    }
}
