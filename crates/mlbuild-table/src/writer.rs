//! Writes a table: canonical types, fixed blocks, fixed settings, and digests on the way.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{Schema, SchemaRef};
use mlbuild_action::{Column, Table};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use crate::column_digest::ColumnDigest;
use crate::types::canonicalise;
use crate::{BLOCK_ROWS, TableError, canonical_schema, type_name};

const ROW_GROUP_ROWS: usize = 1 << 20;
const ZSTD_LEVEL: i32 = 3;

/// Writes one table, batch after batch, in the order given.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// # use mlbuild_table::{FILE_NAME, TableWriter};
/// # let folder = tempfile::tempdir()?;
/// let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_from_iter([("id", ids)])?;
/// let mut writer = TableWriter::create(&folder.path().join(FILE_NAME), &batch.schema())?;
/// writer.write(&batch)?;
/// let table = writer.finish(&["id".to_owned()])?;
/// assert_eq!((table.rows, table.columns[0].data_type.as_str()), (3, "Int64"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TableWriter {
    schema: SchemaRef,
    /// Cuts batches into blocks.
    blocks: BatchCoalescer,
    digests: Vec<ColumnDigest>,
    file: ArrowWriter<File>,
    rows: u64,
}

impl TableWriter {
    /// Creates the file, which must not exist yet. Nullability and metadata of `schema` do not matter.
    ///
    /// # Errors
    /// Those of [`canonical_schema`]; [`TableError::Io`].
    pub fn create(path: &Path, schema: &Schema) -> Result<Self, TableError> {
        let schema = canonical_schema(schema)?;
        let io = |source| TableError::Io {
            doing: "create",
            source,
        };
        let file = File::create_new(path).map_err(io)?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties())
            .with_skip_arrow_metadata(true);
        let file = ArrowWriter::try_new_with_options(file, schema.clone(), options)
            .map_err(|e| TableError::parquet("write", e))?;
        Ok(Self {
            blocks: BatchCoalescer::new(schema.clone(), BLOCK_ROWS),
            digests: schema
                .fields()
                .iter()
                .map(|field| ColumnDigest::new(field.data_type()))
                .collect(),
            schema,
            file,
            rows: 0,
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`TableError::Schema`] if the batch has other columns than promised, [`TableError::Value`], [`TableError::Io`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let schema = canonical_schema(&batch.schema())?;
        if schema != self.schema {
            return Err(TableError::Schema {
                expected: columns(&self.schema),
                found: columns(&schema),
            });
        }
        let batch = canonicalise(batch, &self.schema)?;
        self.blocks
            .push_batch(batch)
            .expect("the batch has the columns of the blocks");
        self.write_blocks()
    }

    /// The rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows + self.blocks.get_buffered_rows() as u64
    }

    /// Completes the file and says what the table is. `key` names its key columns, in order; that they are unique and
    /// that the rows are in their order is the caller's word.
    ///
    /// # Errors
    /// [`TableError::NoColumn`] for a key column that is not there; [`TableError::Io`].
    pub fn finish(mut self, key: &[String]) -> Result<Table, TableError> {
        for column in key {
            if self.schema.index_of(column).is_err() {
                return Err(TableError::NoColumn {
                    column: column.clone(),
                    available: described(&self.schema),
                });
            }
        }
        self.blocks
            .finish_buffered_batch()
            .expect("rows that were taken can be joined");
        self.write_blocks()?;
        self.file
            .close()
            .map_err(|e| TableError::parquet("write", e))?;
        let columns = self
            .schema
            .fields()
            .iter()
            .zip(&self.digests)
            .map(|(field, digest)| Column {
                name: field.name().clone(),
                data_type: type_name(field.data_type()),
                digest: digest.finish(),
            })
            .collect();
        Ok(Table {
            rows: self.rows,
            columns,
            key: key.to_vec(),
        })
    }

    fn write_blocks(&mut self) -> Result<(), TableError> {
        while let Some(block) = self.blocks.next_completed_batch() {
            for (digest, column) in self.digests.iter_mut().zip(block.columns()) {
                digest.update(column);
            }
            self.file
                .write(&block)
                .map_err(|e| TableError::parquet("write", e))?;
            self.rows += block.num_rows() as u64;
        }
        Ok(())
    }
}

/// Every setting that shows in the bytes, whatever the library's defaults become.
fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("zstd has this level");
    WriterProperties::builder()
        .set_created_by("mlbuild".to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(None)
        .set_write_batch_size(1024)
        .set_data_page_size_limit(1 << 20)
        .set_data_page_row_count_limit(20_000)
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(1 << 20)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .build()
}

/// The columns with their types, as diagnostics list them.
pub(crate) fn described(schema: &Schema) -> Vec<String> {
    let fields = schema.fields().iter();
    fields
        .map(|field| format!("{}: {}", field.name(), type_name(field.data_type())))
        .collect()
}

fn columns(schema: &Schema) -> String {
    format!("({})", described(schema).join(", "))
}
