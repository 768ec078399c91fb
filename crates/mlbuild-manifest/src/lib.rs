//! The manifest: `mlbuild.toml` and the SQL files found by folder, as typed declarations with spans.
//!
//! [`parse`] reads texts, never files, and does not stop at the first mistake: it returns what could be understood *and*
//! a [`Diagnostic`](mlbuild_action::Diagnostic) a mistake, each at the key or value that is wrong. `spec/manifest.md`
//! is the language; every key of it is named in one place here, `keys.rs`.
//!
//! Invariants: a [`Declaration`] has one definition, allowed for its kind, with every default filled in; every path in
//! it stays inside the project; labels in it are well formed, but whether they name a target is for the graph to say.
//!
//! Absent here: I/O, the meaning of SQL, relations between targets.

mod architecture;
mod checks;
mod declaration;
mod definition;
#[cfg(test)]
mod fuzz;
mod keys;
mod label;
mod nearest;
mod parse;
mod quantity;
mod reader;
mod variant;

pub use architecture::{ARCHITECTURES, Architecture, ParamRange, Parameter, SubjectKind};
pub use declaration::{
    CheckDeclaration, CheckDefinition, CommandDefinition, Declaration, Definition,
    EvaluateDefinition, GateBound, GateDeclaration, Ingestion, Manifest, PartDefinition,
    PathDefinition, PickDefinition, PredictDefinition, Project, PythonDefinition, Resources, Rule,
    Sandbox, SourceText, Spanned, SplitDefinition, SplitRule, SqlDefinition, SqlText,
    StabilityDeclaration, SubjectDefinition, TabularDefinition, TrainDefinition,
};
pub use label::{BadLabel, BadPath, Kind, Label, ProjectPath, is_name};
pub use nearest::{list, nearest};
pub use parse::{MANIFEST_FILE, SQL_FOLDERS, parse, parse_variant};
pub use quantity::{duration, memory_bytes};
pub use variant::{DEFAULT_PROFILE, PARAM_SOURCE, Variant};
