//! Rows as aligned lines of text, for diagnostics.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use mlbuild_action::Diagnostic;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Characters after which a value is cut.
const WIDTH: usize = 40;

/// The first `limit` rows of the table in `file`, as aligned lines under a line with the columns' names.
///
/// # Errors
/// If the file cannot be read as Parquet.
pub fn preview(file: &Path, limit: usize) -> Result<Vec<String>, Diagnostic> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let message = format!("cannot read the table `{}`: {error}", file.display());
        Diagnostic::error("table::unreadable", message)
    };
    let open = File::open(file).map_err(|e| unreadable(&e))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(open).map_err(|e| unreadable(&e))?;
    let empty = RecordBatch::new_empty(reader.schema().clone());
    let reader = reader
        .with_limit(limit)
        .build()
        .map_err(|e| unreadable(&e))?;
    let mut batches = vec![empty];
    for batch in reader {
        batches.push(batch.map_err(|e| unreadable(&e))?);
    }
    rows(&batches, limit).map_err(|e| unreadable(&e))
}

/// The first `limit` rows, under a line with the columns' names.
pub(crate) fn rows(batches: &[RecordBatch], limit: usize) -> Result<Vec<String>, ArrowError> {
    let Some(first) = batches.first() else {
        return Ok(Vec::new());
    };
    let header = first
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let mut lines: Vec<Vec<String>> = vec![header];
    let options = FormatOptions::default().with_null("null");
    for batch in batches {
        let columns: Result<Vec<_>, _> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect();
        let columns = columns?;
        for row in 0..batch.num_rows() {
            if lines.len() > limit {
                break;
            }
            lines.push(
                columns
                    .iter()
                    .map(|column| cut(&column.value(row).to_string()))
                    .collect(),
            );
        }
    }
    Ok(align(&lines))
}

fn cut(value: &str) -> String {
    // One value, one line.
    let value = value.replace(['\n', '\r'], " ");
    match value.char_indices().nth(WIDTH) {
        None => value,
        Some((at, _)) => format!("{}…", &value[..at]),
    }
}

fn align(lines: &[Vec<String>]) -> Vec<String> {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |values: &Vec<String>| {
        let padded = values
            .iter()
            .zip(&widths)
            .map(|(value, width)| format!("{value:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect()
}

/// The name of the type that a column of `data_type` has in a table; of its own, if a table cannot hold it.
pub(crate) fn type_name(data_type: &DataType) -> String {
    let canonical = mlbuild_table::canonical_type(data_type);
    mlbuild_table::type_name(canonical.as_ref().unwrap_or(data_type))
}
