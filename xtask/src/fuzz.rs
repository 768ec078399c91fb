//! `cargo xtask fuzz --seconds N`: the fuzz tests of all crates, again and again with seeds never used before.
//!
//! Plain `cargo test` runs the same tests for a moment, with seeds that are always the same. A failure names its seed and
//! the input in the test's own output, and ends the chore.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::{Result, workspace};

/// How many times the inputs of a plain test run each decoder gets between two looks at the clock.
const TIMES: u64 = 10;

/// No decoder gets more inputs between two looks at the clock.
const SEEDS: u64 = 1 << 20;

/// Fuzzes for about so many seconds, a turn at least.
///
/// # Errors
/// The first turn that fails.
pub(crate) fn run(root: &Path, seconds: &str) -> Result {
    let seconds = seconds
        .parse()
        .map_err(|_| format!("`--seconds {seconds}` is no number of seconds"))?;
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // Far from the seeds of plain test runs, and from those of the last time.
    let mut seed = now.map_or(1 << 50, |now| now.as_millis() as u64) << 20;
    let mut turns = 0;
    while turns == 0 || started.elapsed() < limit {
        println!("== seeds from {seed}");
        let mut tests = workspace::cargo(
            root,
            &[
                "test",
                "--quiet",
                "--lib",
                "--bins",
                "--test",
                "it",
                "--",
                "fuzz::no_",
            ],
        );
        tests
            .env("MLBUILD_TIMES", TIMES.to_string())
            .env("MLBUILD_SEED", seed.to_string());
        workspace::run(&mut tests)?;
        seed += SEEDS;
        turns += 1;
    }
    println!(
        "{} times the inputs of a plain test run, in {:.0} s: nothing found",
        turns * TIMES,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
