//! Why a table cannot be read or written.

use std::error::Error as _;
use std::io;

use mlbuild_action::{Diagnostic, Failure};
use parquet::errors::ParquetError;

/// Why a table cannot be read or written.
///
/// Converts to the [`Failure`] that an executor returns. Files are not named: an executor's folders mean nothing to
/// the user; the engine says which target it is about.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A type that the format does not hold.
    #[error("column `{column}` has type {data_type}, which a table cannot hold")]
    Type {
        /// The column.
        column: String,
        /// Its type, as [`crate::type_name`] prints it.
        data_type: String,
    },
    /// A value that its canonical type does not hold.
    #[error("column `{column}` holds a value that does not fit {data_type}: {reason}")]
    Value {
        /// The column.
        column: String,
        /// The canonical type.
        data_type: String,
        /// What does not fit.
        reason: String,
    },
    /// No columns at all.
    #[error("a table needs at least one column")]
    NoColumns,
    /// Two columns of one name.
    #[error("two columns have the name `{0}`")]
    DuplicateColumn(String),
    /// A column was asked for that is not there.
    #[error("no column `{column}`; there are {}", quoted(available))]
    NoColumn {
        /// The column asked for.
        column: String,
        /// The columns there are, in order, each with its type.
        available: Vec<String>,
    },
    /// A batch whose columns are not those the writer was created for.
    #[error("a batch has the columns {found}, not {expected}")]
    Schema {
        /// The columns promised.
        expected: String,
        /// The columns of the batch.
        found: String,
    },
    /// The file cannot be opened, read or written.
    #[error("cannot {doing} the table: {source}")]
    Io {
        /// What failed: `open`, `read`, `create` or `write`.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file is not a table, or a broken one.
    #[error("cannot {doing} the table: {reason}")]
    Parquet {
        /// What failed: `read` or `write`.
        doing: &'static str,
        /// Why.
        reason: String,
    },
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl TableError {
    /// Tells a full disk from a broken file.
    pub(crate) fn parquet(doing: &'static str, error: ParquetError) -> Self {
        let io = match &error {
            ParquetError::External(inner) => inner.downcast_ref::<io::Error>(),
            _ => error.source().and_then(|source| source.downcast_ref()),
        };
        match io {
            Some(io) => Self::Io {
                doing,
                source: io::Error::new(io.kind(), io.to_string()),
            },
            None => Self::Parquet {
                doing,
                reason: error.to_string(),
            },
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        let diagnostic = |code| Diagnostic::error(code, error.to_string());
        match &error {
            TableError::Type { column, .. } => Self::Invalid(diagnostic("table::type").help(
                format!("cast `{column}` to another type, such as `bigint`, `double` or `varchar`"),
            )),
            TableError::Value { .. } => Self::Invalid(diagnostic("table::value")),
            TableError::NoColumns => Self::Invalid(diagnostic("table::no-columns")),
            TableError::DuplicateColumn(column) => Self::Invalid(
                diagnostic("table::duplicate-column")
                    .help(format!("rename one `{column}` with `as`")),
            ),
            TableError::NoColumn { .. } => Self::Invalid(diagnostic("table::column")),
            TableError::Schema { .. } => Self::Failed(diagnostic("table::schema")),
            TableError::Io { source, .. } => {
                let diagnostic = diagnostic("table::io");
                Self::Environment(match source.kind() {
                    io::ErrorKind::StorageFull => {
                        diagnostic.help("free some space on the disk and build again")
                    }
                    _ => diagnostic,
                })
            }
            TableError::Parquet { .. } => Self::Environment(diagnostic("table::parquet")),
        }
    }
}
