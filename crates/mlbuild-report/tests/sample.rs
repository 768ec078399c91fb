//! Reports of realistic size, to look at:
//! `cargo test --test sample -- --ignored`, then open the pages in `target/tmp/{lists,classes,numbers}`.

#![expect(
    clippy::unwrap_used,
    reason = "a table or page that is not there is a failing test"
)]

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use fixture::{Project, float_lists, floats, ints, lists, text_lists, texts};
use mlbuild_action::{Bound, GateSlice, Slicing, Stability, StabilityMetric};

/// A small generator, so that the sample is the same everywhere.
struct Random(u64);

impl Random {
    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An item; small ones are much more likely.
    fn item(&mut self) -> i64 {
        (1682.0 * self.share().powi(3)) as i64
    }
}

#[test]
#[ignore = "writes a page for people to look at"]
fn write_a_sample_report() {
    let mut random = Random(7);
    let users: Vec<i64> = (1..=943).collect();
    let histories: Vec<Vec<i64>> = users
        .iter()
        .map(|_| {
            (0..(8.0 + 300.0 * random.share().powi(4)) as usize)
                .map(|_| random.item())
                .collect()
        })
        .collect();
    let truth: Vec<i64> = users.iter().map(|_| random.item()).collect();
    let models = [
        ("recs", 0.21),
        ("popularity", 0.07),
        ("markov", 0.13),
        ("item_knn", 0.17),
    ];
    let metrics = ["hit_rate@10", "ndcg@10", "mrr@10", "coverage@10"];
    let mut project = Project::new(&models.map(|(name, _)| name), &metrics)
        .table(
            "truth",
            vec![
                ("user", ints(&users)),
                ("item", ints(&truth)),
                ("history", lists(&histories)),
            ],
        )
        .table(
            "catalog",
            vec![("item_id", ints(&(0..1682).collect::<Vec<_>>()))],
        )
        .gate("recs", "hit_rate@10", Bound::Min(0.18))
        .gate("recs", "ndcg@10", Bound::Above("item_knn".to_owned()))
        .gate("recs", "coverage@10", Bound::Min(0.95));
    for (name, rate) in models {
        let found: Vec<Vec<i64>> = truth
            .iter()
            .map(|item| {
                let mut list: Vec<i64> = Vec::new();
                while list.len() < 10 {
                    let next = random.item();
                    if !list.contains(&next) && next != *item {
                        list.push(next);
                    }
                }
                if random.share() < rate {
                    list[(10.0 * random.share().powi(2)) as usize] = *item;
                }
                list
            })
            .collect();
        project.set(
            &format!("predictions.{name}"),
            vec![("user", ints(&users)), ("items", lists(&found))],
        );
    }
    project.work.title = "Next film for a user".to_owned();
    let model = |epochs: u32, lowest: f64| {
        let epoch = |n: u32| {
            let loss = lowest + 3.0 / f64::from(n);
            format!(
                "{{\"loss\": {loss}, \"valid_ndcg@10\": {}}}",
                0.12 - 0.1 / f64::from(n)
            )
        };
        let curve: Vec<_> = (1..=epochs).map(epoch).collect();
        format!(
            "{{\"architecture\": \"sasrec\", \"library\": \"libtorch 2.11.0\", \"params\": {{\"dim\": 64, \"lr\": 0.002}}, \"curve\": [{}]}}",
            curve.join(", ")
        )
    };
    project = project.file("model.recs", "model.json", &model(30, 4.0));
    project.work.owner = Some("recommendations@example.org".to_owned());
    project.work.lineage = [
        ("truth", "features:test"),
        ("predictions.recs", "data:recs_top10"),
    ]
    .map(|(input, target)| (input.to_owned(), target.to_owned()))
    .into();
    project.work.stability = vec![Stability {
        name: "histories shuffled".to_owned(),
        baseline: "predictions.recs".to_owned(),
        perturbed: "predictions.item_knn".to_owned(),
        metric: StabilityMetric::Overlap(std::num::NonZeroU32::MIN.saturating_add(9)),
        bound: Some(Bound::Min(0.01)),
    }];
    write(&project, "lists");
}

#[test]
#[ignore = "writes a page for people to look at"]
fn write_a_sample_report_of_classes() {
    let mut random = Random(11);
    let users: Vec<i64> = (0..2500).collect();
    let truth: Vec<bool> = users.iter().map(|_| random.share() < 0.25).collect();
    let country: Vec<_> = users
        .iter()
        .map(|user| ["Germany", "France", "Italy", "Spain"][(user % 4) as usize])
        .collect();
    let tenure: Vec<_> = users.iter().map(|_| 800.0 * random.share()).collect();
    let word = |is: bool| if is { "churned" } else { "stayed" };
    let models = [
        ("boosted", 0.45, 0.25),
        ("logistic", 0.32, 0.25),
        ("constant", 0.0, 0.0),
    ];
    let metrics = ["roc_auc", "pr_auc", "log_loss", "brier", "ece", "f1"];
    let mut project = Project::new(&models.map(|(name, ..)| name), &metrics)
        .table(
            "truth",
            vec![
                ("user", ints(&users)),
                (
                    "item",
                    texts(&truth.iter().map(|is| word(*is)).collect::<Vec<_>>()),
                ),
                ("country", texts(&country)),
                ("tenure_days", floats(&tenure)),
            ],
        )
        .gate("logistic", "roc_auc", Bound::Above("constant".to_owned()))
        .gate("boosted", "log_loss", Bound::Below("logistic".to_owned()))
        .gate("boosted", "roc_auc", Bound::Min(0.7));
    project.work.gates[0].confidence = Some(0.95);
    project.work.gates[2].slice = Some(GateSlice {
        by: "country".to_owned(),
        group: None,
        min_rows: 100,
    });
    project.work.positive = Some(mlbuild_action::Value::Text("churned".to_owned()));
    project.work.slices = vec![
        Slicing {
            column: "country".to_owned(),
            bins: Vec::new(),
        },
        Slicing {
            column: "tenure_days".to_owned(),
            bins: vec![30.0, 180.0, 365.0],
        },
    ];
    for (name, lift, spread) in models {
        let scores: Vec<f64> = truth
            .iter()
            .map(|is| {
                let noise = (random.share() + random.share() - 1.0) * 2.0 * spread;
                (0.25 + lift * (f64::from(u8::from(*is)) - 0.25) + noise).clamp(0.001, 0.999)
            })
            .collect();
        let rows = scores.iter().map(|p| {
            if *p > 0.5 {
                (["churned", "stayed"], [*p, 1.0 - p])
            } else {
                (["stayed", "churned"], [1.0 - p, *p])
            }
        });
        let (classes, scores): (Vec<_>, Vec<_>) = rows.unzip();
        project.set(
            &format!("predictions.{name}"),
            vec![
                ("user", ints(&users)),
                (
                    "prediction",
                    texts(&classes.iter().map(|row| row[0]).collect::<Vec<_>>()),
                ),
                ("classes", text_lists(&classes)),
                ("scores", float_lists(&scores)),
            ],
        );
    }
    project.work.title = "Who leaves within a month".to_owned();
    write(&project, "classes");
}

#[test]
#[ignore = "writes a page for people to look at"]
fn write_a_sample_report_of_numbers() {
    let mut random = Random(13);
    let users: Vec<i64> = (0..1500).collect();
    let truth: Vec<f64> = users
        .iter()
        .map(|_| 100.0 + 900.0 * random.share().powi(2))
        .collect();
    let models = [("linear", 0.2), ("mlp", 0.15), ("constant", 1.0)];
    let mut project = Project::new(
        &models.map(|(name, _)| name),
        &["rmse", "mae", "r2", "absolute_error@0.9"],
    )
    .table(
        "truth",
        vec![("user", ints(&users)), ("item", floats(&truth))],
    )
    .gate("mlp", "rmse", Bound::Below("linear".to_owned()));
    project.work.gates[0].confidence = Some(0.95);
    for (name, spread) in models {
        let predicted: Vec<f64> = truth
            .iter()
            .map(|truth| {
                let noise = (random.share() + random.share() + random.share() - 1.5) * spread;
                if name == "constant" {
                    400.0
                } else {
                    truth * (1.0 + noise)
                }
            })
            .collect();
        project.set(
            &format!("predictions.{name}"),
            vec![("user", ints(&users)), ("prediction", floats(&predicted))],
        );
    }
    project.work.title = "Price of a flat".to_owned();
    write(&project, "numbers");
}

fn write(project: &Project, name: &str) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let outcome = project.run();
    assert_eq!(outcome.files.len(), 3, "{:?}", outcome.result);
    for (name, text) in outcome.files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}
