//! How the rows of two tables differ: by key where there is one, else as a whole.
//!
//! Rows are compared in arrow's row encoding, in which equal values have equal bytes. The encoded keys and compared
//! values of the old table are held in memory; the new one streams past them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{TableError, TableReader};

/// How many changed rows are shown.
const EXAMPLES: usize = 5;

/// How the rows of two tables differ.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowChanges {
    /// Rows of the new table whose key (or, without a key, whose values) the old one does not have.
    pub added: u64,
    /// Rows of the old table that the new one does not have.
    pub removed: u64,
    /// Rows that both have, with other values.
    pub changed: u64,
    /// In how many of the changed rows each column differs.
    pub columns: BTreeMap<String, u64>,
    /// Some of the changed rows: `id=17: amount 4 -> 5`, in the new table's order.
    pub examples: Vec<String>,
}

/// Compares two tables row by row. `key` names columns whose values identify a row in both; `columns` those to compare.
/// Without a key, rows are whole rows of `columns`, and none can have changed.
///
/// # Errors
/// [`TableError::NoColumn`] if a column is missing or has another type in one of them, [`TableError::Io`],
/// [`TableError::Parquet`].
pub fn row_changes(
    old: &Path,
    new: &Path,
    key: &[String],
    columns: &[String],
) -> Result<RowChanges, TableError> {
    match key.is_empty() {
        true => whole_rows(old, new, columns),
        false => by_key(old, new, key, columns),
    }
}

fn whole_rows(old: &Path, new: &Path, columns: &[String]) -> Result<RowChanges, TableError> {
    let mut counts: HashMap<Box<[u8]>, i64> = HashMap::new();
    for (path, step) in [(old, -1), (new, 1)] {
        for batch in open(path, columns)? {
            let rows = encode(&batch?)?;
            for row in &rows {
                *counts.entry(row.as_ref().into()).or_default() += step;
            }
        }
    }
    let count = |sign: i64| {
        counts
            .values()
            .map(|count| (count * sign).max(0).unsigned_abs())
            .sum()
    };
    Ok(RowChanges {
        added: count(1),
        removed: count(-1),
        ..RowChanges::default()
    })
}

fn by_key(
    old: &Path,
    new: &Path,
    key: &[String],
    columns: &[String],
) -> Result<RowChanges, TableError> {
    let others = columns.iter().filter(|column| !key.contains(column));
    let values: Vec<String> = others.cloned().collect();
    let all = [key, &values].concat();
    let mut known: HashMap<Box<[u8]>, Old> = HashMap::new();
    for batch in open(old, &all)? {
        let batch = batch?;
        let (keys, cells) = (
            encode(&part(&batch, 0..key.len())?)?,
            cells(&batch, key.len())?,
        );
        let texts = Texts::new(&batch)?;
        for row in 0..batch.num_rows() {
            let old = Old {
                cells: cells
                    .iter()
                    .map(|column| column.row(row).as_ref().into())
                    .collect(),
                texts: (key.len()..all.len())
                    .map(|column| texts.get(column, row))
                    .collect(),
            };
            known.insert(keys.row(row).as_ref().into(), old);
        }
    }
    let mut changes = RowChanges::default();
    for batch in open(new, &all)? {
        let batch = batch?;
        let (keys, cells) = (
            encode(&part(&batch, 0..key.len())?)?,
            cells(&batch, key.len())?,
        );
        let texts = Texts::new(&batch)?;
        for row in 0..batch.num_rows() {
            let Some(old) = known.remove(keys.row(row).as_ref()) else {
                changes.added += 1;
                continue;
            };
            let differs = |column: &usize| cells[*column].row(row).as_ref() != &*old.cells[*column];
            let differing: Vec<usize> = (0..values.len()).filter(differs).collect();
            if differing.is_empty() {
                continue;
            }
            changes.changed += 1;
            for &column in &differing {
                *changes.columns.entry(values[column].clone()).or_default() += 1;
            }
            if changes.examples.len() < EXAMPLES {
                let name = |i: usize| format!("{}={}", key[i], texts.get(i, row));
                let name: Vec<_> = (0..key.len()).map(name).collect();
                let change = |&column: &usize| {
                    let new = texts.get(key.len() + column, row);
                    format!("{} {} -> {new}", values[column], old.texts[column])
                };
                let change: Vec<_> = differing.iter().map(change).collect();
                changes
                    .examples
                    .push(format!("{}: {}", name.join(" "), change.join(", ")));
            }
        }
    }
    changes.removed = known.len() as u64;
    Ok(changes)
}

/// A row of the old table, without its key.
struct Old {
    cells: Vec<Box<[u8]>>,
    texts: Vec<String>,
}

fn open(path: &Path, columns: &[String]) -> Result<TableReader, TableError> {
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    TableReader::open_columns(path, &columns)
}

fn part(batch: &RecordBatch, columns: std::ops::Range<usize>) -> Result<RecordBatch, TableError> {
    let indices: Vec<usize> = columns.collect();
    batch.project(&indices).map_err(unreadable)
}

/// The rows of each column from `from` on, alone.
fn cells(batch: &RecordBatch, from: usize) -> Result<Vec<Rows>, TableError> {
    let columns = from..batch.num_columns();
    columns.map(|i| encode(&part(batch, i..i + 1)?)).collect()
}

fn encode(batch: &RecordBatch) -> Result<Rows, TableError> {
    let fields = batch.schema_ref().fields().iter();
    let fields = fields
        .map(|field| SortField::new(field.data_type().clone()))
        .collect();
    let converter = RowConverter::new(fields).map_err(unreadable)?;
    converter
        .convert_columns(batch.columns())
        .map_err(unreadable)
}

fn unreadable(error: arrow::error::ArrowError) -> TableError {
    TableError::Parquet {
        doing: "compare",
        reason: error.to_string(),
    }
}

/// Values as text, shortened to what fits a line.
struct Texts<'a>(Vec<ArrayFormatter<'a>>);

impl<'a> Texts<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self, TableError> {
        const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_null("null");
        let columns = batch.columns().iter();
        let formatters = columns.map(|column| ArrayFormatter::try_new(column, &OPTIONS));
        Ok(Self(
            formatters.collect::<Result<_, _>>().map_err(unreadable)?,
        ))
    }

    fn get(&self, column: usize, row: usize) -> String {
        const WIDTH: usize = 40;
        let text = self.0[column].value(row).to_string();
        match text.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::{FILE_NAME, TableWriter};

    fn table(folder: &Path, rows: &[(i64, &str, Option<i64>)]) -> std::path::PathBuf {
        std::fs::create_dir(folder).unwrap();
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
        let name: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1)));
        let n: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.2)));
        let batch = RecordBatch::try_from_iter([("id", id), ("name", name), ("n", n)]).unwrap();
        let path = folder.join(FILE_NAME);
        let mut writer = TableWriter::create(&path, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish(&[]).unwrap();
        path
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rows_are_matched_by_key() {
        let folder = tempfile::tempdir().unwrap();
        let old = table(
            &folder.path().join("old"),
            &[(1, "a", Some(1)), (2, "b", None), (3, "c", Some(3))],
        );
        let new = table(
            &folder.path().join("new"),
            &[(4, "d", None), (3, "x", Some(4)), (2, "b", None)],
        );
        let changes = row_changes(&old, &new, &names(&["id"]), &names(&["name", "n"])).unwrap();
        assert_eq!(
            changes,
            RowChanges {
                added: 1,
                removed: 1,
                changed: 1,
                columns: BTreeMap::from([("n".to_owned(), 1), ("name".to_owned(), 1)]),
                examples: names(&["id=3: name c -> x, n 3 -> 4"]),
            }
        );
        let same = row_changes(&new, &new, &names(&["id"]), &names(&["name"])).unwrap();
        assert_eq!(same, RowChanges::default());
    }

    #[test]
    fn without_a_key_whole_rows_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let old = table(
            &folder.path().join("old"),
            &[(1, "a", None), (1, "a", None), (2, "b", None)],
        );
        let new = table(
            &folder.path().join("new"),
            &[(1, "a", None), (3, "b", None)],
        );
        let changes = row_changes(&old, &new, &[], &names(&["id", "name"])).unwrap();
        assert_eq!((changes.added, changes.removed, changes.changed), (1, 2, 0));
    }
}
