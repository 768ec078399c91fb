//! What a null build looked at and what it came to, kept so that the next one only has to look.
//!
//! A build that found everything up to date leaves a *snapshot*: every look at the world it took ([`Witness`]) and its answer.
//! The next build with the same question compares the looks, one `stat` each, and if all are as they were has the same
//! answer: no build file is parsed, no key computed, no result read. Any difference, whatever it is, means only that
//! the snapshot is of no use: the build then goes its whole way.
//!
//! Invariants:
//! - Only a null build leaves a snapshot, and only if none of its looks was at something *young*: what may have changed again
//!   within the clock tick of the look.
//! - The folders of results and objects are among the looks, taken before the first lookup: while no name comes or goes there,
//!   what was found is there. Objects themselves are not looked at.
//! - A build that goes by a snapshot adds nothing to lineage: it has the run of the build that left it.
//! - A snapshot is a memo: damaged or lost, it is not there.

mod wire;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mlbuild_cache::{Cache, Looks, Stat, Viewpoint};
use mlbuild_digest::{Digest, Encoder};
use mlbuild_lineage::RunId;
use mlbuild_manifest::{Label, Variant};

use crate::witness::Witness;
use crate::{Event, Outcome, Summary};

/// Below so many looks another thread costs more than it spares.
const LOOKS_A_THREAD: usize = 1000;

/// What a build was asked: with the same question and the same looks it has the same answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question(Digest);

impl Question {
    /// The question of a build of this `variant` that selects `selection`, `on_cpu` or as declared, by the program `version`;
    /// `None` if what it selects depends on targets that it may then not look at.
    pub fn new(
        selection: &[String],
        variant: &Variant,
        on_cpu: bool,
        version: &str,
    ) -> Option<Self> {
        if selection
            .iter()
            .any(|expression| expression.contains("state:"))
        {
            return None;
        }
        let mut encoder = Encoder::new("mlbuild snapshot v1");
        encoder.part("version", version.as_bytes());
        encoder.part("device", if on_cpu { b"cpu" } else { b"" });
        let Variant { profile, params } = variant;
        if let Some(profile) = profile {
            encoder.part("profile", profile.as_bytes());
        }
        for param in params {
            encoder.part("param", param.as_bytes());
        }
        for expression in selection {
            encoder.part("selection", expression.as_bytes());
        }
        Some(Self(encoder.finish()))
    }
}

/// A null build: what it looked at, and what it came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// All that it looked at.
    paths: Vec<(String, Option<Stat>)>,
    variables: Vec<(String, Option<Digest>)>,
    /// The targets in the order in which they were found up to date.
    targets: Vec<Settled>,
    /// Which of them were asked for, in the order of the selection.
    wanted: Vec<u32>,
    /// The time that the cache saved.
    saved: Duration,
    /// How many source and output files were looked at.
    stats: u64,
    /// The run in lineage that recorded these targets.
    run: Option<RunId>,
}

/// A target that was up to date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settled {
    pub(crate) label: Label,
    pub(crate) rows: Option<u64>,
    pub(crate) size_bytes: u64,
    pub(crate) warnings: Vec<String>,
}

impl Snapshot {
    /// The snapshot of a build that ended with `summary`; `None` if there can be none. `is_young` says of which looks it
    /// cannot be known that a change after them would show.
    pub(crate) fn new(
        witness: Witness,
        targets: Vec<Settled>,
        wanted: &[Label],
        summary: &Summary,
        is_young: &dyn Fn(&Stat) -> bool,
    ) -> Option<Self> {
        let settles = summary.is_null_build()
            && witness.is_sure()
            && !wanted.is_empty()
            && targets.len() == summary.targets.len()
            && !witness.paths.values().flatten().any(is_young);
        if !settles {
            return None;
        }
        let wanted = numbers(&targets, wanted)?;
        Some(Self {
            paths: witness.paths.into_iter().collect(),
            variables: witness.variables.into_iter().collect(),
            wanted,
            targets,
            saved: summary.saved,
            stats: summary.looks.stats,
            run: None,
        })
    }

    /// Keeps it for the next build with this question. `run` is the run that recorded it in lineage. Losing it costs time only.
    pub fn keep(mut self, cache: &Cache, question: &Question, run: Option<RunId>) {
        self.run = run;
        let _ = cache.remember_memo(&question.0, &wire::encode(&self));
    }

    /// What the last null build with this question left.
    pub fn last(cache: &Cache, question: &Question) -> Option<Self> {
        wire::decode(&cache.memo(&question.0)?)
    }

    /// Whether all that it looked at is as it was; `variable` looks up an environment variable. The caller holds the
    /// project's lock.
    pub fn stands(&self, root: &Path, variable: &dyn Fn(&str) -> Option<String>) -> bool {
        let same = |(name, digest): &(String, Option<Digest>)| {
            variable(name).map(|value| Digest::of(value.as_bytes())) == *digest
        };
        if !self.variables.iter().all(same) {
            return false;
        }
        let Ok(viewpoint) = Viewpoint::new(root) else {
            return false;
        };
        let differs = AtomicBool::new(false);
        let look = |paths: &[(String, Option<Stat>)]| {
            for (path, before) in paths {
                if differs.load(Ordering::Relaxed) {
                    return;
                }
                let now = viewpoint.look(path);
                if !now.is_ok_and(|now| now == *before) {
                    differs.store(true, Ordering::Relaxed);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = self.paths.len().div_ceil(threads).max(LOOKS_A_THREAD);
        std::thread::scope(|scope| {
            let mut shares = self.paths.chunks(share);
            let own = shares.next();
            for share in shares {
                scope.spawn(|| look(share));
            }
            own.into_iter().for_each(look);
        });
        !differs.into_inner()
    }

    /// The targets that were asked for.
    pub fn wanted(&self) -> Vec<Label> {
        let target = |number: &u32| self.targets[*number as usize].label.clone();
        self.wanted.iter().map(target).collect()
    }

    /// The run in lineage that recorded these targets: that of the build that left the snapshot.
    pub fn run(&self) -> Option<RunId> {
        self.run
    }

    /// Emits what the build would have emitted, and gives its summary.
    pub fn replay(&self, emit: &mut dyn FnMut(&Event)) -> Summary {
        for target in &self.targets {
            let label = &target.label;
            for warning in &target.warnings {
                let (label, warning) = (label.clone(), warning.clone());
                emit(&Event::Warning {
                    label,
                    warning,
                    replayed: true,
                });
            }
            emit(&Event::Finished {
                label: label.clone(),
                outcome: Outcome::UpToDate,
                duration: Duration::ZERO,
                rows: target.rows,
                size_bytes: target.size_bytes,
                reasons: Vec::new(),
                unread: Vec::new(),
                unchanged: false,
                picked: None,
            });
        }
        let targets = self.targets.iter();
        Summary {
            targets: targets
                .map(|target| (target.label.clone(), Outcome::UpToDate))
                .collect(),
            saved: self.saved,
            looks: Looks {
                stats: self.stats,
                digested: 0,
            },
            from_snapshot: true,
            ..Summary::default()
        }
    }
}

/// The positions of `wanted` among `targets`.
fn numbers(targets: &[Settled], wanted: &[Label]) -> Option<Vec<u32>> {
    let positions = targets.iter().zip(0..);
    let positions: std::collections::BTreeMap<&Label, u32> =
        positions.map(|(target, at)| (&target.label, at)).collect();
    wanted
        .iter()
        .map(|label| positions.get(label).copied())
        .collect()
}
