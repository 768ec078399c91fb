//! Actions: what a unit of work is, what identifies it, and what it yields.
//!
//! An [`Action`] is one hermetic unit of work, fully described before it runs. Its description is a list of named
//! parts; the [`ActionKey`] is the digest of exactly that list, and `mlbuild why` compares the same list, so what is
//! explained cannot drift from what is hashed (`spec/action-key.md`).
//!
//! An [`Executor`] performs the work. It sees folders with its inputs and an empty folder for its output; never the
//! cache, and of the project only the code that it runs ([`Executor::code`]). What it could not do it says as a
//! [`Diagnostic`], which is also the form in which manifest, SQL and graph mistakes reach the user.
//!
//! Absent here: files, threads, labels. Which target an action belongs to is not part of what it is.

mod action;
mod analysis;
mod artifact;
mod diagnostic;
mod executor;
mod metric;
mod value;
mod work;

pub use action::{Action, ActionKey, Description, Input, InputContent};
pub use analysis::{Analysis, Field, Flows, Origin, Schema};
pub use artifact::{ActionResult, Artifact, Column, Table, Tree, TreeEntry};
pub use diagnostic::{Diagnostic, Severity, SourceSpan};
pub use executor::{
    Cancel, Code, Executor, Failure, GpuId, InputFolder, Output, Progress, ProjectFiles, Request,
};
pub use metric::{
    ClassMetric, Direction, Metric, NumberMetric, Quantile, RankedMetric, UnknownMetric,
};
pub use value::Value;
pub use work::{
    Bound, CatalogColumns, Check, CheckRule, Command, CommandLine, Comparison, Device, Evaluate,
    Format, Gate, GateSlice, Goal, Ingest, Parts, Pick, PinnedDigest, Predict, Python, Question,
    Resampling, RowOrder, RowsBound, Slicing, Split, SplitBy, Sql, Stability, StabilityMetric,
    Subject, Tabular, Task, Train, Training, Variable, Work,
};
