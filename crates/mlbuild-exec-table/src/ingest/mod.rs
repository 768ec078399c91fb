//! Source files to one table.
//!
//! Every format is read twice: once to learn the types from all rows, once to make batches of them. So a value in the
//! last row counts as much as one in the first, and memory holds a batch, never a file. All files of a source have the
//! same columns in the same order; their rows follow each other in path order.

mod batches;
mod csv;
mod infer;
mod jsonl;
mod parquet;
mod value;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use mlbuild_action::{Diagnostic, Failure, Format, Ingest, Output, Request};

use crate::session::TABLE_FILE;
use crate::sql_error::candidates;
use crate::writer::TableWriter;
use crate::{check, failure, query};

/// A source file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct SourceFile {
    /// Its path in the source, with `/`; what diagnostics name.
    name: String,
    path: PathBuf,
}

/// Batches of one schema, from all files in turn.
type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch, Failure>> + 'a>;

/// Reads the input `files` as one table, or copies them.
///
/// # Errors
/// [`Failure::Invalid`] for files that are not what they are said to be, [`Failure::Rejected`] if the key is not one.
pub(crate) async fn ingest(request: &Request<'_>, ingest: &Ingest) -> Result<Output, Failure> {
    let files = source_files(&request.input("files").path)?;
    if ingest.format == Format::Files {
        copy(request, &files)?;
        return Ok(Output::default());
    }
    if files.is_empty() {
        return Err(failure::invalid(
            "ingest::no-files",
            "the source has no files",
        ));
    }
    let types = declared_types(&ingest.types)?;
    let (schema, batches) = match ingest.format {
        Format::Csv => csv::open(request.cancel, &files, b',', &types)?,
        Format::Tsv => csv::open(request.cancel, &files, b'\t', &types)?,
        Format::Jsonl => jsonl::open(request.cancel, &files, &types)?,
        Format::Parquet => parquet::open(&files, &types)?,
        Format::Files => unreachable!("copied above"),
    };
    let (schema, batches) = match &ingest.row_number {
        None => (schema, batches),
        Some(name) => number_rows(name, &schema, batches)?,
    };
    let key = &ingest.key;
    require_columns(key, &schema, "the key names", &files)?;
    let output = request.output.join(TABLE_FILE);
    let table = if key.is_empty() {
        write(request, &schema, batches, &output)?.finish(key)?
    } else {
        let unsorted = request.scratch.join("unsorted.parquet");
        write(request, &schema, batches, &unsorted)?.finish(&[])?;
        query::sort(request, &unsorted, key).await?
    };
    check::key(request, &output, key).await?;
    Ok(Output {
        table: Some(table),
        ..Output::default()
    })
}

fn write<'a>(
    request: &'a Request<'a>,
    schema: &Schema,
    batches: Batches<'_>,
    path: &Path,
) -> Result<TableWriter<'a>, Failure> {
    let mut writer = TableWriter::create(request, schema, path)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    Ok(writer)
}

/// All files below a folder, sorted by relative path.
fn source_files(folder: &Path) -> Result<Vec<SourceFile>, Failure> {
    fn walk(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // Follows links: what the engine placed there may be one.
            match fs::metadata(entry.path())?.is_dir() {
                true => walk(&entry.path(), &format!("{name}/"), files)?,
                false => files.push(SourceFile {
                    name,
                    path: entry.path(),
                }),
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    walk(folder, "", &mut files)
        .map_err(|error| failure::environment("cannot read the source", &error))?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn copy(request: &Request<'_>, files: &[SourceFile]) -> Result<(), Failure> {
    for file in files {
        if request.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let target = request.output.join(&file.name);
        let folder = target.parent().unwrap_or(request.output);
        fs::create_dir_all(folder)
            .and_then(|()| fs::copy(&file.path, &target))
            .map_err(|error| {
                failure::environment(&format!("cannot copy `{}`", file.name), &error)
            })?;
    }
    Ok(())
}

/// Types by column, as the manifest declares them.
type DeclaredTypes = BTreeMap<String, DataType>;

/// The declared types that there are, by the name a manifest uses.
const TYPE_NAMES: [(&str, DataType); 6] = [
    ("boolean", DataType::Boolean),
    ("date", DataType::Date32),
    ("float64", DataType::Float64),
    ("int64", DataType::Int64),
    (
        "timestamp",
        DataType::Timestamp(TimeUnit::Microsecond, None),
    ),
    ("utf8", DataType::Utf8),
];

fn declared_types(types: &BTreeMap<String, String>) -> Result<DeclaredTypes, Failure> {
    let of = |(column, name): (&String, &String)| {
        let known = TYPE_NAMES.iter().find(|(known, _)| known == name);
        match known {
            Some((_, data_type)) => Ok((column.clone(), data_type.clone())),
            None => Err(Failure::Invalid(
                Diagnostic::error(
                    "ingest::unknown-type",
                    format!("column `{column}` has unknown type `{name}`"),
                )
                .help(candidates(
                    name,
                    TYPE_NAMES.iter().map(|(name, _)| (*name).to_owned()),
                )),
            )),
        }
    };
    types.iter().map(of).collect()
}

/// Checks that declared types and keys name columns that there are.
fn require_columns<'a>(
    wanted: impl IntoIterator<Item = &'a String>,
    schema: &Schema,
    who: &str,
    files: &[SourceFile],
) -> Result<(), Failure> {
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    match wanted.into_iter().find(|name| !names.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::Invalid(
            Diagnostic::error(
                "ingest::unknown-column",
                format!(
                    "{who} column `{name}`, which `{}` does not have",
                    files[0].name
                ),
            )
            .help(candidates(name, names.into_iter())),
        )),
    }
}

/// Checks that a file has the columns of the first.
fn same_columns(
    first: (&SourceFile, &[String]),
    other: (&SourceFile, &[String]),
) -> Result<(), Failure> {
    if first.1 == other.1 {
        return Ok(());
    }
    let list = |names: &[String]| {
        names
            .iter()
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Err(Failure::Invalid(
        Diagnostic::error(
            "ingest::different-columns",
            format!(
                "`{}` and `{}` have different columns",
                first.0.name, other.0.name
            ),
        )
        .help("all files of a source have the same columns in the same order")
        .detail([first, other].map(|(file, names)| format!("{}: {}", file.name, list(names)))),
    ))
}

fn number_rows<'a>(
    name: &str,
    schema: &Schema,
    batches: Batches<'a>,
) -> Result<(SchemaRef, Batches<'a>), Failure> {
    if schema.field_with_name(name).is_ok() {
        let message = format!("the files have a column `{name}` already");
        return Err(Failure::Invalid(
            Diagnostic::error("ingest::row-number", message).help("give `row_number` another name"),
        ));
    }
    let number = Arc::new(Field::new(name, DataType::Int64, true));
    let fields: Vec<_> = std::iter::once(number)
        .chain(schema.fields().iter().cloned())
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut next = 1_i64;
    let numbered = {
        let schema = schema.clone();
        batches.map(move |batch| {
            let batch = batch?;
            let end = next + batch.num_rows() as i64;
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(next..end));
            next = end;
            let columns = std::iter::once(numbers)
                .chain(batch.columns().iter().cloned())
                .collect();
            RecordBatch::try_new(schema.clone(), columns).map_err(failure::arrow)
        })
    };
    Ok((schema, Box::new(numbered)))
}

/// A value that is not of its column's type.
fn bad_value(file: &SourceFile, line: u64, field: &Field, text: &str) -> Failure {
    let data_type = crate::show::type_name(field.data_type());
    let text: String = match text.char_indices().nth(60) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    };
    Failure::Invalid(
        Diagnostic::error(
            "ingest::value",
            format!(
                "{}:{line}: column `{}`: `{text}` is not a value of type {data_type}",
                file.name,
                field.name()
            ),
        )
        .help("correct the value, or declare another type for the column in `types`"),
    )
}
