//! What a build tells of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mlbuild_action::{ActionKey, Column};
use mlbuild_digest::Digest;

/// A point in time: microseconds since 1970, UTC.
pub type Micros = i64;

/// A run's number in the database, rising with time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub(crate) i64);

impl RunId {
    /// The run of this number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl std::str::FromStr for RunId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known when a run starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunStart {
    /// The command line's words, without the program.
    pub command: Vec<String>,
    /// What the user selected: `+model:recs`; empty for everything.
    pub selection: Vec<String>,
    /// The profile that it is built under, if any.
    pub profile: Option<String>,
    /// The parameters given on the command line, in their order.
    pub given: Vec<GivenRecord>,
    /// When it started.
    pub started: Micros,
    /// Versions of the tools, by name: `mlbuild`, `datafusion`, `torch`.
    pub tools: BTreeMap<String, String>,
    /// Who built, if that is known.
    pub user: Option<String>,
    /// On which machine.
    pub host: Option<String>,
}

/// A parameter given on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenRecord {
    /// The target.
    pub label: String,
    /// Which parameter of it.
    pub name: String,
    /// Its value, as it was written.
    pub value: String,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunStatus {
    /// It has not ended, as far as the database knows.
    Running,
    /// Every target is up to date.
    Done,
    /// A target, check or gate failed.
    Failed,
    /// The user stopped it, or it ended without a word.
    Interrupted,
}

impl RunStatus {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "done" => Self::Done,
            "failed" => Self::Failed,
            "running" => Self::Running,
            _ => Self::Interrupted,
        }
    }
}

/// What became of a target or an action in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// An action of it was executed.
    Built,
    /// All of it came from the cache, and it is not what it was after the last build, or its files were not there.
    Restored,
    /// It is what it was after the last build.
    UpToDate,
    /// An action, a check or a gate of it failed.
    Failed,
    /// It was not looked at, because something upstream failed or the build was stopped.
    Skipped,
}

impl Outcome {
    /// The name in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Restored => "restored",
            Self::UpToDate => "up_to_date",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A target in a run.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetRecord {
    /// Its label: `model:recs`.
    pub label: String,
    /// Its rule: `train`.
    pub rule: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not up to date, or why it failed or was skipped; one line.
    pub reason: Option<String>,
    /// When its first action started, or when it was looked at.
    pub started: Micros,
    /// When it was final.
    pub ended: Micros,
    /// Its artifact, if it has one now. For an `up_to_date` target the digest is enough: see [`TargetRecord::artifact`].
    pub artifact: Option<Digest>,
    /// Its actions, in stage order. May be empty if nothing was to do: they were recorded when they ran.
    pub actions: Vec<ActionRecord>,
}

/// An action in a run.
#[derive(Clone, PartialEq, Debug)]
pub struct ActionRecord {
    /// Its place in the target's chain, from 0.
    pub stage: u32,
    /// What the stage is called: `sql`, `check not_null(user_id)`.
    pub name: String,
    /// Its key.
    pub key: ActionKey,
    /// Its rule: `sql`, `check`.
    pub rule: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The tools it ran with.
    pub toolchain: String,
    /// When it started.
    pub started: Micros,
    /// How long it ran; for a restored action, how long it once ran.
    pub duration: Duration,
    /// What it read.
    pub inputs: Vec<InputRecord>,
    /// Which columns of it became which columns of the output.
    pub flows: Vec<FlowRecord>,
    /// What it yielded.
    pub output: Option<ArtifactRecord>,
    /// Its parameters, as they enter its key.
    pub parameters: BTreeMap<String, String>,
    /// Its final figures.
    pub metrics: BTreeMap<String, f64>,
    /// The device that it asked for, of a training: `cpu`, `gpu`.
    pub device: Option<String>,
    /// Those among which it chose, of a choice.
    pub candidates: Vec<CandidateRecord>,
}

/// A candidate of a choice.
#[derive(Clone, PartialEq, Debug)]
pub struct CandidateRecord {
    /// Its label: `model:recs@dim=32`.
    pub point: String,
    /// The figure that decides.
    pub metric: String,
    /// The figure's value; never NaN.
    pub value: f64,
    /// Whether it was chosen.
    pub picked: bool,
}

/// An input of an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputRecord {
    /// Its name in the action: `data:events`, `validate`.
    pub name: String,
    /// The artifact's digest.
    pub artifact: Digest,
}

/// A way from a column of an input to one of the output.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FlowRecord {
    /// The input's name.
    pub input: String,
    /// Its column; `None` for an input that is no table.
    pub from_column: Option<String>,
    /// The output's column; `None` for all of the output.
    pub to_column: Option<String>,
    /// What the one is for the other.
    pub kind: FlowKind,
}

/// What a column of an input is for the output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FlowKind {
    /// Values are computed from it.
    Value,
    /// It decides which rows there are.
    Rows,
}

impl FlowKind {
    /// The name in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Rows => "rows",
        }
    }
}

/// An artifact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArtifactRecord {
    /// Its digest.
    pub digest: Digest,
    /// What it is: `table`, `files`, `model`, `report`.
    pub kind: String,
    /// Size of its files together.
    pub size_bytes: u64,
    /// Number of rows, of a table.
    pub rows: Option<u64>,
    /// Columns, of a table.
    pub columns: Vec<Column>,
}

/// Figures of a training epoch.
#[derive(Clone, PartialEq, Debug)]
pub struct EpochRecord {
    /// The target.
    pub label: String,
    /// The epoch, from 1.
    pub epoch: u32,
    /// When it ended.
    pub at: Micros,
    /// Its figures: `loss`, `valid_hit_rate@10`.
    pub metrics: BTreeMap<String, f64>,
}
