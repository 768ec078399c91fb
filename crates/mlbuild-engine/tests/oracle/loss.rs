//! Losses of power: whatever of the unsynced is gone, the cache opens, lies about nothing, and the next build is as good
//! as a clean one.
//!
//! A session of builds, edits, pins and collections is recorded. A part of the recording, up to any step, is played on a
//! disk that forgets ([`Disk`]), and what that leaves is written to a fresh folder and looked at.

use std::collections::BTreeSet;
use std::fs;

use mlbuild_cache::{Flaw, Part};
use mlbuild_disk::Recorded;
use mlbuild_engine::{Finding, Outcome};

use crate::bench::{Bench, Built};
use crate::edit::edit;
use crate::power::Disk;
use crate::world::World;
use mlbuild_testing::Dice;
use mlbuild_testing::setting;

/// Sessions that are recorded if nothing else is asked for.
const ROUNDS: u64 = 16;
/// Losses of power in each.
const LOSSES: usize = 20;

/// What was done between two states of the sources.
struct Recording {
    steps: Vec<Recorded>,
    states: Vec<State>,
    /// Where something was just removed or promised.
    moments: Vec<usize>,
}

/// From a step on.
struct State {
    from: usize,
    world: World,
    /// Whether a pin has been promised.
    pinned: bool,
}

#[test]
fn a_loss_of_power_loses_work_and_no_truth() {
    let first = setting("MLBUILD_SEED").unwrap_or(0);
    for seed in first..first + setting("MLBUILD_ROUNDS").unwrap_or(ROUNDS) {
        let mut dice = Dice::new(seed);
        let recording = Recording::of_a_session(&mut dice);
        for _ in 0..LOSSES {
            let end = recording.end(&mut dice);
            recording.lose_power(end, seed, &mut dice);
        }
    }
}

impl Recording {
    fn of_a_session(dice: &mut Dice) -> Self {
        let mut bench = Bench::new();
        let mut world = World::random(dice);
        let recording = mlbuild_disk::record(bench.root());
        let (mut states, mut moments) = (Vec::new(), Vec::new());
        let mut pinned = false;
        for round in 0..dice.between(2, 5) {
            if round > 0 {
                edit(&mut world, dice);
            }
            states.push(State {
                from: recording.len(),
                world: world.clone(),
                pinned,
            });
            bench.declare(&world);
            bench.build(&everything(&world), true);
            if dice.often(30) {
                let names: Vec<String> = world.names().collect();
                pinned |= bench.pin(dice.pick(&names).as_str());
                let from = recording.len();
                moments.push(from);
                let world = world.clone();
                states.push(State {
                    from,
                    world,
                    pinned,
                });
            }
            if dice.often(50) {
                bench.collect();
                moments.push(recording.len());
            }
        }
        Self {
            steps: recording.finish(),
            states,
            moments,
        }
    }

    /// A step by chance, often one where much depends on the order.
    fn end(&self, dice: &mut Dice) -> usize {
        let anywhere = dice.roll(self.steps.len() + 1);
        match dice.often(30) && !self.moments.is_empty() {
            true => (dice.pick(&self.moments) + dice.roll(20)).min(self.steps.len()),
            false => anywhere,
        }
    }

    /// Loses power before the step `end`, and looks at what is left.
    fn lose_power(&self, end: usize, seed: u64, dice: &mut Dice) {
        let mut disk = Disk::new();
        for step in &self.steps[..end] {
            disk.take(step);
        }
        let state = self.states.iter().rev().find(|state| state.from <= end);
        let state = state.expect("the first state is from the first step on");
        let mut bench = Bench::new();
        disk.lose_power(dice, bench.root());
        bench.declare(&state.world);
        let last = &self.steps[end.saturating_sub(3)..end];
        let last: Vec<String> = last.iter().map(told).collect();
        let told = format!(
            "MLBUILD_ROUNDS=1 MLBUILD_SEED={seed}, after {end} steps: {}",
            last.join("; ")
        );

        let found = bench.check(false);
        let grave: Vec<&Finding> = found.iter().filter(|found| is_grave(found)).collect();
        assert!(grave.is_empty(), "{told}: {grave:#?}");
        let pins = bench.pins();
        assert!(!state.pinned || !pins.is_empty(), "{told}: a pin is lost");

        let mut clean = Bench::new();
        clean.declare(&state.world);
        let wanted = everything(&state.world);
        let (ours, theirs) = (bench.build(&wanted, true), clean.build(&wanted, true));
        for name in state.world.names() {
            assert_eq!(
                is_there(&ours, &name),
                is_there(&theirs, &name),
                "{told}: {name}"
            );
            if is_there(&theirs, &name) {
                assert_eq!(bench.key(&name), clean.key(&name), "{told}: {name}");
                assert_eq!(bench.out(&name), clean.out(&name), "{told}: {name}");
            }
        }
        let again = bench.build(&wanted, true);
        let outcomes = again.targets.into_values().map(|target| target.outcome);
        let redone: Vec<Outcome> = outcomes
            .filter(|outcome| matches!(outcome, Outcome::Built | Outcome::Restored))
            .collect();
        assert_eq!(redone, [], "{told}: a second build");
        // What nothing needs any more is not made again.
        bench.check(true);
        assert_eq!(bench.check(false), [], "{told}: repaired");
    }
}

/// A step, without all of its bytes.
fn told(step: &Recorded) -> String {
    format!("{step:?}").chars().take(200).collect()
}

/// Whether something is wrong that a sync was to prevent.
fn is_grave(finding: &Finding) -> bool {
    match (finding.problem.part, &finding.problem.flaw) {
        // Notes that are not synced, since they are only missed.
        (Part::Listing | Part::Memo | Part::LastBuild | Part::StatIndex, Flaw::Damaged) => false,
        (Part::Version, Flaw::Missing) => false,
        _ => true,
    }
}

fn everything(world: &World) -> BTreeSet<String> {
    world.names().collect()
}

fn is_there(built: &Built, name: &str) -> bool {
    !matches!(
        built.targets[name].outcome,
        Outcome::Failed | Outcome::Skipped
    )
}

/// The disk that forgets, on its own.
#[test]
fn what_is_synced_lasts_and_what_is_not_may_go() {
    let path = |name: &str| name.into();
    let bytes = b"bytes".to_vec();
    let all = [
        Recorded::Folders { path: path("a") },
        Recorded::SyncFolder { path: path("") },
        Recorded::Write {
            path: path("a/new"),
            bytes: bytes.clone(),
        },
        Recorded::Sync {
            path: path("a/new"),
        },
        Recorded::Rename {
            from: path("a/new"),
            to: path("a/name"),
        },
        Recorded::SyncFolder { path: path("a") },
    ];
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        for (steps, seen) in [&all[..], &all[..5]].into_iter().zip(&mut seen) {
            let steps: Vec<&Recorded> = match seed % 2 {
                0 => steps.iter().collect(),
                // Without the sync of the bytes.
                _ => steps[..3].iter().chain(&steps[4..]).collect(),
            };
            let mut disk = Disk::new();
            steps.into_iter().for_each(|step| disk.take(step));
            let folder = tempfile::tempdir().unwrap();
            disk.lose_power(&mut dice, folder.path());
            let read = |name| fs::read(folder.path().join(name)).ok();
            seen.insert((seed % 2, read("a/new"), read("a/name")));
        }
    }
    let of = |seen: &BTreeSet<(u64, _, _)>, kind| seen.iter().filter(|it| it.0 == kind).count();
    assert_eq!(of(&seen[0], 0), 1, "all was synced: {seen:?}");
    assert!(seen[0].contains(&(0, None, Some(bytes))));
    assert!(of(&seen[0], 1) > 3, "bytes may go: {seen:?}");
    assert_eq!(of(&seen[1], 0), 3, "no name, the old or the new: {seen:?}");
}
