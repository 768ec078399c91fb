//! Reads the columns that an evaluation needs out of `table.parquet`, batch by batch.
//!
//! Arrow's many ways to store an integer or a text end here: the rest of the crate sees [`Scalar`]s and lists of them.
//! Only the columns asked for are decoded, so a report costs what it looks at.

use std::fs::File;
use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, LargeListArray, StringArray,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use mlbuild_action::{Cancel, Diagnostic, Failure, InputFolder};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;

/// Rows decoded at a time: lists of a hundred items then fit the cache of a core.
const BATCH_ROWS: usize = 1024;

/// What a column of keys, items or classes holds. Two columns can be compared if this is equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Integers of any width, signed or not.
    Int,
    /// UTF-8 text.
    Text,
    /// `true` and `false`.
    Bool,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Dictionary(_, values) => Self::of(values).filter(|kind| *kind != Self::Bool),
            data_type if data_type.is_integer() => Some(Self::Int),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Boolean => Some(Self::Bool),
            _ => None,
        }
    }

    /// The kind's name, as diagnostics print it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Int => "integers",
            Self::Text => "text",
            Self::Bool => "booleans",
        }
    }
}

/// One key, item or class. Their order is that of classes: numbers by size, text by its bytes, `false` before `true`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scalar<'a> {
    /// An integer; 128 bits hold `i64` and `u64`.
    Int(i128),
    /// Text.
    Text(&'a str),
    /// `true` or `false`.
    Bool(bool),
}

impl std::fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

/// A column of one batch.
pub(crate) enum Scalars {
    Signed(Int64Array),
    Unsigned(UInt64Array),
    Text(StringArray),
    Bool(BooleanArray),
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
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
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
            Self::Bool(array) => array.is_valid(row).then(|| Scalar::Bool(array.value(row))),
        }
    }

    /// The values as they lie in memory, if they are signed integers and none is null.
    pub(crate) fn ints(&self) -> Option<&[i64]> {
        match self {
            Self::Signed(array) if array.null_count() == 0 => Some(array.values()),
            _ => None,
        }
    }

    /// How many values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Signed(array) => array.len(),
            Self::Unsigned(array) => array.len(),
            Self::Text(array) => array.len(),
            Self::Bool(array) => array.len(),
        }
    }
}

/// A column of lists, of one batch.
pub(crate) struct Lists<V> {
    lists: LargeListArray,
    /// The entries of all lists, one list after the other.
    pub values: V,
}

impl<V> Lists<V> {
    /// Where the entries of the list at `row` lie in `values`; `None` is a null list.
    pub(crate) fn range(&self, row: usize) -> Option<Range<usize>> {
        if self.lists.is_null(row) {
            return None;
        }
        let offsets = self.lists.value_offsets();
        Some(offsets[row] as usize..offsets[row + 1] as usize)
    }
}

impl Lists<Scalars> {
    /// The entries of the list at `row`, in order; `None` is a null list, a `None` entry a null in it.
    pub(crate) fn get(
        &self,
        row: usize,
    ) -> Option<impl ExactSizeIterator<Item = Option<Scalar<'_>>>> {
        Some(self.range(row)?.map(|index| self.values.get(index)))
    }
}

/// One input table, opened but not read.
pub(crate) struct Source<'a> {
    name: &'a str,
    folder: &'a InputFolder,
    file: File,
    metadata: ArrowReaderMetadata,
}

impl<'a> Source<'a> {
    /// Opens the table of input `name`.
    pub(crate) fn open(name: &'a str, folder: &'a InputFolder) -> Result<Self, Failure> {
        let file =
            File::open(folder.path.join("table.parquet")).map_err(|e| unreadable(name, &e))?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata =
            ArrowReaderMetadata::load(&file, options).map_err(|e| unreadable(name, &e))?;
        Ok(Self {
            name,
            folder,
            file,
            metadata,
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
        self.metadata.schema()
    }

    /// The columns' names, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
    }

    /// Whether there is a column of this name.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns().any(|name| name == column)
    }

    /// Number of rows, from the file's footer.
    pub(crate) fn rows(&self) -> u64 {
        // A negative count is a corrupt footer; reading will say so.
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
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

    /// What the column `column` of single keys, items or classes holds.
    pub(crate) fn scalar_kind(&self, column: &str) -> Result<Kind, Failure> {
        let data_type = self.field(column)?.data_type();
        Kind::of(data_type).ok_or_else(|| self.wrong_type(column, data_type, "integers or text"))
    }

    /// What the lists of column `column` hold.
    pub(crate) fn list_kind(&self, column: &str) -> Result<Kind, Failure> {
        let data_type = self.field(column)?.data_type();
        item_type(data_type)
            .and_then(Kind::of)
            .ok_or_else(|| self.wrong_type(column, data_type, "lists of integers or of text"))
    }

    /// Whether the column `column` holds lists.
    pub(crate) fn is_list(&self, column: &str) -> Result<bool, Failure> {
        Ok(item_type(self.field(column)?.data_type()).is_some())
    }

    /// Complains unless the column `column` holds booleans.
    pub(crate) fn must_be_boolean(&self, column: &str) -> Result<(), Failure> {
        let data_type = self.field(column)?.data_type();
        match data_type {
            DataType::Boolean => Ok(()),
            _ => Err(self.wrong_type(column, data_type, "booleans")),
        }
    }

    /// Complains unless the column `column` holds numbers.
    pub(crate) fn must_be_numeric(&self, column: &str) -> Result<(), Failure> {
        let data_type = self.field(column)?.data_type();
        if data_type.is_numeric() {
            return Ok(());
        }
        Err(self.wrong_type(column, data_type, "numbers"))
    }

    /// Complains unless the column `column` holds lists of numbers.
    pub(crate) fn must_be_numeric_lists(&self, column: &str) -> Result<(), Failure> {
        let data_type = self.field(column)?.data_type();
        if item_type(data_type).is_some_and(DataType::is_numeric) {
            return Ok(());
        }
        Err(self.wrong_type(column, data_type, "lists of numbers"))
    }

    /// Complains unless the values of the column `column` can be written as text.
    pub(crate) fn must_be_single(&self, column: &str) -> Result<(), Failure> {
        let data_type = self.field(column)?.data_type();
        if data_type.is_nested() {
            return Err(self.wrong_type(column, data_type, "single values"));
        }
        Ok(())
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

    /// Reads these columns; what [`Source`] says of their types has been asked for each.
    pub(crate) fn read(
        &self,
        columns: &[&str],
        cancel: &'a Cancel,
    ) -> Result<Batches<'a>, Failure> {
        self.read_rows(columns, None, cancel)
    }

    /// Reads these columns of the rows in a range.
    pub(crate) fn read_rows(
        &self,
        columns: &[&str],
        rows: Option<Range<usize>>,
        cancel: &'a Cancel,
    ) -> Result<Batches<'a>, Failure> {
        let bad = |e: &dyn std::fmt::Display| unreadable(self.name, e);
        let file = self.file.try_clone().map_err(|e| bad(&e))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_batch_size(BATCH_ROWS);
        let indices = columns
            .iter()
            .map(|column| self.schema().index_of(column).map_err(|e| bad(&e)))
            .collect::<Result<Vec<_>, _>>()?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
        let builder = builder.with_projection(mask);
        let builder = match rows {
            None => builder,
            Some(rows) => builder.with_row_selection(RowSelection::from(vec![
                RowSelector::skip(rows.start),
                RowSelector::select(rows.len()),
            ])),
        };
        Ok(Batches {
            name: self.name,
            reader: builder.build().map_err(|e| bad(&e))?,
            cancel,
        })
    }
}

fn item_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
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

    /// A column of numbers.
    pub(crate) fn numbers(&self, column: &str) -> Result<Float64Array, Failure> {
        self.floats(self.column(column)?)
    }

    /// A column of single values of any type, as text.
    pub(crate) fn texts(&self, column: &str) -> Result<StringArray, Failure> {
        let texts = cast(self.column(column)?, &DataType::Utf8);
        let texts = texts.map_err(|e| unreadable(self.name, &e))?;
        Ok(texts.as_string::<i32>().clone())
    }

    /// A column of lists of keys, items or classes.
    pub(crate) fn lists(&self, column: &str) -> Result<Lists<Scalars>, Failure> {
        let lists = self.list_array(column)?;
        let values = Scalars::new(lists.values()).map_err(|e| unreadable(self.name, &e))?;
        Ok(Lists { lists, values })
    }

    /// A column of lists of numbers.
    pub(crate) fn number_lists(&self, column: &str) -> Result<Lists<Float64Array>, Failure> {
        let lists = self.list_array(column)?;
        let values = self.floats(lists.values())?;
        Ok(Lists { lists, values })
    }

    fn floats(&self, array: &ArrayRef) -> Result<Float64Array, Failure> {
        let numbers = cast(array, &DataType::Float64);
        let numbers = numbers.map_err(|e| unreadable(self.name, &e))?;
        Ok(numbers.as_primitive::<Float64Type>().clone())
    }

    fn list_array(&self, column: &str) -> Result<LargeListArray, Failure> {
        let array = self.column(column)?;
        let item = match array.data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                item
            }
            other => return Err(unreadable(self.name, &format!("`{column}` is `{other}`"))),
        };
        let lists = cast(array, &DataType::LargeList(item.clone()));
        let lists = lists.map_err(|e| unreadable(self.name, &e))?;
        Ok(lists.as_list::<i64>().clone())
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
