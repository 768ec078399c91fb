//! Fuzzing with a seed, within plain `cargo test`: a decoder, its law, and many inputs that are nearly right.
//!
//! Each round has a seed of its own, which a failure names with the input, made as small as a few hundred tries make it.
//! `MLBUILD_ROUNDS` sets the number of rounds and `MLBUILD_SEED` the seed of the first, so that
//! `MLBUILD_ROUNDS=1 MLBUILD_SEED=7` shows one again; `MLBUILD_TIMES` runs so many times the usual rounds.
//! `cargo xtask fuzz --seconds N` goes on with fresh seeds for so long.
//!
//! libFuzzer would find its way by coverage, but needs a nightly compiler and a build of its own; these run wherever the
//! tests run, and their corpora, words and re-sealed checksums lead them past the first comparison.
//!
//! What a test cannot see is an abort (a stack that overflows, memory that runs out): it ends the whole test binary.

use std::cell::Cell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::Draw;
use crate::mutate::mutate;

/// How many inputs to shrink a failure with.
const TRIES: usize = 600;

/// What inputs are made of.
#[derive(Clone, Copy, Debug)]
pub struct Corpus<'a> {
    /// Inputs that are right, at least one.
    pub inputs: &'a [&'a [u8]],
    /// Words that mean something to the decoder.
    pub words: &'a [&'a str],
    /// How many inputs a plain test run tries: as many as take a moment.
    pub rounds: u64,
}

/// Holds `law` to every input of the corpus and to many that are nearly such.
///
/// # Panics
/// If `law` does: with its message, the seed and the input.
#[track_caller]
pub fn fuzz(name: &str, corpus: Corpus<'_>, law: impl Fn(&[u8])) {
    for input in corpus.inputs {
        law(input);
    }
    let times = setting("MLBUILD_TIMES").unwrap_or(1);
    let rounds = setting("MLBUILD_ROUNDS").unwrap_or(corpus.rounds * times);
    let first = setting("MLBUILD_SEED").unwrap_or(1);
    for seed in (0..rounds).map(|round| first.wrapping_add(round)) {
        let input = mutate(&corpus, &mut Draw::new(seed));
        if let Err(message) = attempt(&law, &input) {
            let small = shrink(&input, |input| attempt(&law, input).is_err());
            panic!("{}", report(name, seed, &message, &small, &input));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test takes its extent from its caller"
)]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("the setting is a number"))
}

fn report(name: &str, seed: u64, message: &str, small: &[u8], input: &[u8]) -> String {
    let mut text = format!("{name}: {message}\n");
    let _ = writeln!(
        text,
        "to see this again: MLBUILD_ROUNDS=1 MLBUILD_SEED={seed}"
    );
    let _ = writeln!(
        text,
        "with {} bytes: b\"{}\"",
        small.len(),
        small.escape_ascii()
    );
    if input != small {
        let _ = writeln!(text, "found with {} bytes", input.len());
    }
    text
}

thread_local! {
    /// Whether a panic on this thread is expected and says nothing.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `law` panics with on `input`, if it does.
fn attempt(law: &impl Fn(&[u8]), input: &[u8]) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic);
            }
        }));
    });
    QUIET.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| law(input)));
    QUIET.set(false);
    ended.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without a message").to_owned()
    })
}

/// Leaves out of `input` what it fails without.
fn shrink(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut small = input.to_vec();
    let mut tries = 0;
    let mut length = small.len().div_ceil(2);
    while length > 0 && tries < TRIES {
        let mut start = 0;
        let before = small.len();
        while start < small.len() && tries < TRIES {
            let mut shorter = small.clone();
            shorter.drain(start..(start + length).min(small.len()));
            tries += 1;
            if fails(&shorter) {
                small = shorter;
            } else {
                start += length;
            }
        }
        // As long as single bytes go, more may.
        if length > 1 || small.len() == before {
            length /= 2;
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: Corpus<'_> = Corpus {
        inputs: &[b"[data.orders]\npath = \"raw/*.csv\"\nrows = 12\n"],
        words: &["needle"],
        rounds: 500,
    };

    fn failure(law: impl Fn(&[u8])) -> String {
        attempt(&|_| fuzz("test", CORPUS, &law), b"").unwrap_err()
    }

    #[test]
    fn a_failure_names_its_seed_and_a_small_input() {
        let has_needle = |input: &[u8]| {
            let found = input.windows(6).any(|word| word == b"needle");
            assert!(!found, "there it is");
        };
        let text = failure(has_needle);
        assert!(text.starts_with("test: there it is\n"), "{text}");
        assert!(text.contains("with 6 bytes: b\"needle\""), "{text}");
        let seed = text.split("MLBUILD_SEED=").nth(1).unwrap();
        let seed = seed.lines().next().unwrap().parse().unwrap();
        let again = mutate(&CORPUS, &mut Draw::new(seed));
        assert!(attempt(&has_needle, &again).is_err());
    }

    #[test]
    fn inputs_are_cut_grown_flipped_and_mixed() {
        let whole = CORPUS.inputs[0];
        let mutants = (0..500).map(|seed| mutate(&CORPUS, &mut Draw::new(seed)));
        let mutants: Vec<Vec<u8>> = mutants.collect();
        let count = |is: &dyn Fn(&Vec<u8>) -> bool| mutants.iter().filter(|m| is(m)).count();
        assert!(count(&|m| m.len() < whole.len()) > 50);
        assert!(count(&|m| m.len() > whole.len()) > 50);
        assert!(count(&|m| std::str::from_utf8(m).is_err()) > 10);
        assert!(count(&|m| m == whole) < 50);
    }
}
