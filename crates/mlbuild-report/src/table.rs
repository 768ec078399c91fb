//! Reads the columns that an evaluation needs out of `table.parquet`, batch by batch.
//!
//! Arrow's many ways to store an integer or a text end here: the rest of the crate sees [`Scalar`]s and lists of them.
//! Only the columns asked for are decoded, so a report costs what it looks at.

use std::fs::File;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, LargeListArray, StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use mlbuild_action::{Cancel, Diagnostic, Failure, InputFolder};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

const BATCH_ROWS: usize = 8192;

/// What a column of keys or items holds. Two columns can be compared if this is equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Integers of any width, signed or not.
    Int,
    /// UTF-8 text.
    Text,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Dictionary(_, values) => Self::of(values),
            data_type if data_type.is_integer() => Some(Self::Int),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            _ => None,
        }
    }

    /// The kind's name, as diagnostics print it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Int => "integers",
            Self::Text => "text",
        }
    }
}

/// One key or item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scalar<'a> {
    /// An integer; 128 bits hold `i64` and `u64`.
    Int(i128),
    /// Text.
    Text(&'a str),
}

impl std::fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

/// A column of one batch.
pub(crate) enum Scalars {
    Signed(Int64Array),
    Unsigned(UInt64Array),
    Text(StringArray),
}

impl Scalars {
    fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        let values = match array.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            data_type => data_type,
        };
        Ok(match values {
            DataType::UInt64 => Self::Unsigned(
                cast(array, &DataType::UInt64)?
                    .as_primitive::<UInt64Type>()
                    .clone(),
            ),
            data_type if data_type.is_integer() => Self::Signed(
                cast(array, &DataType::Int64)?
                    .as_primitive::<Int64Type>()
                    .clone(),
            ),
            _ => Self::Text(cast(array, &DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    /// The value at `row`; `None` is null.
    pub(crate) fn get(&self, row: usize) -> Option<Scalar<'_>> {
        match self {
            Self::Signed(array) => array
                .is_valid(row)
                .then(|| Scalar::Int(array.value(row).into())),
            Self::Unsigned(array) => array
                .is_valid(row)
                .then(|| Scalar::Int(array.value(row).into())),
            Self::Text(array) => array.is_valid(row).then(|| Scalar::Text(array.value(row))),
        }
    }

    /// How many values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Signed(array) => array.len(),
            Self::Unsigned(array) => array.len(),
            Self::Text(array) => array.len(),
        }
    }
}

/// A column of lists, of one batch.
pub(crate) struct Lists {
    lists: LargeListArray,
    values: Scalars,
}

impl Lists {
    /// The entries of the list at `row`, in order; `None` is a null list, a `None` entry a null in it.
    pub(crate) fn get(
        &self,
        row: usize,
    ) -> Option<impl ExactSizeIterator<Item = Option<Scalar<'_>>>> {
        if self.lists.is_null(row) {
            return None;
        }
        let offsets = self.lists.value_offsets();
        let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
        Some((from..to).map(|index| self.values.get(index)))
    }
}

/// One input table, opened but not read.
pub(crate) struct Source<'a> {
    name: &'a str,
    folder: &'a InputFolder,
    builder: ParquetRecordBatchReaderBuilder<File>,
}

impl<'a> Source<'a> {
    /// Opens the table of input `name`.
    pub(crate) fn open(name: &'a str, folder: &'a InputFolder) -> Result<Self, Failure> {
        let file =
            File::open(folder.path.join("table.parquet")).map_err(|e| unreadable(name, &e))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|e| unreadable(name, &e))?
            .with_batch_size(BATCH_ROWS);
        Ok(Self {
            name,
            folder,
            builder,
        })
    }

    /// The input's name.
    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    /// What the engine says about the table.
    pub(crate) fn folder(&self) -> &'a InputFolder {
        self.folder
    }

    fn schema(&self) -> &Schema {
        self.builder.schema()
    }

    /// The columns' names, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
    }

    /// Number of rows, from the file's footer.
    pub(crate) fn rows(&self) -> u64 {
        // A negative count is a corrupt footer; reading will say so.
        u64::try_from(self.builder.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn field(&self, column: &str) -> Result<&Field, Failure> {
        self.schema().field_with_name(column).map_err(|_| {
            let columns: Vec<_> = self.columns().map(|name| format!("`{name}`")).collect();
            Failure::Invalid(
                Diagnostic::error(
                    "report::unknown-column",
                    format!("no column `{column}` in `{}`", self.name),
                )
                .help(format!("`{}` has {}", self.name, columns.join(", "))),
            )
        })
    }

    /// What the column `column` of single keys or items holds.
    pub(crate) fn scalar_kind(&self, column: &str) -> Result<Kind, Failure> {
        let data_type = self.field(column)?.data_type();
        Kind::of(data_type).ok_or_else(|| self.wrong_type(column, data_type, "integers or text"))
    }

    /// What the lists of column `column` hold.
    pub(crate) fn list_kind(&self, column: &str) -> Result<Kind, Failure> {
        let data_type = self.field(column)?.data_type();
        match data_type {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Kind::of(item.data_type())
            }
            _ => None,
        }
        .ok_or_else(|| self.wrong_type(column, data_type, "lists of integers or of text"))
    }

    fn wrong_type(&self, column: &str, data_type: &DataType, wanted: &str) -> Failure {
        Failure::Invalid(
            Diagnostic::error(
                "report::wrong-type",
                format!(
                    "column `{column}` of `{}` is `{data_type}`, but must hold {wanted}",
                    self.name
                ),
            )
            .help("cast it in the query that makes the table"),
        )
    }

    /// Reads these columns; [`Source::scalar_kind`] and [`Source::list_kind`] have accepted each.
    pub(crate) fn read(self, columns: &[&str], cancel: &'a Cancel) -> Result<Batches<'a>, Failure> {
        let indices = columns
            .iter()
            .map(|column| {
                self.schema()
                    .index_of(column)
                    .map_err(|e| unreadable(self.name, &e))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mask = ProjectionMask::roots(self.builder.parquet_schema(), indices);
        let reader = self
            .builder
            .with_projection(mask)
            .build()
            .map_err(|e| unreadable(self.name, &e))?;
        Ok(Batches {
            name: self.name,
            reader,
            cancel,
        })
    }
}

/// The batches of a table, in row order.
pub(crate) struct Batches<'a> {
    name: &'a str,
    reader: ParquetRecordBatchReader,
    cancel: &'a Cancel,
}

impl<'a> Batches<'a> {
    /// The next batch, while there is one and nobody cancelled.
    pub(crate) fn next(&mut self) -> Result<Option<Batch<'a>>, Failure> {
        if self.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let batch = self
            .reader
            .next()
            .transpose()
            .map_err(|e| unreadable(self.name, &e))?;
        Ok(batch.map(|batch| Batch {
            name: self.name,
            batch,
        }))
    }
}

/// Some rows of a table.
pub(crate) struct Batch<'a> {
    name: &'a str,
    batch: RecordBatch,
}

impl Batch<'_> {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// A column of single values.
    pub(crate) fn scalars(&self, column: &str) -> Result<Scalars, Failure> {
        Scalars::new(self.column(column)?).map_err(|e| unreadable(self.name, &e))
    }

    /// A column of lists.
    pub(crate) fn lists(&self, column: &str) -> Result<Lists, Failure> {
        let array = self.column(column)?;
        let item = match array.data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                item
            }
            other => return Err(unreadable(self.name, &format!("`{column}` is `{other}`"))),
        };
        let lists = cast(array, &DataType::LargeList(item.clone()))
            .map_err(|e| unreadable(self.name, &e))?
            .as_list::<i64>()
            .clone();
        let values = Scalars::new(lists.values()).map_err(|e| unreadable(self.name, &e))?;
        Ok(Lists { lists, values })
    }

    fn column(&self, name: &str) -> Result<&ArrayRef, Failure> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| unreadable(self.name, &format!("column `{name}` is gone")))
    }
}

/// The engine hands over tables that it wrote or restored itself, so one that does not open is not the user's mistake.
fn unreadable(name: &str, cause: &dyn std::fmt::Display) -> Failure {
    Failure::Environment(
        Diagnostic::error(
            "report::unreadable",
            format!("the table of `{name}` cannot be read"),
        )
        .detail([cause.to_string()]),
    )
}
