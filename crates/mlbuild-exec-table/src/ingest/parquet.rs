//! Apache Parquet, as other tools write it, or as a disk or a download left it.
//!
//! The reader of `parquet` checks what files say of themselves by assertions here and there, so it runs guarded: a panic of
//! its own is a damaged file, and ends that file.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use mlbuild_action::Failure;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::{Batches, DeclaredTypes, SourceFile, require_columns, same_columns};
use crate::failure;
use crate::session::BATCH_ROWS;

/// Reads all footers, to learn the columns; yields the batches of the files.
///
/// # Errors
/// If a file is no Parquet, or damaged; if files differ in their columns.
pub(super) fn open<'a>(
    files: &'a [SourceFile],
    declared: &DeclaredTypes,
) -> Result<(SchemaRef, Batches<'a>), Failure> {
    let mut first: Option<SchemaRef> = None;
    for file in files {
        let schema = open_file(file)?.schema().clone();
        match &first {
            None => first = Some(schema),
            Some(first) => same_schema((&files[0], first), (file, &schema))?,
        }
    }
    let found = first.unwrap_or_else(|| Arc::new(Schema::empty()));
    require_columns(declared.keys(), &found, "`types` names", files)?;
    let field = |field: &Arc<Field>| match declared.get(field.name()) {
        Some(data_type) => Field::new(field.name(), data_type.clone(), true),
        None => Field::clone(field),
    };
    let schema = Arc::new(Schema::new(
        found.fields().iter().map(field).collect::<Vec<_>>(),
    ));
    let batches = {
        let schema = schema.clone();
        files.iter().flat_map(move |file| -> Batches<'a> {
            let reader = open_file(file).and_then(|reader| {
                let reader = reader.with_batch_size(BATCH_ROWS);
                guarded(file, || reader.build())
            });
            let schema = schema.clone();
            match reader {
                Err(error) => Box::new(std::iter::once(Err(error))),
                Ok(reader) => {
                    let batches = batches(file, reader);
                    Box::new(batches.map(move |batch| cast(file, &batch?, &schema)))
                }
            }
        })
    };
    Ok((schema, Box::new(batches)))
}

fn open_file(file: &SourceFile) -> Result<ParquetRecordBatchReaderBuilder<File>, Failure> {
    let input = File::open(&file.path)
        .map_err(|error| failure::environment(&format!("cannot read `{}`", file.name), &error))?;
    // The Arrow schema that some writers embed may name types that Parquet itself does not have; what other readers see counts.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    guarded(file, || {
        ParquetRecordBatchReaderBuilder::try_new_with_options(input, options)
    })
}

/// The batches of a file, up to the first that cannot be read.
fn batches(
    file: &SourceFile,
    reader: ParquetRecordBatchReader,
) -> impl Iterator<Item = Result<RecordBatch, Failure>> {
    let mut reader = Some(reader);
    std::iter::from_fn(move || {
        let next = guarded(file, || match &mut reader {
            Some(reader) => Ok(reader.next().transpose()?),
            None => Ok(None),
        });
        if !matches!(next, Ok(Some(_))) {
            reader = None;
        }
        next.transpose()
    })
}

/// What `read` yields; an error of its own, or a panic, is damage.
fn guarded<T>(
    file: &SourceFile,
    read: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(answer) => answer.map_err(|error| damaged(file, &error)),
        Err(_) => {
            let error = ParquetError::General("its parts contradict each other".to_owned());
            Err(damaged(file, &error))
        }
    }
}

fn same_schema(
    first: (&SourceFile, &Schema),
    other: (&SourceFile, &Schema),
) -> Result<(), Failure> {
    let columns = |schema: &Schema| -> Vec<String> {
        let fields = schema.fields().iter();
        fields
            .map(|field| {
                format!(
                    "{} {}",
                    field.name(),
                    crate::show::type_name(field.data_type())
                )
            })
            .collect()
    };
    same_columns((first.0, &columns(first.1)), (other.0, &columns(other.1)))
}

/// Converts the columns whose type is declared.
fn cast(
    file: &SourceFile,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, Failure> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns: Result<Vec<_>, _> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            cast_with_options(column, field.data_type(), &strict).map_err(|error| {
                failure::invalid(
                    "ingest::value",
                    format!(
                        "{}: column `{}` is not of type {}: {}",
                        file.name,
                        field.name(),
                        crate::show::type_name(field.data_type()),
                        failure::clean(&error.to_string()),
                    ),
                )
            })
        })
        .collect();
    RecordBatch::try_new(schema.clone(), columns?).map_err(failure::arrow)
}

fn damaged(file: &SourceFile, error: &ParquetError) -> Failure {
    let message = format!(
        "`{}` is not readable as Parquet: {}",
        file.name,
        failure::clean(&error.to_string())
    );
    failure::invalid("ingest::parquet", message)
}
