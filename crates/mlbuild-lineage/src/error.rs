//! What can go wrong with the lineage database.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

/// Why lineage could not be recorded or read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LineageError {
    /// A newer mlbuild made the database.
    #[error(
        "the lineage database `{}` has schema {found}; this mlbuild knows schemas up to {}",
        path.display(),
        crate::SCHEMA_VERSION
    )]
    NewerVersion {
        /// The database.
        path: PathBuf,
        /// The schema it has.
        found: u32,
    },
    /// The file is no lineage database of mlbuild's.
    #[error("`{}` is not a lineage database", path.display())]
    NotLineage {
        /// The file.
        path: PathBuf,
    },
    /// The database is damaged. It is left as it is: what can be rescued from it cannot be remade.
    #[error("the lineage database `{}` is damaged: {message}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// Another process kept it locked for five seconds.
    #[error("the lineage database `{}` is locked by another process", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("the lineage database `{}` is read-only", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// A crash left a change half made, and it cannot be undone here.
    #[error(
        "a crash left the lineage database `{}` half written, and it cannot be put right: it is read-only here",
        path.display()
    )]
    HalfWritten {
        /// The database.
        path: PathBuf,
    },
    /// A query of the user's that SQLite refuses.
    #[error("{message}")]
    Query {
        /// What SQLite says.
        message: String,
        /// Byte offset in the query, where SQLite names one.
        offset: Option<usize>,
    },
    /// A query of the user's that would write, or more than one statement.
    #[error("a query reads, with one statement; lineage is written by builds alone")]
    NotAQuery,
    /// Anything else: the disk is full, the file cannot be opened.
    #[error("cannot use the lineage database `{}`: {message}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
}

/// Says of which database an error is.
pub(crate) trait In<T> {
    fn within(self, path: &Path) -> Result<T, LineageError>;
}

impl<T> In<T> for rusqlite::Result<T> {
    fn within(self, path: &Path) -> Result<T, LineageError> {
        self.map_err(|error| LineageError::of(error, path))
    }
}

/// What the disk says, in SQLite's words.
pub(crate) fn refused(error: io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => ffi::SQLITE_FULL,
        io::ErrorKind::PermissionDenied => ffi::SQLITE_READONLY,
        _ => ffi::SQLITE_IOERR,
    };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(error.to_string()))
}

impl LineageError {
    pub(crate) fn of(error: rusqlite::Error, path: &Path) -> Self {
        let path = path.to_owned();
        let message = error.to_string();
        let extended = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            _ if extended == Some(ffi::SQLITE_READONLY_ROLLBACK) => Self::HalfWritten { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path },
            Some(ErrorCode::NotADatabase) => Self::NotLineage { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, message },
            _ => Self::Sqlite { path, message },
        }
    }
}
