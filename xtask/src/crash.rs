//! `cargo xtask crash`: the long forms of the tests that end, starve and kill what runs.
//!
//! What `cargo test` tries by chance is tried whole here. A quarter of an hour on two cores.

use std::path::Path;

use crate::steps::Steps;
use crate::{Result, workspace};

/// Processes killed if nothing else is asked for.
const KILLS: u64 = 1000;
/// Recorded sessions, each of which loses power 20 times.
const SESSIONS: &str = "250";
/// More than any scenario has steps.
const EVERY_STEP: &str = "1000000";

/// The number in `--kills N`; the usual one without it.
pub(crate) fn kills(arguments: &[&str]) -> Option<u64> {
    match arguments {
        [] => Some(KILLS),
        ["--kills", number] => number.parse().ok(),
        _ => None,
    }
}

/// Runs the long forms, one after the other.
///
/// # Errors
/// The first that failed, by its name; what it printed says how to see it again.
pub(crate) fn run(root: &Path, kills: u64) -> Result {
    let kills = kills.to_string();
    let forms = [
        ("every step", "it", "crash::", "MLBUILD_ROUNDS", EVERY_STEP),
        (
            "losses of power",
            "oracle",
            "loss::",
            "MLBUILD_ROUNDS",
            SESSIONS,
        ),
        ("kills", "it", "kill::", "MLBUILD_KILLS", &kills),
    ];
    let mut steps = Steps::default();
    for (name, test, filter, variable, value) in forms {
        let arguments = ["test", "--test", test, "--", filter, "--nocapture"];
        steps.step(name, || {
            workspace::run(workspace::cargo(root, &arguments).env(variable, value))
        })?;
    }
    print!("\n{}", steps.table());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_a_number_or_as_usual() {
        assert_eq!(kills(&[]), Some(KILLS));
        assert_eq!(kills(&["--kills", "7"]), Some(7));
        assert_eq!(kills(&["--kills", "many"]), None);
        assert_eq!(kills(&["7"]), None);
    }
}
