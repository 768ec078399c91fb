//! What a manifest declares.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, Range};
use std::time::Duration;

use mlbuild_action::{
    Bound, CatalogColumns, CheckRule, CommandLine, Format, GateSlice, Goal, Metric, Parts,
    PinnedDigest, Resampling, RowOrder, Slicing, SourceSpan, StabilityMetric, Task, Value,
    Variable,
};

use crate::{Kind, Label, ProjectPath};

/// A text file of the project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceText {
    /// The file, relative to the project's root, with `/`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// A value with the bytes of `mlbuild.toml` in which it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub range: Range<usize>,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Everything that a project declares.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Manifest {
    /// The manifest's file: what the ranges of [`Spanned`] values are about.
    pub file: String,
    /// Length of its text in bytes: ranges behind it are of parameters given on the command line.
    pub text_bytes: usize,
    /// The profiles that it declares, sorted.
    pub profiles: Vec<String>,
    /// The project.
    pub project: Project,
    /// The targets, sorted by label.
    pub targets: Vec<Declaration>,
    /// Targets whose declaration could not be understood: not in `targets`, and already complained about.
    pub broken: BTreeSet<Label>,
}

impl Manifest {
    /// A manifest that declares nothing yet.
    pub(crate) fn of(text: &SourceText) -> Self {
        Self {
            file: text.path.clone(),
            text_bytes: text.text.len(),
            ..Self::default()
        }
    }
}

/// The project itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The Python interpreter for its functions: a path relative to the project, or a name to be found on the `PATH`.
    pub python: Option<String>,
    /// What processes may read.
    pub sandbox: Sandbox,
}

/// What processes may read beside what they declare. Never identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sandbox {
    /// The tools of the machine; neither the project nor the user's files.
    #[default]
    Strict,
    /// Everything; builds say so.
    Warn,
    /// Everything; and writes and the network are not restricted either.
    Off,
}

impl Sandbox {
    /// Every mode, in the order in which diagnostics list them.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Warn, Self::Off];

    /// The mode as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// One target.
#[derive(Clone, PartialEq, Debug)]
pub struct Declaration {
    /// Its name.
    pub label: Label,
    /// Where it is declared: its table in the manifest, else its SQL file.
    pub declared_at: SourceSpan,
    /// What it is.
    pub description: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Words to select it by, sorted, each once.
    pub tags: Vec<String>,
    /// What it needs while it is made.
    pub resources: Resources,
    /// Columns that identify a row of its table; empty if it declares none.
    pub key: Vec<String>,
    /// What must hold for its table.
    pub checks: Vec<CheckDeclaration>,
    /// How far metrics may move when `verify` makes it again, by name; empty wants the same bits.
    pub tolerance: BTreeMap<String, f64>,
    /// How it is made.
    pub definition: Definition,
}

/// What a target needs while it is made; `None` leaves it to the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resources {
    /// CPU cores, at least 1.
    pub cpus: Option<u32>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Memory on each of its GPUs.
    pub gpu_memory_bytes: Option<u64>,
    /// Memory.
    pub memory_bytes: Option<u64>,
}

/// How a target is made, without the particulars.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// Files of the project.
    Path,
    /// A query.
    Sql,
    /// A table, with the part of each row.
    Split,
    /// A process.
    Command,
    /// A function of the project.
    Python,
    /// A model, fitted.
    Train,
    /// A model, applied.
    Predict,
    /// A report.
    Evaluate,
    /// The best of the points of a `foreach`: what is left of a declaration that has one.
    Pick,
}

impl Rule {
    /// Every rule that is declared by a key of its own, in the order in which diagnostics list them.
    pub const ALL: [Self; 8] = [
        Self::Path,
        Self::Sql,
        Self::Split,
        Self::Command,
        Self::Python,
        Self::Train,
        Self::Predict,
        Self::Evaluate,
    ];

    /// The rule's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Sql => "sql",
            Self::Split => "split",
            Self::Command => "command",
            Self::Python => "python",
            Self::Train => "train",
            Self::Predict => "predict",
            Self::Evaluate => "evaluate",
            Self::Pick => "pick",
        }
    }

    /// The key whose presence in a target's table says that this is its rule.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Evaluate => "predictions",
            _ => self.as_str(),
        }
    }

    /// The kinds that can be made so.
    pub const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Path | Self::Predict => &[Kind::Data],
            Self::Sql | Self::Split => &[Kind::Data, Kind::Features],
            Self::Command | Self::Python => &Kind::ALL,
            Self::Train | Self::Pick => &[Kind::Model],
            Self::Evaluate => &[Kind::Report],
        }
    }
}

/// How a target is made.
#[derive(Clone, PartialEq, Debug)]
pub enum Definition {
    /// From files of the project.
    Path(PathDefinition),
    /// By a query.
    Sql(SqlDefinition),
    /// By saying of each row to which part it belongs.
    Split(SplitDefinition),
    /// By taking one part of a split.
    Part(PartDefinition),
    /// By a process.
    Command(CommandDefinition),
    /// By a function of the project.
    Python(PythonDefinition),
    /// By fitting a model.
    Train(TrainDefinition),
    /// By applying a model.
    Predict(PredictDefinition),
    /// By measuring predictions.
    Evaluate(EvaluateDefinition),
    /// By choosing among the points of its `foreach`.
    Pick(PickDefinition),
}

impl Definition {
    /// The rule.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Path(_) => Rule::Path,
            Self::Sql(_) | Self::Part(_) => Rule::Sql,
            Self::Split(_) => Rule::Split,
            Self::Command(_) => Rule::Command,
            Self::Python(_) => Rule::Python,
            Self::Train(_) => Rule::Train,
            Self::Predict(_) => Rule::Predict,
            Self::Evaluate(_) => Rule::Evaluate,
            Self::Pick(_) => Rule::Pick,
        }
    }
}

/// How files are read.
#[derive(Clone, PartialEq, Debug)]
pub struct Ingestion {
    /// Their format; `Files` keeps them as they are.
    pub format: Format,
    /// Declared column types.
    pub types: BTreeMap<String, String>,
    /// Name of a column to add in front that holds each row's number.
    pub row_number: Option<String>,
}

/// Rule `path`.
#[derive(Clone, PartialEq, Debug)]
pub struct PathDefinition {
    /// Files, folders or globs; at least one.
    pub patterns: Vec<Spanned<ProjectPath>>,
    /// How they are read.
    pub ingestion: Ingestion,
}

/// A query's text, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqlText {
    /// The file: an SQL file, or the manifest.
    pub file: String,
    /// Blanks in place of what stands before the query in the file, then the query. So ranges of bytes, lines and
    /// columns in it are also those in the file, whoever finds them.
    pub source: String,
    /// Where the query begins in `source`.
    pub start: usize,
    /// Set for a string in the manifest that has escapes in it, whose inside therefore has no exact place: the whole
    /// string.
    pub whole: Option<Range<usize>>,
}

impl SqlText {
    /// The query.
    pub fn text(&self) -> &str {
        &self.source[self.start..]
    }

    /// Where bytes of [`text`](Self::text) stand in the file.
    pub fn locate(&self, range: Range<usize>) -> Range<usize> {
        match &self.whole {
            Some(whole) => whole.clone(),
            None => self.start + range.start..self.start + range.end,
        }
    }
}

/// Rule `sql`.
#[derive(Clone, PartialEq, Debug)]
pub struct SqlDefinition {
    /// The query.
    pub sql: SqlText,
    /// Values for its parameters; the ranges are those of the parameters' names.
    pub params: BTreeMap<String, Spanned<Value>>,
    /// What decides the order of the rows.
    pub order: RowOrder,
}

/// Rule `split`.
#[derive(Clone, PartialEq, Debug)]
pub struct SplitDefinition {
    /// The table to split.
    pub input: Spanned<Label>,
    /// What decides the part of a row.
    pub rule: SplitRule,
}

/// What decides the part of a row.
#[derive(Clone, PartialEq, Debug)]
pub enum SplitRule {
    /// A hash of its key.
    Random {
        /// The parts.
        parts: Parts,
        /// Another seed gives another split.
        seed: i64,
    },
    /// A hash of these columns.
    Group {
        /// The columns, at least one.
        columns: Vec<String>,
        /// The parts.
        parts: Parts,
        /// Another seed gives another split.
        seed: i64,
    },
    /// The quantiles of a time.
    Shares {
        /// The column with the time.
        column: String,
        /// The parts in the order of time; their shares add up to 1.
        parts: Vec<(String, f64)>,
    },
    /// Given instants.
    Until {
        /// The column with the time.
        column: String,
        /// The parts in the order of time, each with the instant before which its rows lie.
        until: Vec<(String, Value)>,
        /// The part of what is later.
        rest: String,
    },
}

impl SplitRule {
    /// The name of the column that the split adds.
    pub const fn column(&self) -> &'static str {
        match self {
            Self::Random {
                parts: Parts::Folds(_),
                ..
            }
            | Self::Group {
                parts: Parts::Folds(_),
                ..
            } => "fold",
            _ => "part",
        }
    }

    /// The values of that column: names of parts, or numbers of folds.
    pub fn values(&self) -> Vec<Value> {
        let names = |parts: &[(String, f64)]| -> Vec<Value> {
            let names = parts.iter().map(|(name, _)| Value::Text(name.clone()));
            names.collect()
        };
        match self {
            Self::Random { parts, .. } | Self::Group { parts, .. } => match parts {
                Parts::Shares(parts) => names(parts),
                Parts::Folds(folds) => (0..i64::from(*folds)).map(Value::Int).collect(),
            },
            Self::Shares { parts, .. } => names(parts),
            Self::Until { until, rest, .. } => {
                let names = until.iter().map(|(name, _)| name).chain([rest]);
                names.map(|name| Value::Text(name.clone())).collect()
            }
        }
    }
}

/// The rows of one part of a split, or of all folds but one, without the column that says so.
#[derive(Clone, PartialEq, Debug)]
pub struct PartDefinition {
    /// The split.
    pub split: Label,
    /// The column that the split added.
    pub column: &'static str,
    /// Its value in the rows.
    pub value: Value,
    /// Whether it is the rows with another value.
    pub without: bool,
    /// Where the split is declared.
    pub range: Range<usize>,
}

/// Rule `command`.
#[derive(Clone, PartialEq, Debug)]
pub struct CommandDefinition {
    /// What is run.
    pub line: Spanned<CommandLine>,
    /// Files of the project that it reads.
    pub srcs: Vec<Spanned<ProjectPath>>,
    /// Targets that it reads.
    pub inputs: Vec<Spanned<Label>>,
    /// The one file that it makes; `None` takes the whole output folder.
    pub out: Option<ProjectPath>,
    /// Its environment.
    pub env: BTreeMap<String, Variable>,
    /// Programs whose version counts.
    pub tools: Vec<String>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// The digest that the output must have.
    pub digest: Option<PinnedDigest>,
    /// Figures of a training that may be no number.
    pub may_be_nan: BTreeSet<String>,
    /// Set when the output is read as a table.
    pub ingestion: Option<Ingestion>,
}

/// Rule `python`.
#[derive(Clone, PartialEq, Debug)]
pub struct PythonDefinition {
    /// The module that the function is in, found from the project's root: `lib.labels`.
    pub module: String,
    /// The function's name.
    pub function: String,
    /// Targets that it reads.
    pub inputs: Vec<Spanned<Label>>,
    /// The columns that it is given of an input; each is among `inputs`.
    pub columns: Vec<(Spanned<Label>, Vec<String>)>,
    /// Its parameters.
    pub params: BTreeMap<String, Value>,
    /// Files of the project that it reads, or imports by names that only show when it runs.
    pub srcs: Vec<Spanned<ProjectPath>>,
    /// Its environment.
    pub env: BTreeMap<String, Variable>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Figures of a training that may be no number.
    pub may_be_nan: BTreeSet<String>,
    /// Set when it makes a table: how its Parquet files are read.
    pub ingestion: Option<Ingestion>,
}

/// Rule `train`.
#[derive(Clone, PartialEq, Debug)]
pub struct TrainDefinition {
    /// Name of the architecture, one of [`crate::ARCHITECTURES`].
    pub architecture: String,
    /// Every parameter of the architecture, defaults filled in.
    pub params: BTreeMap<String, Value>,
    /// The table to learn from.
    pub input: Spanned<Label>,
    /// The table to watch for early stopping.
    pub validate: Option<Spanned<Label>>,
    /// The table with every item.
    pub catalog: Option<Spanned<Label>>,
    /// What it learns, and from which columns.
    pub subject: SubjectDefinition,
}

/// What a model learns, and from which columns.
#[derive(Clone, PartialEq, Debug)]
pub enum SubjectDefinition {
    /// Which item follows a sequence of items.
    Sequences {
        /// The column with each row's sequence of items.
        sequence: String,
        /// The column with the item to predict.
        label: String,
    },
    /// A column, from others of its row.
    Table(TabularDefinition),
}

/// A column to predict from others of its row: as [`Tabular`](mlbuild_action::Tabular), whose key the graph finds.
#[derive(Clone, PartialEq, Debug)]
pub struct TabularDefinition {
    /// The columns to predict, at least one.
    pub label: Vec<Spanned<String>>,
    /// The columns to predict them from, sorted.
    pub columns: Option<Vec<String>>,
    /// Columns whose values are categories although they are numbers, sorted.
    pub categories: Vec<String>,
    /// What kind of value the label is.
    pub task: Option<Task>,
    /// Columns that may give the label away, sorted.
    pub allow_leak: Vec<String>,
    /// The column with each row's time.
    pub time: Option<String>,
}

/// Rule `predict`.
#[derive(Clone, PartialEq, Debug)]
pub struct PredictDefinition {
    /// The model to apply.
    pub model: Spanned<Label>,
    /// The table to apply it to.
    pub input: Spanned<Label>,
    /// Length of each list of predictions.
    pub k: u32,
    /// Whether items of the row's own sequence are left out.
    pub exclude_seen: bool,
    /// The column with each row's sequence of items.
    pub sequence: String,
    /// Those keys that are written of `k`, `exclude_seen` and `sequence`, which only models of sequences have.
    pub of_sequences: Vec<Spanned<String>>,
}

/// Rule `evaluate`.
#[derive(Clone, PartialEq, Debug)]
pub struct EvaluateDefinition {
    /// The tables of predictions to compare, in the order shown; at least one.
    pub predictions: Vec<Spanned<Label>>,
    /// The table with what came true.
    pub truth: Spanned<Label>,
    /// The table with every item.
    pub catalog: Option<Spanned<Label>>,
    /// The table that ranked models were trained on, for how often items occur.
    pub training: Option<Spanned<Label>>,
    /// Whether rows of truth may be among those that a model was trained on.
    pub allow_leak: bool,
    /// The columns of `truth` that hold what came true.
    pub labels: Vec<String>,
    /// The column of `truth` with the history.
    pub sequence: String,
    /// What is measured, in the order shown; at least one.
    pub metrics: Vec<Spanned<Metric>>,
    /// The report's heading.
    pub title: String,
    /// The class that F1 and the like are about.
    pub positive: Option<Value>,
    /// What the catalog says about items.
    pub columns: CatalogColumns,
    /// Parts of the rows to measure apart.
    pub slices: Vec<Slicing>,
    /// Predictions for changed inputs.
    pub stability: Vec<StabilityDeclaration>,
    /// How uncertainty is worked out.
    pub resampling: Resampling,
    /// What must hold.
    pub gates: Vec<GateDeclaration>,
}

/// Two tables of predictions to compare row by row.
#[derive(Clone, PartialEq, Debug)]
pub struct StabilityDeclaration {
    /// What was changed, for people; else the name of the table for changed inputs.
    pub name: Option<String>,
    /// The table for inputs as they are.
    pub baseline: Spanned<Label>,
    /// The table for changed inputs.
    pub perturbed: Spanned<Label>,
    /// How they are compared.
    pub metric: Spanned<StabilityMetric>,
    /// What must hold.
    pub bound: Option<Bound>,
}

/// The choice among the points of a `foreach`.
#[derive(Clone, PartialEq, Debug)]
pub struct PickDefinition {
    /// The points, in declared order, each a target; at least one.
    pub points: Vec<Label>,
    /// The figure that decides.
    pub metric: String,
    /// Which value of it is best.
    pub goal: Goal,
}

/// A condition on a metric.
#[derive(Clone, PartialEq, Debug)]
pub struct GateDeclaration {
    /// The model it is about; `None` if the report has only one.
    pub model: Option<Spanned<String>>,
    /// The metric it is about.
    pub metric: Spanned<Metric>,
    /// What must hold.
    pub bound: GateBound,
    /// By how much another model must be beaten at least.
    pub margin: f64,
    /// How sure it must be.
    pub confidence: Option<f64>,
    /// The part of the rows that it is about.
    pub slice: Option<Spanned<GateSlice>>,
    /// Where it is declared.
    pub range: Range<usize>,
}

/// What a gate demands.
#[derive(Clone, PartialEq, Debug)]
pub enum GateBound {
    /// At least this.
    Min(f64),
    /// At most this.
    Max(f64),
    /// Strictly more than this model of the report, or than `pin:NAME`.
    Above(Spanned<String>),
    /// Strictly less than this model of the report, or than `pin:NAME`.
    Below(Spanned<String>),
}

/// A check of a table.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckDeclaration {
    /// Short name, unique in its target: `not_null(user_id)`.
    pub name: String,
    /// What must hold.
    pub definition: CheckDefinition,
    /// Whether a violation only warns.
    pub warn_only: bool,
    /// Where it is declared.
    pub range: Range<usize>,
}

/// What a check demands.
#[derive(Clone, PartialEq, Debug)]
pub enum CheckDefinition {
    /// A built-in rule; never `CheckRule::Sql`.
    Rule(CheckRule),
    /// A query that returns the violating rows.
    Query(SqlText),
}
