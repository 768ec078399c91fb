//! What exactness costs: the time of queries with the exact functions over that with the built-in ones.
//!
//! `cargo test --release -p mlbuild-exec-table -- --ignored --nocapture exactness`

use std::time::{Duration, Instant};

use super::queries::{PLAIN, exact, grouped_rows, run, session};

#[test]
#[ignore = "a measurement, which says nothing unless optimised"]
fn the_cost_of_exactness() {
    for groups in [1, 10, 1000, 100_000] {
        let rows = grouped_rows(1_000_000, groups);
        let (builtin, exact) = (session(PLAIN, &rows), exact(PLAIN, &rows));
        for call in ["sum(y)", "avg(y)", "stddev(y)", "corr(y, x)"] {
            let query = match groups {
                1 => format!("select {call} as a from t"),
                _ => format!("select many, {call} as a from t group by many"),
            };
            // One after the other, so that both see the same machine; often, for others may use it.
            let [mut with, mut without] = [Duration::MAX; 2];
            for _ in 0..20 {
                with = with.min(time(|| run(&exact, &query)));
                without = without.min(time(|| run(&builtin, &query)));
            }
            let ratio = with.as_secs_f64() / without.as_secs_f64();
            println!("{call:10} {groups:6} groups: {without:.1?} -> {with:.1?}, {ratio:.2}");
        }
    }
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
