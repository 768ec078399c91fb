//! Two files of one table: the same rows cut otherwise, and where two tables part.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::WriterProperties;

use crate::{TableError, TableReader};

/// Writes the rows of a table in their order to a new file with other row groups, pages and compression: what depends
/// on any of these is not a function of the table.
///
/// # Errors
/// [`TableError::Io`], [`TableError::Parquet`].
pub fn reshape(from: &Path, to: &Path) -> Result<(), TableError> {
    let reader = TableReader::open(from)?;
    let rows = usize::try_from(reader.rows()).unwrap_or(usize::MAX);
    let properties = WriterProperties::builder()
        // Three row groups, or as many as there are rows.
        .set_max_row_group_row_count(Some(rows.div_ceil(3).max(1)))
        .set_data_page_row_count_limit(1_000)
        .set_dictionary_enabled(false)
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let file = File::create_new(to).map_err(|source| TableError::Io {
        doing: "create",
        source,
    })?;
    let written = |e| TableError::parquet("write", e);
    let schema = reader.schema().clone();
    let mut writer = ArrowWriter::try_new_with_options(file, schema, options).map_err(written)?;
    for batch in reader {
        writer.write(&batch?).map_err(written)?;
    }
    writer.close().map_err(written)?;
    Ok(())
}

/// The first row, from 1, in which column `column` of two tables differs, with its value in each as text; `None` for a
/// table that has no such row.
///
/// # Errors
/// [`TableError::NoColumn`], [`TableError::Io`], [`TableError::Parquet`].
#[expect(clippy::type_complexity, reason = "a row and two texts")]
pub fn first_difference(
    old: &Path,
    new: &Path,
    column: &str,
) -> Result<Option<(u64, Option<String>, Option<String>)>, TableError> {
    let mut old = TableReader::open_columns(old, &[column])?;
    let mut new = TableReader::open_columns(new, &[column])?;
    let mut before: u64 = 0;
    loop {
        // Both files are read in blocks of the same number of rows.
        let (a, b) = (old.next().transpose()?, new.next().transpose()?);
        let rows = |batch: &Option<RecordBatch>| batch.as_ref().map_or(0, RecordBatch::num_rows);
        let (a_rows, b_rows) = (rows(&a), rows(&b));
        if a_rows == 0 && b_rows == 0 {
            return Ok(None);
        }
        for row in 0..a_rows.max(b_rows) {
            let (left, right) = (text(a.as_ref(), row), text(b.as_ref(), row));
            if left != right || !equal(a.as_ref(), b.as_ref(), row) {
                return Ok(Some((before + row as u64 + 1, left, right)));
            }
        }
        before += a_rows as u64;
    }
}

fn text(batch: Option<&RecordBatch>, row: usize) -> Option<String> {
    let batch = batch.filter(|batch| row < batch.num_rows())?;
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(batch.column(0), &options).ok()?;
    Some(formatter.value(row).to_string())
}

/// Whether a row is the same in both, also where that does not show in print: `0.0` and `-0.0`, null and `"null"`.
fn equal(a: Option<&RecordBatch>, b: Option<&RecordBatch>, row: usize) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.column(0).slice(row, 1) == b.column(0).slice(row, 1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array};

    use super::*;
    use crate::{FILE_NAME, TableWriter};

    fn table(folder: &Path, values: Vec<Option<f64>>) -> mlbuild_action::Table {
        std::fs::create_dir(folder).unwrap();
        let column: ArrayRef = Arc::new(Float64Array::from(values));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut writer = TableWriter::create(&folder.join(FILE_NAME), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish(&[]).unwrap()
    }

    #[test]
    fn rows_cut_otherwise_are_the_same_table_in_other_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let values: Vec<_> = (0..20_000).map(|i| Some(f64::from(i) / 7.0)).collect();
        let table = table(&a, values);
        let other = folder.path().join("other.parquet");
        reshape(&a.join(FILE_NAME), &other).unwrap();
        assert_ne!(
            std::fs::read(&other).unwrap(),
            std::fs::read(a.join(FILE_NAME)).unwrap()
        );
        std::fs::create_dir(&b).unwrap();
        let reader = TableReader::open(&other).unwrap();
        let mut writer = TableWriter::create(&b.join(FILE_NAME), reader.schema()).unwrap();
        for batch in reader {
            writer.write(&batch.unwrap()).unwrap();
        }
        assert_eq!(writer.finish(&[]).unwrap(), table);
        let same = first_difference(&a.join(FILE_NAME), &other, "x").unwrap();
        assert_eq!(same, None);
    }

    #[test]
    fn the_first_row_that_differs_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let values: Vec<_> = (0..10_000).map(|i| Some(f64::from(i))).collect();
        let mut changed = values.clone();
        changed[9_000] = None;
        let mut zero = values.clone();
        zero[0] = Some(-0.0);
        for (name, values) in [
            ("old", values.clone()),
            ("changed", changed),
            ("zero", zero),
            ("short", values[..9_999].to_vec()),
        ] {
            table(&at(name), values);
        }
        let difference = |name: &str| {
            let file = |name: &str| at(name).join(FILE_NAME);
            first_difference(&file("old"), &file(name), "x").unwrap()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(difference("old"), None);
        let null = text("null");
        assert_eq!(difference("changed"), Some((9_001, text("9000.0"), null)));
        assert_eq!(difference("zero"), Some((1, text("0.0"), text("-0.0"))));
        assert_eq!(difference("short"), Some((10_000, text("9999.0"), None)));
    }
}
