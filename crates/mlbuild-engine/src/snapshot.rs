//! What a build looked at and what it came to, kept so that the next one only has to look, and goes into what changed.
//!
//! A build leaves a *snapshot*: every look at the world it took ([`Witness`]) with its answer, and every target that was done.
//! The next build with the same question compares the looks, one `stat` each. If all are as they were, and all targets were
//! done, it has the same answer: no build file is parsed, no key computed, no result read. If some differ that concern
//! certain targets alone, the others are [`Standing`]: a build resolves and looks up no target that stands and whose inputs
//! are what they were. Any other difference means only that the snapshot is of no use: the build then goes its whole way.
//!
//! Invariants:
//! - A look at something *young*, which may have changed again within the clock tick of the look, is unsure: it differs from every
//!   later one.
//! - The folders of results and objects are among the looks, everybody's: while no name comes or goes there, what was found is
//!   there. Objects themselves are not looked at. What changed there while a build held the project's lock was its own doing.
//! - What stands is replayed, never concluded anew: a target stands only if every look for it came out the same and each of
//!   its inputs stands too or has been done again with the artifact that it had.
//! - A build that goes by a snapshot alone adds nothing to lineage: it has the run of the build that left it.
//! - A snapshot is two memos, of which the first names the second by its digest: damaged or lost, they are not there.

mod standing;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use mlbuild_action::Artifact;
use mlbuild_cache::{Cache, Looks, Viewpoint};
use mlbuild_digest::{Digest, Encoder};
use mlbuild_lineage::RunId;
use mlbuild_manifest::{Label, Variant};

use crate::witness::{LookNumber, Noted, Seen, Witness};
use crate::{Event, Outcome, Summary};

pub use standing::Standing;

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
        let mut encoder = Encoder::new("mlbuild snapshot v2");
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

    /// The name of what goes with the answer.
    fn of_details(&self) -> Digest {
        let mut encoder = Encoder::new("mlbuild snapshot details v2");
        encoder.part("question", self.0.as_bytes());
        encoder.finish()
    }
}

/// What a build looked at, and what it came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// All that it looked at.
    paths: Vec<(String, Seen)>,
    variables: Vec<(String, Option<Digest>)>,
    /// The targets that were done, in that order.
    targets: Vec<Settled>,
    /// Whether these are all that it was about.
    complete: bool,
    /// Which of them were asked for, in the order of the selection; nothing if it is not complete.
    wanted: Vec<u32>,
    /// The time that the cache will have saved.
    saved: Duration,
    /// How many source and output files were looked at.
    stats: u64,
    /// The run in lineage that recorded these targets.
    run: Option<RunId>,
    details: Details,
}

/// What only a build needs that finds something changed.
#[derive(Clone, PartialEq, Debug)]
enum Details {
    /// One for each of the targets.
    Here(Vec<Detail>),
    /// In a memo of its own, whose value has this digest.
    Kept(Digest),
}

/// A target that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settled {
    pub(crate) label: Label,
    pub(crate) rows: Option<u64>,
    pub(crate) size_bytes: u64,
    pub(crate) warnings: Vec<String>,
}

/// What is known of a target that was done, beside what is told of it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Detail {
    pub(crate) artifact: Artifact,
    /// Its final figures, if a choice goes by them.
    pub(crate) figures: BTreeMap<String, f64>,
    /// How long its actions ran.
    pub(crate) took: Duration,
    /// How many source and output files are looked at for it.
    pub(crate) stats: u64,
    /// The looks that concern it, everybody's aside.
    pub(crate) looks: Vec<LookNumber>,
}

/// Where what a build looks at differs from what a snapshot says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Differences {
    /// At these looks; nowhere, if there are none.
    At(Vec<u32>),
    /// In what concerns everybody.
    Everywhere,
}

impl Snapshot {
    /// The snapshot of a build that ended with `summary`; `None` if there can be none.
    pub(crate) fn new(
        witness: Witness,
        targets: Vec<(Settled, Detail)>,
        wanted: &[Label],
        summary: &Summary,
    ) -> Option<Self> {
        if !witness.is_sure() || wanted.is_empty() || targets.is_empty() {
            return None;
        }
        let (looks, variables) = witness.into_looks();
        // A look that nobody said to be his concerns everybody: it is in no target's list.
        let everybodys: Vec<bool> = looks.iter().map(|look| look.everybodys).collect();
        let is_own = |number: &LookNumber| !everybodys[*number as usize];
        let (targets, mut details): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
        for detail in &mut details {
            detail.looks.retain(is_own);
            detail.looks.sort_unstable();
            detail.looks.dedup();
        }
        let complete = targets.len() == summary.targets.len();
        Some(Self {
            paths: looks
                .into_iter()
                .map(|Noted { path, seen, .. }| (path, seen))
                .collect(),
            variables,
            complete,
            wanted: match complete {
                true => numbers(&targets, wanted)?,
                false => Vec::new(),
            },
            targets,
            saved: details.iter().map(|detail| detail.took).sum(),
            stats: details.iter().map(|detail| detail.stats).sum(),
            run: None,
            details: Details::Here(details),
        })
    }

    /// Keeps it for the next build with this question. `run` is the run that recorded it in lineage. Losing it costs time only.
    pub fn keep(mut self, cache: &Cache, question: &Question, run: Option<RunId>) {
        self.run = run;
        if let Details::Here(details) = &self.details {
            let bytes = wire::encode_details(details);
            if cache.remember_memo(&question.of_details(), &bytes).is_err() {
                return;
            }
            self.details = Details::Kept(Digest::of(&bytes));
        }
        let _ = cache.remember_memo(&question.0, &wire::encode(&self));
    }

    /// What the last build with this question left.
    pub fn last(cache: &Cache, question: &Question) -> Option<Self> {
        wire::decode(&cache.memo(&question.0)?)
    }

    /// Looks again at all that it looked at; `variable` looks up an environment variable. The caller holds the project's lock.
    pub fn differences(
        &self,
        root: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Differences {
        let same = |(name, digest): &(String, Option<Digest>)| {
            variable(name).map(|value| Digest::of(value.as_bytes())) == *digest
        };
        if !self.variables.iter().all(same) {
            return Differences::Everywhere;
        }
        let Ok(viewpoint) = Viewpoint::new(root) else {
            return Differences::Everywhere;
        };
        let differing = Mutex::new(Vec::new());
        let look = |(share, paths): (usize, &[(String, Seen)])| {
            let differs = |(_, (path, before)): &(usize, &(String, Seen))| {
                !viewpoint
                    .look(path)
                    .is_ok_and(|now| Seen::new(now) == *before)
            };
            let found: Vec<u32> = (share..)
                .zip(paths)
                .filter(differs)
                .map(|(number, _)| u32::try_from(number).unwrap_or(u32::MAX))
                .collect();
            if let Ok(mut differing) = differing.lock() {
                differing.extend(found);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = self.paths.len().div_ceil(threads).max(LOOKS_A_THREAD);
        std::thread::scope(|scope| {
            let mut shares = self.paths.chunks(share).enumerate();
            let own = shares.next();
            for (number, paths) in shares {
                scope.spawn(move || look((number * share, paths)));
            }
            own.into_iter()
                .for_each(|(number, paths)| look((number * share, paths)));
        });
        match differing.into_inner() {
            Ok(mut differing) => {
                differing.sort_unstable();
                Differences::At(differing)
            }
            Err(_) => Differences::Everywhere,
        }
    }

    /// Whether its answer still is the answer.
    pub fn stands(&self, differences: &Differences) -> bool {
        self.complete && *differences == Differences::At(Vec::new())
    }

    /// What of it a build may go by in spite of `differences`; `None` if nothing.
    pub fn standing(
        self,
        differences: &Differences,
        cache: &Cache,
        question: &Question,
    ) -> Option<Standing> {
        let Differences::At(differing) = differences else {
            return None;
        };
        let details = match self.details {
            Details::Here(details) => details,
            Details::Kept(digest) => {
                let bytes = cache.memo(&question.of_details())?;
                let is_ours = Digest::of(&bytes) == digest;
                is_ours.then(|| wire::decode_details(&bytes))??
            }
        };
        Standing::new(self.paths, self.variables, self.targets, details, differing)
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
            target.replay(emit);
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
            stood: self.targets.len() as u64,
            from_snapshot: true,
            ..Summary::default()
        }
    }
}

impl Settled {
    /// Emits what is told of it when it is up to date.
    pub(crate) fn replay(&self, emit: &mut dyn FnMut(&Event)) {
        let Self {
            label,
            rows,
            size_bytes,
            warnings,
        } = self;
        for warning in warnings {
            emit(&Event::Warning {
                label: label.clone(),
                warning: warning.clone(),
                replayed: true,
            });
        }
        emit(&Event::Finished {
            label: label.clone(),
            outcome: Outcome::UpToDate,
            duration: Duration::ZERO,
            rows: *rows,
            size_bytes: *size_bytes,
            reasons: Vec::new(),
            unread: Vec::new(),
            unchanged: false,
            picked: None,
        });
    }
}

/// The positions of `wanted` among `targets`.
fn numbers(targets: &[Settled], wanted: &[Label]) -> Option<Vec<u32>> {
    let positions = targets.iter().zip(0..);
    let positions: BTreeMap<&Label, u32> =
        positions.map(|(target, at)| (&target.label, at)).collect();
    wanted
        .iter()
        .map(|label| positions.get(label).copied())
        .collect()
}
