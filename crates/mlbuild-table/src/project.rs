//! Copies a table with some of its columns only.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::{TableError, TableReader};

/// Writes the columns named, in this order, of the table `from` to the new file `to`. Their bytes are copied as they
/// are: nothing is decoded.
///
/// # Errors
/// [`TableError::NoColumn`], [`TableError::Io`], [`TableError::Parquet`].
pub fn project(from: &Path, to: &Path, columns: &[&str]) -> Result<(), TableError> {
    // It knows how to complain about a column that is not there.
    TableReader::open_columns(from, columns)?;
    let io = |doing| move |source| TableError::Io { doing, source };
    let source = File::open(from).map_err(io("open"))?;
    let target = File::create_new(to).map_err(io("create"))?;
    copy(source, target, columns).map_err(|error| TableError::parquet("write", error))
}

fn copy(source: File, target: File, columns: &[&str]) -> parquet::errors::Result<()> {
    let reader = SerializedFileReader::new(source.try_clone()?)?;
    let metadata = reader.metadata();
    let root = metadata.file_metadata().schema_descr().root_schema();
    let fields = columns.iter().map(|column| {
        let field = root
            .get_fields()
            .iter()
            .find(|field| field.name() == *column);
        Arc::clone(field.expect("the columns were looked up before"))
    });
    let schema = Type::group_type_builder(root.name())
        .with_fields(fields.collect())
        .build()?;
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(target, Arc::new(schema), properties)?;
    for group in 0..metadata.num_row_groups() {
        let mut copied = writer.next_row_group()?;
        for column in columns {
            for chunk in chunks(metadata, group, column) {
                let result = ColumnCloseResult {
                    bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or(0),
                    rows_written: u64::try_from(metadata.row_group(group).num_rows()).unwrap_or(0),
                    metadata: chunk.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                copied.append_column(&source, result)?;
            }
        }
        copied.close()?;
    }
    writer.close()?;
    Ok(())
}

/// The chunks of a column, which has several where it is nested.
fn chunks<'a>(
    metadata: &'a ParquetMetaData,
    group: usize,
    column: &'a str,
) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
    let chunks = metadata.row_group(group).columns().iter();
    chunks.filter(move |chunk| {
        chunk
            .column_path()
            .parts()
            .first()
            .is_some_and(|first| first == column)
    })
}
