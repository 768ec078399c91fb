//! A report of realistic size, to look at:
//! `cargo test --test sample -- --ignored`, then open `target/tmp/report.html`.

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use fixture::{Project, ints, lists};
use mlbuild_action::Bound;

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
    for (name, text) in project.run().files {
        std::fs::write(
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
            text,
        )
        .unwrap();
    }
}
