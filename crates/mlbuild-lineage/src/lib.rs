//! Lineage: which runs, actions and artifacts there were, in one SQLite file that people query with any tool.
//!
//! The tables are ours and may change; the *views* (`runs`, `targets`, `actions`, `artifacts`, `edges`, ...) are the
//! interface, documented and versioned in `spec/lineage.md`. Unlike the cache, this file cannot be remade, so it is
//! migrated only after a backup and never removed or moved unasked.
//!
//! Invariants:
//! - Nothing here decides a build. A database that is locked, read-only or damaged is a [`LineageError`] that the caller
//!   warns of.
//! - A run is written in few transactions: what is up to date waits for the next target that is not, so a null build
//!   writes once. A crash loses the tail of the running build and nothing else.
//! - Times are given by the caller, in microseconds since 1970, UTC. No clock is read here.
//!
//! The journal is a rollback journal, not WAL: the database is then one file between builds, and can be read where
//! nothing can be written.

mod check;
mod error;
mod experiments;
#[cfg(test)]
mod fuzz;
mod query;
mod record;
mod run;
mod schema;
mod walk;
#[cfg(all(debug_assertions, target_os = "linux"))]
mod writes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use error::LineageError;
pub use experiments::Experiment;
pub use query::{Cell, Maker, QueryTable, Rebuild, RunSummary, RunTarget};
pub use record::{
    ActionRecord, ArtifactRecord, CandidateRecord, EpochRecord, FlowKind, FlowRecord, GivenRecord,
    InputRecord, Micros, Outcome, RunId, RunStart, RunStatus, TargetRecord,
};
pub use run::Run;
pub use schema::SCHEMA_VERSION;
pub use walk::{Direction, Step};
#[cfg(all(debug_assertions, target_os = "linux"))]
pub use writes::watch_writes;

use error::In;

/// How long to wait for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);

/// An open lineage database.
#[derive(Debug)]
pub struct Lineage {
    connection: Connection,
    path: PathBuf,
    /// The schema of what is open: an older one may be read.
    version: u32,
}

impl Lineage {
    /// Opens the database to record into, making or migrating it where needed.
    ///
    /// # Errors
    /// [`LineageError`]; none of them should stop a build.
    pub fn open(path: &Path) -> Result<Self, LineageError> {
        if let Some(folder) = path.parent() {
            mlbuild_disk::create_folders(folder).map_err(|error| LineageError::Sqlite {
                path: path.to_owned(),
                message: error.to_string(),
            })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut lineage = Self::connect(path, flags)?;
        // The database cannot be remade: it is synced at every commit.
        let pragmas =
            "pragma journal_mode = delete; pragma synchronous = full; pragma foreign_keys = on;";
        schema::prepare(&mut lineage.connection, path, schema::MIGRATIONS)?;
        lineage.version = SCHEMA_VERSION;
        lineage.connection.execute_batch(pragmas).within(path)?;
        Ok(lineage)
    }

    /// Opens the database to read; `None` if there is none yet. Writes nothing, not even a migration; but a change that a
    /// crash left half made is undone first, since nobody can read a database that has one.
    ///
    /// # Errors
    /// [`LineageError`].
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, LineageError> {
        if !path.exists() {
            return Ok(None);
        }
        let open = || {
            let mut lineage = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            lineage.version = schema::version(&lineage.connection, path)?;
            Ok(lineage)
        };
        let lineage = match open() {
            Err(LineageError::HalfWritten { .. }) => {
                // Who may write undoes it by looking.
                let writer = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                schema::version(&writer.connection, path)?;
                open()?
            }
            opened => opened?,
        };
        // An empty file is what a build leaves that was killed while it made the database.
        Ok((lineage.version > 0).then_some(lineage))
    }

    fn connect(path: &Path, access: OpenFlags) -> Result<Self, LineageError> {
        let connection =
            Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .within(path)?;
        connection.busy_timeout(BUSY).within(path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            version: 0,
        })
    }
}

#[cfg(test)]
mod tests;
