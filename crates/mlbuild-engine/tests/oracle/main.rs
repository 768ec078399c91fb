//! The engine held to an oracle: on random projects and random edits a build does what it must, no more and no less.
//!
//! All is real but the executor: declarations are parsed and resolved, the cache lies in a folder. The executor computes
//! with tables of a few integers ([`toy`]). What each target means and what identifies it is worked out a second time
//! from the declarations alone ([`meaning`]), and so is what the cache knows ([`memory`]). After every build
//!
//! - exactly those targets were executed that had to be, and the others were taken from the cache or up to date;
//! - each wanted artifact is under `out/` and holds the values that a clean build yields;
//! - two action keys are equal exactly where two identities are;
//! - each executed target says why, in all the reasons that apply and no other, and what changed unread is told;
//! - a second build at once does nothing: it executes, digests and plans nothing;
//! - where the snapshot of a build still stands, the next build has nothing to do; and every build goes by what the last one
//!   left, as far as that stands, so all of this holds of such builds too.
//!
//! `MLBUILD_ROUNDS` sets the number of sequences, and `MLBUILD_SEED` the first of them: a failure names the seed and
//! lists the edits, and `MLBUILD_ROUNDS=1 MLBUILD_SEED=7` runs that one alone.
//!
//! [`loss`] holds the order of writes and syncs to a disk that forgets.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics says where, and what led there"
)]

mod bench;
mod edit;
mod frame;
mod loss;
mod meaning;
mod memory;
mod power;
mod sequence;
mod toy;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use mlbuild_testing::setting;
use sequence::{Sequence, Tally};

/// Half a minute on two idle cores.
const ROUNDS: u64 = 2000;

/// Two threads even on one core: builds wait for their actions.
const THREADS: usize = 2;

#[test]
fn incremental_builds_do_what_they_must_and_no_more() {
    let first = setting("MLBUILD_SEED").unwrap_or(0);
    let rounds = setting("MLBUILD_ROUNDS").unwrap_or(ROUNDS);
    let next = AtomicU64::new(first);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + rounds {
                return tally;
            }
            run(seed, &mut tally);
        }
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            tally.add(&thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    if rounds >= 100 {
        tally.assert_that_everything_happened();
    }
}

fn run(seed: u64, tally: &mut Tally) {
    let mut sequence = Sequence::new(seed);
    let ran = catch_unwind(AssertUnwindSafe(|| sequence.run(tally)));
    if let Err(panic) = ran {
        let told = sequence.told();
        println!("to see this again: MLBUILD_ROUNDS=1 MLBUILD_SEED={seed}\n{told}");
        resume_unwind(panic);
    }
}
