//! Reads a table, or some of its columns, block by block.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::writer::described;
use crate::{BLOCK_ROWS, TableError};

/// A table's rows in order, as batches of at most [`BLOCK_ROWS`] rows. Stops after the first error.
pub struct TableReader {
    schema: SchemaRef,
    rows: u64,
    batches: ParquetRecordBatchReader,
}

impl TableReader {
    /// Opens a table and reads all of its columns.
    ///
    /// # Errors
    /// [`TableError::Io`], [`TableError::Parquet`].
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let builder = builder(path)?;
        let schema = builder.schema().clone();
        Self::build(builder, schema)
    }

    /// Opens a table and reads only the columns named; they come in the order of `columns`.
    ///
    /// # Errors
    /// [`TableError::NoColumn`], [`TableError::Io`], [`TableError::Parquet`].
    pub fn open_columns(path: &Path, columns: &[&str]) -> Result<Self, TableError> {
        let builder = builder(path)?;
        let all = builder.schema();
        let indices = columns.iter().map(|column| {
            all.index_of(column).map_err(|_| TableError::NoColumn {
                column: (*column).to_owned(),
                available: described(all),
            })
        });
        let indices = indices.collect::<Result<Vec<_>, _>>()?;
        let schema = all
            .project(&indices)
            .expect("the indices were looked up in this schema");
        let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
        Self::build(builder.with_projection(mask), schema.into())
    }

    fn build(
        builder: ParquetRecordBatchReaderBuilder<File>,
        schema: SchemaRef,
    ) -> Result<Self, TableError> {
        let rows = builder.metadata().file_metadata().num_rows();
        let batches = builder
            .with_batch_size(BLOCK_ROWS)
            .build()
            .map_err(|e| TableError::parquet("read", e))?;
        Ok(Self {
            schema,
            rows: u64::try_from(rows).unwrap_or(0),
            batches,
        })
    }

    /// The columns that are read.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of the whole table.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, TableError> {
    let file = File::open(path).map_err(|source| TableError::Io {
        doing: "open",
        source,
    })?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| TableError::parquet("read", e))
}

impl Iterator for TableReader {
    type Item = Result<RecordBatch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => {
                return Some(Err(TableError::Parquet {
                    doing: "read",
                    reason: error.to_string(),
                }));
            }
        };
        // Parquet yields columns in the file's order; the caller asked for another.
        let indices = self.schema.fields().iter().map(|field| {
            batch
                .schema()
                .index_of(field.name())
                .expect("the projection holds every column asked for")
        });
        let indices: Vec<_> = indices.collect();
        Some(Ok(batch
            .project(&indices)
            .expect("the indices were looked up in this batch")))
    }
}
