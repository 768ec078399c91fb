//! Writes `table.parquet`, and digests what it writes.
//!
//! Equal rows give equal bytes, however they arrive: batches are cut anew to one size, every property of the writer is
//! pinned, and the file carries no Arrow schema, path or time.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{Schema, SchemaRef};
use mlbuild_action::{Column, Diagnostic, Failure, Progress, Request, Table};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use crate::digest::ColumnDigest;
use crate::session::BATCH_ROWS;
use crate::{failure, types};

/// Rows a row group: what a reader can skip or read at once. A multiple of [`BATCH_ROWS`].
const ROW_GROUP_ROWS: usize = 15 * BATCH_ROWS;

/// A table being written.
pub(crate) struct TableWriter<'a> {
    request: &'a Request<'a>,
    schema: SchemaRef,
    batches: BatchCoalescer,
    digests: Vec<ColumnDigest>,
    file: ArrowWriter<File>,
    rows: u64,
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
        check_names(schema)?;
        let schema = types::canonical_schema(schema).map_err(unsupported)?;
        let file = File::create(path)
            .map_err(|error| failure::environment("cannot write `table.parquet`", &error))?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties())
            .with_skip_arrow_metadata(true);
        let file = ArrowWriter::try_new_with_options(file, schema.clone(), options)
            .map_err(|error| failure::run_time(&error.into()))?;
        Ok(Self {
            request,
            batches: BatchCoalescer::new(schema.clone(), BATCH_ROWS),
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

    /// Appends rows.
    ///
    /// # Errors
    /// [`Failure::Cancelled`] if that was asked for; if a value does not fit its canonical type; a full disk.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        if self.request.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let batch = types::batch(batch, &self.schema).map_err(failure::arrow)?;
        self.batches.push_batch(batch).map_err(failure::arrow)?;
        self.write_completed()
    }

    fn write_completed(&mut self) -> Result<(), Failure> {
        while let Some(batch) = self.batches.next_completed_batch() {
            for (digest, column) in self.digests.iter_mut().zip(batch.columns()) {
                digest.update(column).map_err(failure::arrow)?;
            }
            self.file
                .write(&batch)
                .map_err(|error| failure::run_time(&error.into()))?;
            self.rows += batch.num_rows() as u64;
            (self.request.progress)(Progress::Rows { rows: self.rows });
        }
        Ok(())
    }

    /// Completes the file, and says what it holds.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn finish(mut self, key: &[String]) -> Result<Table, Failure> {
        self.batches
            .finish_buffered_batch()
            .map_err(failure::arrow)?;
        self.write_completed()?;
        self.file
            .close()
            .map_err(|error| failure::run_time(&error.into()))?;
        let columns = self.schema.fields().iter().zip(&self.digests);
        Ok(Table {
            rows: self.rows,
            columns: columns
                .map(|(field, digest)| Column {
                    name: field.name().clone(),
                    data_type: types::name(field.data_type()),
                    digest: digest.finish(),
                })
                .collect(),
            key: key.to_vec(),
        })
    }
}

/// Every property that shows in the bytes, spelled out, so that a new default upstream changes nothing.
fn properties() -> WriterProperties {
    let zstd = ZstdLevel::try_new(1).expect("zstd has a level 1");
    WriterProperties::builder()
        .set_created_by("mlbuild table v1".to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(zstd))
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(1 << 20)
        .set_data_page_size_limit(1 << 20)
        .set_data_page_row_count_limit(20_000)
        .set_write_batch_size(1024)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(None)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_bloom_filter_enabled(false)
        .set_content_defined_chunking(None)
        .set_key_value_metadata(None)
        .build()
}

fn check_names(schema: &Schema) -> Result<(), Failure> {
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
    }
    Ok(())
}

fn unsupported((column, types::Unsupported(data_type)): (String, types::Unsupported)) -> Failure {
    use arrow::datatypes::DataType;
    let message = format!("column `{column}` has type {data_type}, which a table cannot hold");
    let diagnostic = Diagnostic::error("table::unsupported-type", message);
    Failure::Invalid(match data_type {
        DataType::Duration(_) | DataType::Interval(_) => diagnostic.help(
            "store a span of time as a number: `extract(epoch from a) - extract(epoch from b)` is in seconds",
        ),
        _ => diagnostic.help("a table holds numbers, texts, booleans, dates, times, bytes, and lists and structs of them"),
    })
}
