//! Errors of the file system and of arrow as failures.

use std::fmt::Display;
use std::io;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use mlbuild_action::{Diagnostic, Failure};

/// The environment's fault: what could not be done, and the system's reason.
pub(crate) fn environment(what: &str, reason: &dyn Display) -> Failure {
    Failure::Environment(Diagnostic::error("table::io", format!("{what}: {reason}")))
}

/// The user's mistake.
pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::Invalid(Diagnostic::error(code, message))
}

/// What went wrong while a table was computed or written, after planning succeeded.
pub(crate) fn run_time(error: &DataFusionError) -> Failure {
    if let Some(error) = io_error(error) {
        return environment("cannot read or write a table", error);
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => out_of_memory(),
        root => Failure::Failed(Diagnostic::error("sql::failed", clean(&message_of(root)))),
    }
}

/// What does not fit, even though it may spill.
pub(crate) fn out_of_memory() -> Failure {
    Failure::Environment(
        Diagnostic::error(
            "table::out-of-memory",
            "the query does not fit into the memory it was given, even with spilling to disk",
        )
        .help("give the target more memory, or build fewer targets at a time (`-j`)"),
    )
}

/// An error of arrow's while a table was written.
pub(crate) fn arrow(error: ArrowError) -> Failure {
    run_time(&DataFusionError::from(error))
}

fn io_error(error: &DataFusionError) -> Option<&io::Error> {
    match error.find_root() {
        DataFusionError::IoError(error) => Some(error),
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::IoError(_, error) => Some(error),
            _ => None,
        },
        _ => None,
    }
}

fn message_of(error: &DataFusionError) -> String {
    match error {
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::DivideByZero => "division by zero".to_owned(),
            other => other.to_string(),
        },
        other => other.strip_backtrace(),
    }
}

/// A message of DataFusion's in our words: without its prefixes, lower case, without a final period.
pub(crate) fn clean(message: &str) -> String {
    const PREFIXES: [&str; 13] = [
        "Error during planning: ",
        "Schema error: ",
        "Arrow error: ",
        "Execution error: ",
        "Compute error: ",
        "Cast error: ",
        "Parser error: ",
        "Parquet error: ",
        "Optimizer rule ",
        "SQL error: ",
        "This feature is not implemented: ",
        "Invalid argument error: ",
        "type_coercion\ncaused by\n",
    ];
    let mut text = message.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim_start();
    }
    let line = text.lines().next().unwrap_or_default();
    let line = line.trim_end_matches('.');
    let mut chars = line.chars();
    match chars.next() {
        // An acronym or a quoted name keeps its case.
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => line.to_owned(),
    }
}
