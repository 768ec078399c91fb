//! What evaluating a million lists of a hundred items costs, to look at:
//! `cargo test --release -p mlbuild-report --test speed -- --ignored --nocapture`.

#[allow(dead_code)] // Each test binary uses its part.
mod fixture;

use std::time::Instant;

use fixture::{Project, ints, lists};

const ROWS: usize = 1_000_000;
const ITEMS: usize = 50_000;
const K: usize = 100;

#[test]
#[ignore = "a measurement, of a minute and 3 GB"]
fn a_million_lists_of_a_hundred() {
    let users: Vec<i64> = (0..ROWS as i64).collect();
    let truth: Vec<i64> = users
        .iter()
        .map(|user| user * 7919 % ITEMS as i64)
        .collect();
    // A hundred different items each: a walk through the catalog by a step that is prime to its size.
    let found: Vec<Vec<i64>> = users
        .iter()
        .map(|user| {
            let step = 1 + 2 * (user % 97) + i64::from((1 + 2 * (user % 97)) % 5 == 0) * 2;
            (0..K as i64)
                .map(|rank| (user * 31 + rank * step) % ITEMS as i64)
                .collect()
        })
        .collect();
    for metrics in [
        &[
            "hit_rate@100",
            "recall@100",
            "precision@100",
            "map@100",
            "mrr@100",
            "ndcg@100",
        ][..],
        &["hit_rate@100", "ndcg@10", "coverage@100"],
    ] {
        let catalog: Vec<i64> = (0..ITEMS as i64).collect();
        let project = Project::new(&["m"], metrics)
            .table(
                "truth",
                vec![("user", ints(&users)), ("item", ints(&truth))],
            )
            .table("catalog", vec![("item_id", ints(&catalog))])
            .table(
                "predictions.m",
                vec![("user", ints(&users)), ("items", lists(&found))],
            );
        for threads in [1, 2] {
            let started = Instant::now();
            let outcome = project.run_on(threads);
            println!("{metrics:?}, {threads} threads: {:.2?}", started.elapsed());
            assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        }
    }
}
