//! Files that are read row by row, as batches of one schema.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use mlbuild_action::{Cancel, Failure};

use super::value::ColumnBuilder;
use super::{Batches, SourceFile};
use crate::failure;
use crate::session::BATCH_ROWS;

/// A file, opened, before its next row.
pub(super) trait Rows {
    /// Adds the next row to the builders, one a column of `schema`; false at the end of the file.
    ///
    /// # Errors
    /// A row that is not what the format says, or a value that is not of its column's type.
    fn next_row(&mut self, schema: &Schema, columns: &mut [ColumnBuilder])
    -> Result<bool, Failure>;
}

/// The batches of all files, one file after the other.
pub(super) fn batches<'a, R: Rows + 'a>(
    files: &'a [SourceFile],
    schema: &SchemaRef,
    cancel: &'a Cancel,
    open: impl Fn(&'a SourceFile) -> Result<R, Failure> + 'a,
) -> Batches<'a> {
    let schema = schema.clone();
    Box::new(files.iter().flat_map(move |file| -> Batches<'a> {
        match open(file) {
            Ok(rows) => Box::new(FileBatches::new(rows, &schema, cancel)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }))
}

/// The batches of one file; ends after the first error.
struct FileBatches<'a, R> {
    rows: R,
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    cancel: &'a Cancel,
    done: bool,
}

impl<'a, R: Rows> FileBatches<'a, R> {
    fn new(rows: R, schema: &SchemaRef, cancel: &'a Cancel) -> Self {
        let fields = schema.fields().iter();
        Self {
            rows,
            columns: fields.map(|f| ColumnBuilder::new(f.data_type())).collect(),
            schema: schema.clone(),
            cancel,
            done: false,
        }
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, Failure> {
        let mut rows = 0;
        while rows < BATCH_ROWS && self.rows.next_row(&self.schema, &mut self.columns)? {
            rows += 1;
        }
        if self.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        RecordBatch::try_new(self.schema.clone(), columns)
            .map(Some)
            .map_err(failure::arrow)
    }
}

impl<R: Rows> Iterator for FileBatches<'_, R> {
    type Item = Result<RecordBatch, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let batch = self.read().transpose();
        self.done = !matches!(batch, Some(Ok(_)));
        batch
    }
}
