//! Table files for the engine, through the one crate that knows their format.

use std::path::Path;

use mlbuild_action::Diagnostic;
use mlbuild_engine::{RowDiff, RowDifference, TableFiles};
use mlbuild_table::{RowChanges, TableError};

/// The format of `mlbuild-table`.
pub(crate) struct Tables;

impl TableFiles for Tables {
    fn project(&self, from: &Path, to: &Path, columns: &[&str]) -> Result<(), Diagnostic> {
        mlbuild_table::project(from, to, columns).map_err(|error| failed(&error))
    }

    fn reshape(&self, from: &Path, to: &Path) -> Result<(), Diagnostic> {
        mlbuild_table::reshape(from, to).map_err(|error| failed(&error))
    }

    fn first_difference(&self, old: &Path, new: &Path, column: &str) -> Option<RowDifference> {
        // The digests have said that there is one; only its place is asked for.
        let found = mlbuild_table::first_difference(old, new, column).ok()??;
        let (row, old, new) = found;
        Some(RowDifference { row, old, new })
    }

    fn row_changes(
        &self,
        old: &Path,
        new: &Path,
        key: &[String],
        columns: &[String],
    ) -> Result<RowDiff, Diagnostic> {
        let changes = mlbuild_table::row_changes(old, new, key, columns);
        let RowChanges {
            added,
            removed,
            changed,
            columns,
            examples,
        } = changes.map_err(|error| failed(&error))?;
        Ok(RowDiff {
            added,
            removed,
            changed,
            columns,
            examples,
        })
    }
}

fn failed(error: &TableError) -> Diagnostic {
    Diagnostic::error("table::io", error.to_string())
}
