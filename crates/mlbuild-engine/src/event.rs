//! What happens during a build, as one stream of events.
//!
//! Console, JSON, lineage and logs are readers of this stream; none has a channel of its own. Events
//! are emitted by one thread, in an order in which a target's `Started` precedes all else about it.

use std::time::Duration;

use mlbuild_action::{Diagnostic, Progress};
use mlbuild_cache::Holder;
pub use mlbuild_lineage::Outcome;
use mlbuild_manifest::Label;

use crate::pick::Picked;
use crate::{GpuDevice, StaleReason, Unread};

/// Whose fault a failure is; decides the exit status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// An action, check or gate failed: exit 1.
    Action,
    /// The user's mistake: exit 2.
    User,
    /// The environment's: exit 3.
    Environment,
    /// Ours: exit 101.
    Bug,
}

impl Fault {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::User => "user",
            Self::Environment => "environment",
            Self::Bug => "bug",
        }
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Another command changes this project's cache; this build waits for it.
    Waiting {
        /// The other command.
        holder: Holder,
    },
    /// An action of a target begins to execute.
    Started {
        /// The target.
        label: Label,
        /// What is done: `sql`, `ingest`, `check not_null(id)`.
        stage: String,
        /// Why.
        reasons: Vec<StaleReason>,
        /// How long it took the last times, if known.
        expected: Option<Duration>,
        /// The GPUs that it has while it runs.
        gpus: Vec<GpuDevice>,
    },
    /// An executing action reports.
    Progress {
        /// The target.
        label: Label,
        /// What it reports.
        progress: Progress,
    },
    /// A target warns; `replayed` if the warning comes from the cache.
    Warning {
        /// The target.
        label: Label,
        /// The warning.
        warning: String,
        /// Whether the action ran in an earlier build.
        replayed: bool,
    },
    /// A target is done.
    Finished {
        /// The target.
        label: Label,
        /// Built, restored or up to date.
        outcome: Outcome,
        /// How long its actions executed in this build.
        duration: Duration,
        /// Rows, if it is a table.
        rows: Option<u64>,
        /// Size of its files.
        size_bytes: u64,
        /// Why it is not what it was; empty if up to date.
        reasons: Vec<StaleReason>,
        /// What changed in its inputs without concerning it.
        unread: Vec<Unread>,
        /// Whether it was executed and yielded what the last build had yielded: consumers stop here.
        unchanged: bool,
        /// What the choice among points fell on, if it is one.
        picked: Option<Picked>,
    },
    /// A target failed.
    Failed {
        /// The target.
        label: Label,
        /// Whose fault it is.
        fault: Fault,
        /// What went wrong.
        diagnostic: Diagnostic,
    },
    /// A target is skipped.
    Skipped {
        /// The target.
        label: Label,
        /// The failed target that it needs; `None` if the build was stopped.
        because: Option<Label>,
    },
    /// An artifact was placed under `out/`.
    Materialized {
        /// The target.
        label: Label,
        /// Where, relative to the project.
        path: String,
    },
    /// Something that does not concern the result went wrong: lineage could not be written, say.
    Trouble {
        /// What.
        diagnostic: Diagnostic,
    },
}

/// What a build came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Summary {
    /// Every target that was needed, with its outcome, in topological order.
    pub targets: Vec<(Label, Outcome)>,
    /// The faults of the failed ones.
    pub faults: Vec<Fault>,
    /// Time that the actions found in the cache, and not run, took when they ran.
    pub saved: Duration,
    /// Whether the build was stopped before its end.
    pub cancelled: bool,
    /// How often source files were looked at; a null build digests none.
    pub looks: mlbuild_cache::Looks,
    /// How many queries were planned to learn what they read; a null build plans none.
    pub queries_planned: u64,
    /// How many processes the executors started; a null build starts none.
    pub processes: u64,
    /// How many targets were taken over from the last build, since neither they nor their inputs had changed: not resolved, not
    /// looked up.
    pub stood: u64,
    /// Whether this is the answer of an earlier build, all of whose looks came out the same.
    pub from_snapshot: bool,
}

impl Summary {
    /// The targets with this outcome.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &Label> {
        self.targets
            .iter()
            .filter(move |(_, o)| *o == outcome)
            .map(|(label, _)| label)
    }

    /// Whether nothing was executed and nothing failed.
    pub fn is_null_build(&self) -> bool {
        !self.cancelled
            && self
                .targets
                .iter()
                .all(|(_, outcome)| *outcome == Outcome::UpToDate)
    }
}
