//! The kinds of work, one type a rule, and what of each is identity.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::{Metric, Value};

/// What an action does. Every field that may change an output byte enters the action key, in `action.rs`.
#[derive(Clone, PartialEq, Debug)]
pub enum Work {
    /// Reads the files of input `files` as one table, or takes them as they are.
    Ingest(Ingest),
    /// Runs one query over its input tables.
    Sql(Sql),
    /// Adds to a table the part to which each row belongs.
    Split(Split),
    /// Runs a process.
    Command(Command),
    /// Calls a function of the project.
    Python(Python),
    /// Fits a model.
    Train(Train),
    /// Applies a model to a table.
    Predict(Predict),
    /// Measures predictions against the truth.
    Evaluate(Evaluate),
    /// Chooses among models.
    Pick(Pick),
    /// Audits a table; yields nothing but its verdict.
    Check(Check),
}

impl Work {
    /// Whether an attempt may leave checkpoints for the next one to go on from.
    pub const fn may_checkpoint(&self) -> bool {
        match self {
            Self::Train(_) => true,
            Self::Command(command) => command.training.is_some(),
            Self::Python(python) => python.training.is_some(),
            Self::Ingest(_)
            | Self::Sql(_)
            | Self::Split(_)
            | Self::Predict(_)
            | Self::Evaluate(_)
            | Self::Pick(_)
            | Self::Check(_) => false,
        }
    }
}

impl Work {
    /// How many GPUs the work asks for.
    pub const fn gpus(&self) -> u32 {
        match self {
            Self::Train(Train { device, .. }) | Self::Predict(Predict { device, .. }) => {
                match device {
                    Device::Cpu => 0,
                    Device::Gpu => 1,
                }
            }
            Self::Command(Command { gpus, .. }) | Self::Python(Python { gpus, .. }) => *gpus,
            Self::Ingest(_)
            | Self::Sql(_)
            | Self::Split(_)
            | Self::Evaluate(_)
            | Self::Pick(_)
            | Self::Check(_) => 0,
        }
    }

    /// Asks for no GPU. What a model is asked to train on is part of its identity.
    pub const fn ask_for_cpu(&mut self) {
        match self {
            Self::Train(Train { device, .. }) | Self::Predict(Predict { device, .. }) => {
                *device = Device::Cpu;
            }
            Self::Command(Command { gpus, .. }) | Self::Python(Python { gpus, .. }) => *gpus = 0,
            Self::Ingest(_)
            | Self::Sql(_)
            | Self::Split(_)
            | Self::Evaluate(_)
            | Self::Pick(_)
            | Self::Check(_) => {}
        }
    }
}

/// How the files of a source are read. Input: `files`.
#[derive(Clone, PartialEq, Debug)]
pub struct Ingest {
    /// The files' format.
    pub format: Format,
    /// Declared column types by column name (`int64`, `float64`, `utf8`, `boolean`, `date`, `timestamp`); the other
    /// columns' types are inferred from all rows.
    pub types: BTreeMap<String, String>,
    /// Name of a column to add in front that holds each row's number, from 1, over all files in path order.
    pub row_number: Option<String>,
    /// Key columns: checked unique and not null, and the row order; empty keeps the files' order.
    pub key: Vec<String>,
}

/// How bytes become rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Comma-separated, RFC 4180, UTF-8, with a header row.
    Csv,
    /// Tab-separated, otherwise as `Csv`.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Not a table: the files are the artifact.
    Files,
}

impl Format {
    /// The name as it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Files => "files",
        }
    }

    /// Every format, in the order in which diagnostics list them.
    pub const ALL: [Self; 5] = [
        Self::Csv,
        Self::Tsv,
        Self::Jsonl,
        Self::Parquet,
        Self::Files,
    ];
}

/// One query. Inputs: one a table read, named by its label (`data:sessions`).
#[derive(Clone, PartialEq, Debug)]
pub struct Sql {
    /// The parsed query, rendered back: identity.
    pub canonical: String,
    /// The text as the user wrote it, which is what runs, so that errors point into it. Not identity: it parses to
    /// the same query as `canonical`.
    pub text: String,
    /// The file of `text`, relative to the project. Not identity.
    pub file: String,
    /// Values for `$name` in the query: exactly those it uses.
    pub params: BTreeMap<String, Value>,
    /// Key columns: checked unique and not null, and the row order where the query has no `order by`; if empty, all
    /// columns are.
    pub key: Vec<String>,
    /// What decides the order of the rows.
    pub order: RowOrder,
}

/// What decides the order of a query's rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RowOrder {
    /// The query's `order by`, else the key, else all columns: a sort.
    #[default]
    Canonical,
    /// The order of the one table that it reads: no sort. The query only picks, computes and filters.
    Input,
}

/// Which part of a table each row belongs to. Input: `input`. The output is the input, row for row, with one more column:
/// `part`, the part's name, or `fold`, the fold's number from 0.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// What decides.
    pub by: SplitBy,
}

/// What decides the part of a row.
#[derive(Clone, PartialEq, Debug)]
pub enum SplitBy {
    /// A hash of these columns: rows that agree on them belong together.
    Hash {
        /// The columns, at least one: the table's key, or what makes a group.
        columns: Vec<String>,
        /// The parts and how large they are meant to be.
        parts: Parts,
        /// Another seed gives another split.
        seed: i64,
    },
    /// The order of a time, cut at its quantiles.
    Shares {
        /// The column with the time.
        column: String,
        /// The parts in the order of time, with their shares, which add up to 1; at least two.
        parts: Vec<(String, f64)>,
    },
    /// The order of a time, cut at given instants.
    Until {
        /// The column with the time.
        column: String,
        /// The parts in the order of time, each with the instant before which its rows lie; at least one.
        until: Vec<(String, Value)>,
        /// The part of what is later.
        rest: String,
    },
}

/// Parts by a hash.
#[derive(Clone, PartialEq, Debug)]
pub enum Parts {
    /// Named parts with their shares, which add up to 1; at least two.
    Shares(Vec<(String, f64)>),
    /// So many folds of one size, at least two.
    Folds(u32),
}

impl Split {
    /// The name of the column that it adds.
    pub fn column(&self) -> &'static str {
        match self.parts() {
            Some(_) => "part",
            None => "fold",
        }
    }

    /// The columns that decide.
    pub fn columns(&self) -> &[String] {
        match &self.by {
            SplitBy::Hash { columns, .. } => columns,
            SplitBy::Shares { column, .. } | SplitBy::Until { column, .. } => {
                std::slice::from_ref(column)
            }
        }
    }

    /// The names of the parts; `None` of folds, which are numbered.
    pub fn parts(&self) -> Option<Vec<&str>> {
        match &self.by {
            SplitBy::Hash {
                parts: Parts::Folds(_),
                ..
            } => None,
            SplitBy::Hash {
                parts: Parts::Shares(parts),
                ..
            }
            | SplitBy::Shares { parts, .. } => {
                Some(parts.iter().map(|(name, _)| name.as_str()).collect())
            }
            SplitBy::Until { until, rest, .. } => {
                let names = until.iter().map(|(name, _)| name.as_str());
                Some(names.chain([rest.as_str()]).collect())
            }
        }
    }

    /// How many parts or folds there are.
    pub fn count(&self) -> usize {
        match (&self.by, self.parts()) {
            (_, Some(parts)) => parts.len(),
            (
                SplitBy::Hash {
                    parts: Parts::Folds(folds),
                    ..
                },
                None,
            ) => *folds as usize,
            (_, None) => 0,
        }
    }

    /// The name of a part by its place, or the number of a fold.
    pub fn part_name(&self, part: usize) -> String {
        let name = self
            .parts()
            .and_then(|parts| parts.get(part).map(|name| (*name).to_owned()));
        name.unwrap_or_else(|| part.to_string())
    }
}

/// One process. Inputs: those declared, each placed in a folder that the command line names.
#[derive(Clone, PartialEq, Debug)]
pub struct Command {
    /// What is run. `{out}`, `{src}` and `{input:data:orders}` in it stand for folders or files.
    pub line: CommandLine,
    /// Declared environment: name to value; nothing else is set but a minimal `PATH`, `HOME`, `TMPDIR`, `LANG`.
    pub env: BTreeMap<String, Variable>,
    /// Programs that are identity by the version that they name themselves: `python3`.
    pub tools: Vec<String>,
    /// The file that must exist in the output folder afterwards and is the artifact; `None` takes the whole folder.
    pub out: Option<String>,
    /// Digest that the output must have. With it the process may use the network, and the digest (not the command) is
    /// its identity; it then requires `out`.
    pub digest: Option<PinnedDigest>,
    /// How many GPUs it asks for.
    pub gpus: u32,
    /// How long it may run. Not identity.
    pub timeout: Option<Duration>,
    /// Set if it fits a model.
    pub training: Option<Training>,
}

/// One call of a function. Inputs: those declared, by label; `code`, the files that the function's code stands in; and
/// `src`, the other files of the project that it reads, if it declares any.
///
/// The code itself is no part of the work: what of it is identity an executor says in [`Executor::code`].
///
/// [`Executor::code`]: crate::Executor::code
#[derive(Clone, PartialEq, Debug)]
pub struct Python {
    /// The module, found from the project's root: `lib.labels`.
    pub module: String,
    /// The function's name in it.
    pub function: String,
    /// The function's parameters.
    pub params: BTreeMap<String, Value>,
    /// The columns that it is given of an input table, by input; all of those that are not here.
    pub columns: BTreeMap<String, Vec<String>>,
    /// Declared environment: name to value; nothing else is set but a minimal, fixed one.
    pub env: BTreeMap<String, Variable>,
    /// Whether it yields a table, as Parquet files; else whatever files it leaves in the output folder are the artifact.
    pub table: bool,
    /// CPU threads for the libraries that it calls, whose sums may depend on them: so they are identity.
    pub threads: u32,
    /// How many GPUs it asks for.
    pub gpus: u32,
    /// How long it may run. Not identity.
    pub timeout: Option<Duration>,
    /// Set if it fits a model.
    pub training: Option<Training>,
}

/// What a process may do beside because it fits a model: keep checkpoints, and report figures. Not identity.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Training {
    /// Figures that may be no number; any other that is none is a mistake.
    pub may_be_nan: BTreeSet<String>,
}

/// The value of a declared environment variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Variable {
    /// As declared: identity.
    Text(String),
    /// That of this variable of the caller's, whose value is identity too; not set where that one is not.
    From(String),
    /// That of this variable of the caller's, of which the name alone is identity: the value shows in no key and no log.
    Secret(String),
}

/// A program with its arguments, or a line for `/bin/sh -eu`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandLine {
    /// Program and arguments, run without a shell.
    Program(Vec<String>),
    /// A shell line.
    Shell(String),
}

/// A digest that a downloaded file must have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PinnedDigest {
    /// 64 lowercase hexadecimal digits of SHA-256.
    Sha256(String),
    /// 64 lowercase hexadecimal digits of BLAKE3.
    Blake3(String),
}

/// The accelerator *asked for*; what was used is provenance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// CPU only.
    Cpu,
    /// One GPU.
    Gpu,
}

/// A model to fit. Inputs: `input`, optionally `validate`; for sequences optionally `catalog`.
#[derive(Clone, PartialEq, Debug)]
pub struct Train {
    /// A built-in architecture: `sasrec`, `item_knn`, `logistic`.
    pub architecture: String,
    /// Every parameter of the architecture, defaults filled in.
    pub params: BTreeMap<String, Value>,
    /// What it learns, and from which columns.
    pub subject: Subject,
    /// CPU threads, which on a CPU may change bits: so they are identity.
    pub threads: u32,
    /// The accelerator asked for.
    pub device: Device,
}

/// What a model learns, and from which columns of its tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Which item follows a sequence of items.
    Sequences {
        /// The column with each row's sequence of items, oldest first (`list<int64>` or `list<utf8>`).
        sequence: String,
        /// The column with the item to predict; read from `validate`.
        label: String,
    },
    /// A column, from the others of its row.
    Table(Tabular),
}

/// A column to predict from other columns of the same row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tabular {
    /// The column to predict; several are boolean columns, each predicted for itself.
    pub label: Vec<String>,
    /// The columns to predict it from, sorted; `None` for all that are not named otherwise here.
    pub columns: Option<Vec<String>>,
    /// The key of `input`; empty if it has none. Its columns are no features, and no row of `validate` has the key of a
    /// row of `input`.
    pub key: Vec<String>,
    /// Columns whose values are categories although they are numbers, sorted. Texts always are.
    pub categories: Vec<String>,
    /// What kind of value the label is; `None` where its type says so.
    pub task: Option<Task>,
    /// Columns that may give the label away, sorted.
    pub allow_leak: Vec<String>,
    /// The column with each row's time: no feature, and in `validate` always later than in `input`.
    pub time: Option<String>,
}

/// What kind of value a label is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// One of two classes.
    Binary,
    /// One of several classes.
    Multiclass,
    /// A number.
    Regression,
    /// Several booleans.
    Multilabel,
}

impl Task {
    /// Every task, in the order in which diagnostics list them.
    pub const ALL: [Self; 4] = [
        Self::Binary,
        Self::Multiclass,
        Self::Multilabel,
        Self::Regression,
    ];

    /// The name as it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Multiclass => "multiclass",
            Self::Regression => "regression",
            Self::Multilabel => "multilabel",
        }
    }
}

/// Batch predictions. Inputs: `model`, `input`. The output table has the key columns of `input`, then what
/// [`Question`] says.
#[derive(Clone, PartialEq, Debug)]
pub struct Predict {
    /// What is asked of the model about each row.
    pub question: Question,
    /// Columns of `input` to carry over, at least one; its key.
    pub key: Vec<String>,
    /// CPU threads.
    pub threads: u32,
    /// The accelerator asked for.
    pub device: Device,
}

/// What is asked of a model about each row of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// The items that follow: columns `items` (a list, best first) and `scores` (`list<float32>`, falling).
    Sequences {
        /// The column with each row's sequence of items, oldest first.
        sequence: String,
        /// Length of each list.
        k: u32,
        /// Whether items of the row's own sequence are left out.
        exclude_seen: bool,
    },
    /// The label: columns `prediction`, and of classes also `classes` (a list, best first) and `scores` (`list<float64>`,
    /// falling).
    Table {
        /// The features, where the model declares them; `None` for all columns that are not `without`.
        columns: Option<Vec<String>>,
        /// Columns that are no features of the model: its labels, the key and the time of its training table.
        without: Vec<String>,
    },
}

/// A report. Inputs: `truth`; one `predictions.NAME` a model; optionally `catalog`, `training` (a table with the sequences
/// that were trained on), `trained.NAME` (a table that a model was fitted on and that may share no key with `truth`),
/// `model.NAME` (the model's folder) and the tables that [`Stability`] names.
///
/// All metrics are of one kind, which says what the report is of: ranked lists, classes, labels or numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluate {
    /// The report's heading.
    pub title: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Names of the models compared, in the order shown; each has an input `predictions.NAME`.
    pub models: Vec<String>,
    /// The column of `truth` that holds what came true: the relevant item or a list of them, the class, the number.
    /// Several columns are labels of which a row may have any number.
    pub labels: Vec<String>,
    /// Columns that join predictions to truth, one row each on both sides.
    pub key: Vec<String>,
    /// The column of `truth` and of `training` with the history; may be absent in `truth`.
    pub sequence: String,
    /// What is measured, in the order shown.
    pub metrics: Vec<Metric>,
    /// The class that F1 and the like are about, of two; else the greater one.
    pub positive: Option<Value>,
    /// What the catalog says about items, where a metric needs it.
    pub catalog: CatalogColumns,
    /// Parts of the rows to measure apart.
    pub slices: Vec<Slicing>,
    /// How predictions are compared with those for changed inputs.
    pub stability: Vec<Stability>,
    /// How uncertainty is worked out.
    pub resampling: Resampling,
    /// Conditions that must hold.
    pub gates: Vec<Gate>,
    /// The targets that the inputs are, by input: shown in the report.
    pub lineage: BTreeMap<String, String>,
}

/// Columns of `catalog`, beside that of its items.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CatalogColumns {
    /// The item's category.
    pub category: Option<String>,
    /// The item's price, above 0.
    pub price: Option<String>,
    /// The item's place in a space, a list of numbers.
    pub vector: Option<String>,
}

/// How rows are parted by a column of `truth`.
#[derive(Clone, PartialEq, Debug)]
pub struct Slicing {
    /// The column.
    pub column: String,
    /// Rising bounds: a part holds what is at least its lower and less than its upper one. Empty parts by value.
    pub bins: Vec<f64>,
}

/// Two tables of predictions of one model, compared row by row: one for inputs as they are, one for inputs that were changed.
#[derive(Clone, PartialEq, Debug)]
pub struct Stability {
    /// What was changed, for people.
    pub name: String,
    /// The input with the predictions as they are.
    pub baseline: String,
    /// The input with the predictions for the changed inputs.
    pub perturbed: String,
    /// What is measured.
    pub metric: StabilityMetric,
    /// What must hold, if anything: [`Bound::Min`] or [`Bound::Max`].
    pub bound: Option<Bound>,
}

/// How two predictions for one row are compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum StabilityMetric {
    /// Share of the first `k` items that both lists have.
    Overlap(NonZeroU32),
    /// Rank-biased overlap of the first `k` items.
    Rbo(NonZeroU32),
    /// Share of rows whose prediction moved by more than this, or is another class.
    Changed(f64),
    /// Share of rows whose prediction (the positive class's score) rose by more than this.
    Increased(f64),
    /// Share of rows whose prediction (the positive class's score) fell by more than this.
    Decreased(f64),
}

impl StabilityMetric {
    /// How many entries of each list count, if it is of lists.
    pub const fn k(self) -> Option<NonZeroU32> {
        match self {
            Self::Overlap(k) | Self::Rbo(k) => Some(k),
            Self::Changed(_) | Self::Increased(_) | Self::Decreased(_) => None,
        }
    }
}

impl fmt::Display for StabilityMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap(k) => write!(f, "overlap@{k}"),
            Self::Rbo(k) => write!(f, "rbo@{k}"),
            Self::Changed(_) => f.write_str("changed"),
            Self::Increased(_) => f.write_str("increased"),
            Self::Decreased(_) => f.write_str("decreased"),
        }
    }
}

/// How uncertainty is worked out: by drawing rows again and again.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Resampling {
    /// How often.
    pub resamples: u32,
    /// What decides the draws.
    pub seed: u32,
    /// How sure an interval is, above 0 and below 1.
    pub confidence: f64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self {
            resamples: 1000,
            seed: 0,
            confidence: 0.95,
        }
    }
}

/// A condition on a metric of a model.
#[derive(Clone, PartialEq, Debug)]
pub struct Gate {
    /// The model it is about, one of [`Evaluate::models`].
    pub model: String,
    /// The metric it is about, one of [`Evaluate::metrics`].
    pub metric: Metric,
    /// What must hold.
    pub bound: Bound,
    /// By how much another model must be beaten at least.
    pub margin: f64,
    /// Set if it must hold for the whole interval of this confidence, not for the figure alone.
    pub confidence: Option<f64>,
    /// The part of the rows that it is about; all of them if not set.
    pub slice: Option<GateSlice>,
}

/// The part of the rows that a [`Gate`] is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GateSlice {
    /// How rows are parted: a column of [`Evaluate::slices`], or `history_length`, `popularity`, `training_frequency`.
    pub by: String,
    /// The part; every one if not set.
    pub group: Option<String>,
    /// Without `group`, parts of fewer rows are not judged.
    pub min_rows: u64,
}

/// What a [`Gate`] demands of a metric.
#[derive(Clone, PartialEq, Debug)]
pub enum Bound {
    /// At least this value.
    Min(f64),
    /// At most this value.
    Max(f64),
    /// Strictly greater than this other model of the report.
    Above(String),
    /// Strictly less than this other model of the report.
    Below(String),
}

/// The best of several models by a figure of theirs. Inputs: the candidates, by their points' names. The output is the
/// chosen one as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Pick {
    /// The figure that decides.
    pub metric: String,
    /// Which value of it is best.
    pub goal: Goal,
    /// The candidates' names, in the order in which ties are decided: to the first.
    pub points: Vec<String>,
}

impl Pick {
    /// The name of the best candidate, given the figure of each; `None` without candidates.
    pub fn best(&self, figure: &dyn Fn(&str) -> f64) -> Option<&str> {
        let better = |a: f64, b: f64| match self.goal {
            Goal::Max => a > b,
            Goal::Min => a < b,
        };
        let mut points = self.points.iter();
        let first = points.next()?;
        let best = points.fold((first, figure(first)), |best, point| {
            let value = figure(point);
            if better(value, best.1) {
                (point, value)
            } else {
                best
            }
        });
        Some(best.0)
    }
}

/// Which value of a figure is best.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// The greatest.
    Max,
    /// The least.
    Min,
}

impl Goal {
    /// The name as it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Min => "min",
        }
    }
}

/// An audit of one table. Input: `table`, and for custom SQL every other table it reads, by label.
#[derive(Clone, PartialEq, Debug)]
pub struct Check {
    /// Short name, unique in its target: `not_null(user_id)`.
    pub name: String,
    /// What must hold.
    pub rule: CheckRule,
    /// Whether a violation fails the target or only warns. Not identity: a verdict holds at either level.
    pub warn_only: bool,
}

/// What a [`Check`] demands.
#[derive(Clone, PartialEq, Debug)]
pub enum CheckRule {
    /// No null in this column.
    NotNull(String),
    /// No two rows agree on all of these columns.
    Unique(Vec<String>),
    /// Every non-null value of the column is one of these.
    AcceptedValues(String, Vec<Value>),
    /// Every non-null value of the column is within these inclusive bounds.
    Range(String, Option<Value>, Option<Value>),
    /// The number of rows satisfies the bound.
    Rows(RowsBound),
    /// This query returns no row; the rows it returns are the violations.
    Sql(Sql),
}

/// A bound on a number of rows: `>= 1000`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowsBound {
    /// How the count is compared.
    pub comparison: Comparison,
    /// With what.
    pub rows: u64,
}

/// How two numbers compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Comparison {
    /// The operator as it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }

    /// Whether `left OP right` holds.
    pub const fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
        }
    }
}
