//! Writes `table.parquet` through the one table format, and tells of the rows as they go.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use mlbuild_action::{Diagnostic, Failure, Progress, Request, Table};

use crate::failure;

/// A table being written for a request.
pub(crate) struct TableWriter<'a> {
    request: &'a Request<'a>,
    table: mlbuild_table::TableWriter,
}

impl<'a> TableWriter<'a> {
    /// Starts a table of these columns, which need not be canonical, at `path`.
    ///
    /// # Errors
    /// If a column has no name, the name of another, or a type that no table can hold; if the file cannot be made.
    pub(crate) fn create(
        request: &'a Request<'a>,
        schema: &Schema,
        path: &Path,
    ) -> Result<Self, Failure> {
        check_columns(schema)?;
        let table = mlbuild_table::TableWriter::create(path, schema)?;
        Ok(Self { request, table })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`Failure::Cancelled`] if that was asked for; if a value does not fit its canonical type; a full disk.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        if self.request.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        self.table.write(batch)?;
        (self.request.progress)(Progress::Rows {
            rows: self.table.rows(),
        });
        Ok(())
    }

    /// Completes the file, and says what it holds.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn finish(self, key: &[String]) -> Result<Table, Failure> {
        Ok(self.table.finish(key)?)
    }
}

/// What the table format refuses, said in the words of a query's author.
fn check_columns(schema: &Schema) -> Result<(), Failure> {
    if schema.fields().is_empty() {
        return Err(failure::invalid(
            "table::no-columns",
            "the table has no columns",
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        if name.is_empty() {
            let message = format!("column {} has no name", i + 1);
            return Err(failure::invalid("table::unnamed-column", message));
        }
        if !seen.insert(name) {
            let message = format!("two columns are named `{name}`");
            return Err(Failure::Invalid(
                Diagnostic::error("table::duplicate-column", message)
                    .help("every column of a table needs a name of its own: rename one"),
            ));
        }
        if mlbuild_table::canonical_type(field.data_type()).is_none() {
            return Err(unsupported(name, field.data_type()));
        }
    }
    Ok(())
}

fn unsupported(column: &str, data_type: &DataType) -> Failure {
    let message = format!("column `{column}` has type {data_type}, which a table cannot hold");
    let diagnostic = Diagnostic::error("table::unsupported-type", message);
    Failure::Invalid(match data_type {
        DataType::Duration(_) | DataType::Interval(_) => diagnostic.help(
            "store a span of time as a number: `extract(epoch from a) - extract(epoch from b)` is in seconds",
        ),
        _ => diagnostic.help("a table holds numbers, texts, booleans, dates, times, bytes, and lists and structs of them"),
    })
}
