//! Splits a table: every row as it is, in its order, with one more column that says to which part it belongs.
//!
//! By a hash, a row's part is decided by the values of some columns (its key, or a group), the seed and the shares: neither by
//! where it stands nor by which other rows there are. So a row stays where it is when others come, and rows of one group
//! cannot come apart. By time, it is decided by one column and by bounds, which are given or are quantiles of it; rows of one
//! instant stay together. `spec/table.md` fixes the hash.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{
    DataType, Date32Type, Field, Int8Type, Int16Type, Int32Type, Int64Type, Schema as ArrowSchema,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use mlbuild_action::{
    Analysis, Diagnostic, Failure, Flows, InputFolder, Origin, Output, Parts, Request, Schema,
    Split, SplitBy, Value,
};
use mlbuild_digest::Encoder;
use mlbuild_table::{TableReader, type_name};

use crate::failure;
use crate::session::TABLE_FILE;
use crate::writer::TableWriter;

/// The name of the one input.
const INPUT: &str = "input";

const NANOS_A_DAY: i64 = 86_400_000_000_000;

/// What a split reads, which is everything, and where its columns come from.
///
/// # Errors
/// [`Failure::Invalid`] if it does not fit the table.
pub(crate) fn analyze(split: &Split, schema: &Schema) -> Result<Analysis, Failure> {
    let types = schema.columns.iter();
    let types = types.filter_map(|field| {
        let data_type = mlbuild_table::parse_type(&field.data_type)?;
        Some(Field::new(&field.name, data_type, true))
    });
    let types = ArrowSchema::new(types.collect::<Vec<_>>());
    Rule::of(split, &types)?;
    let from = |column: &str| Origin {
        input: INPUT.to_owned(),
        column: column.to_owned(),
    };
    let mut columns: std::collections::BTreeMap<String, BTreeSet<Origin>> = schema
        .columns
        .iter()
        .map(|field| (field.name.clone(), BTreeSet::from([from(&field.name)])))
        .collect();
    let decisive = split.columns().iter().map(|column| from(column));
    columns.insert(split.column().to_owned(), decisive.collect());
    Ok(Analysis {
        flows: Some(Flows {
            columns,
            rows: BTreeSet::new(),
        }),
        ..Analysis::default()
    })
}

/// Writes the table with its parts.
///
/// # Errors
/// [`Failure::Invalid`] if the split does not fit the table; [`Failure::Failed`] if a part is empty, or a value that decides
/// is null.
pub(crate) fn split(request: &Request<'_>, split: &Split) -> Result<Output, Failure> {
    let input = request.input(INPUT);
    let reader = TableReader::open(&input.path.join(TABLE_FILE))?;
    let schema = reader.schema().clone();
    let rows = reader.rows();
    let rule = Rule::of(split, &schema)?;
    let decision = Decision::new(split, rule, input, rows)?;
    let names = split.parts();
    let mut fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| (**field).clone())
        .collect();
    let data_type = match names {
        Some(_) => DataType::Utf8,
        None => DataType::Int64,
    };
    fields.push(Field::new(split.column(), data_type, true));
    let output = Arc::new(ArrowSchema::new(fields));
    let mut writer = TableWriter::create(request, &output, &request.output.join(TABLE_FILE))?;
    let mut counts = vec![0_u64; split.count()];
    let mut row = 0;
    for batch in reader {
        let batch = batch?;
        let parts = decision.parts(&batch, row)?;
        row += batch.num_rows() as u64;
        for part in &parts {
            counts[*part] += 1;
        }
        let column: ArrayRef = match &names {
            Some(names) => {
                let names = parts.iter().map(|part| Some(names[*part]));
                Arc::new(names.collect::<StringArray>())
            }
            None => Arc::new(Int64Array::from_iter_values(
                parts.iter().map(|part| *part as i64),
            )),
        };
        let mut columns = batch.columns().to_vec();
        columns.push(column);
        let batch = RecordBatch::try_new(output.clone(), columns).map_err(failure::arrow)?;
        writer.write(&batch)?;
    }
    refuse_empty(split, &counts, rows)?;
    let key = input.table.as_ref().map(|table| table.key.clone());
    Ok(Output {
        table: Some(writer.finish(&key.unwrap_or_default())?),
        metrics: counts
            .iter()
            .enumerate()
            .map(|(part, rows)| (format!("rows_{}", split.part_name(part)), *rows as f64))
            .collect(),
        ..Output::default()
    })
}

/// Nobody wants to learn from, or be measured on, nothing.
fn refuse_empty(split: &Split, counts: &[u64], rows: u64) -> Result<(), Failure> {
    let Some(part) = counts.iter().position(|count| *count == 0) else {
        return Ok(());
    };
    let what = match split.by {
        SplitBy::Hash {
            parts: Parts::Folds(_),
            ..
        } => format!("fold {part}"),
        _ => format!("part `{}`", split.part_name(part)),
    };
    let counts = counts.iter().enumerate();
    let counts = counts.map(|(part, count)| format!("{}: {count}", split.part_name(part)));
    let help = match split.by {
        SplitBy::Hash { .. } => {
            "there are too few rows or groups for so small a part: enlarge it, or try another `seed`"
        }
        SplitBy::Shares { .. } | SplitBy::Until { .. } => {
            "no row lies between the bounds of this part: rows of one instant stay together"
        }
    };
    let message = format!("{what} got none of {rows} rows");
    Err(Failure::Failed(
        Diagnostic::error("split::empty-part", message)
            .detail([counts.collect::<Vec<_>>().join(", ")])
            .help(help),
    ))
}

/// A split that fits a table: where the columns stand that decide.
struct Rule {
    columns: Vec<usize>,
    /// By time with given bounds: those, in the column's own unit, rising.
    until: Vec<i64>,
}

impl Rule {
    fn of(split: &Split, schema: &ArrowSchema) -> Result<Self, Failure> {
        let names = || {
            schema
                .fields()
                .iter()
                .map(|field| format!("`{}`", field.name()))
        };
        if schema.index_of(split.column()).is_ok() {
            let message = format!("the table has a column `{}` already", split.column());
            let diagnostic = Diagnostic::error("split::column-taken", message).help(
                "that is the column which a split adds: rename the one that is there in a query",
            );
            return Err(Failure::Invalid(diagnostic));
        }
        let mut columns = Vec::new();
        for column in split.columns() {
            let Ok(index) = schema.index_of(column) else {
                let message = format!("the table to split has no column `{column}`");
                let diagnostic = Diagnostic::error("split::unknown-column", message).help(format!(
                    "its columns are {}",
                    names().collect::<Vec<_>>().join(", ")
                ));
                return Err(Failure::Invalid(diagnostic));
            };
            let data_type = schema.field(index).data_type();
            let is_time = matches!(split.by, SplitBy::Shares { .. } | SplitBy::Until { .. });
            if is_time && !is_ordered(data_type) || !is_time && !is_hashed(data_type) {
                return Err(unfit(column, data_type, is_time));
            }
            columns.push(index);
        }
        let mut until = Vec::new();
        if let SplitBy::Until {
            column,
            until: bounds,
            ..
        } = &split.by
        {
            let data_type = schema.field(columns[0]).data_type();
            for (part, value) in bounds {
                until.push(bound(column, data_type, part, value)?);
            }
            if let Some(at) = until.windows(2).position(|pair| pair[0] >= pair[1]) {
                let (earlier, later) = (&bounds[at].0, &bounds[at + 1].0);
                let message = format!(
                    "part `{later}` ends no later than `{earlier}`, which stands before it"
                );
                let diagnostic = Diagnostic::error("split::order", message)
                    .help("name the parts in the order of time");
                return Err(Failure::Invalid(diagnostic));
            }
        }
        Ok(Self { columns, until })
    }
}

fn unfit(column: &str, data_type: &DataType, is_time: bool) -> Failure {
    let message = format!("column `{column}` is {}", type_name(data_type));
    Failure::Invalid(match is_time {
        true => Diagnostic::error("split::type", format!("{message}, and no time"))
            .help("`time` names a timestamp, a date, or an integer that rises with time; cast it in a query"),
        false => Diagnostic::error("split::type", format!("{message}, which does not tell rows apart here"))
            .help("rows are told apart by integers, texts, booleans, dates, timestamps and bytes; cast it in a query"),
    })
}

fn is_integer(data_type: &DataType) -> bool {
    data_type.is_integer()
}

fn is_ordered(data_type: &DataType) -> bool {
    let is_time = matches!(data_type, DataType::Timestamp(..) | DataType::Date32);
    // What is beyond 63 bits is no time.
    is_time || is_integer(data_type) && *data_type != DataType::UInt64
}

fn is_hashed(data_type: &DataType) -> bool {
    let plain = matches!(
        data_type,
        DataType::Utf8
            | DataType::Boolean
            | DataType::Binary
            | DataType::Timestamp(..)
            | DataType::Date32
    );
    plain || is_integer(data_type)
}

/// A declared bound in the unit of the column.
fn bound(column: &str, data_type: &DataType, part: &str, value: &Value) -> Result<i64, Failure> {
    let wrong = |what: &str| {
        let message = format!(
            "the end of part `{part}` is {value}, and column `{column}` is {}",
            type_name(data_type)
        );
        Failure::Invalid(Diagnostic::error("split::bound", message).help(what.to_owned()))
    };
    if is_integer(data_type) {
        let help = "write it as an integer, in the unit of the column";
        return value.as_i64().ok_or_else(|| wrong(help));
    }
    let help = "write it as an instant, as in `\"2024-01-31\"` or `\"2024-01-31T12:00:00Z\"`";
    let text = value.as_str().ok_or_else(|| wrong(help))?;
    let nanos = string_to_timestamp_nanos(text).map_err(|_| wrong(help))?;
    // What is before the bound in nanoseconds is before the next whole unit too.
    let unit = match data_type {
        DataType::Date32 => NANOS_A_DAY,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        _ => 1000,
    };
    Ok(nanos.div_euclid(unit) + i64::from(nanos.rem_euclid(unit) != 0))
}

/// What decides the part of a row.
enum Decision {
    /// The hash of some columns, compared with the shares added up; folds are equal shares.
    Hash {
        columns: Vec<usize>,
        names: Vec<String>,
        seed: Box<Encoder>,
        ends: Vec<f64>,
    },
    /// The first end that is later than a time.
    Time {
        column: usize,
        name: String,
        ends: Vec<i64>,
    },
}

impl Decision {
    fn new(split: &Split, rule: Rule, input: &InputFolder, rows: u64) -> Result<Self, Failure> {
        let Rule { columns, until } = rule;
        let names: Vec<String> = split.columns().to_vec();
        Ok(match &split.by {
            SplitBy::Hash { parts, seed, .. } => {
                let mut encoder = Encoder::new("mlbuild split v1");
                encoder.part("seed", &seed.to_le_bytes());
                Self::Hash {
                    columns,
                    names,
                    seed: Box::new(encoder),
                    ends: ends(parts),
                }
            }
            SplitBy::Shares { column, parts, .. } => Self::Time {
                column: columns[0],
                name: column.clone(),
                ends: quantiles(input, column, parts, rows)?,
            },
            SplitBy::Until { column, .. } => Self::Time {
                column: columns[0],
                name: column.clone(),
                ends: until,
            },
        })
    }

    /// The part of each row of a batch, whose first row is the table's `first`, from 0.
    fn parts(&self, batch: &RecordBatch, first: u64) -> Result<Vec<usize>, Failure> {
        match self {
            Self::Hash {
                columns,
                names,
                seed,
                ends,
            } => {
                for (index, name) in columns.iter().zip(names) {
                    refuse_null(batch.column(*index), name, first)?;
                }
                let mut value = Vec::new();
                let part = |row| {
                    let mut encoder = Encoder::clone(seed);
                    for index in columns {
                        value.clear();
                        encode(batch.column(*index), row, &mut value);
                        encoder.part("value", &value);
                    }
                    let digest = encoder.finish();
                    let (head, _) = digest.as_bytes().split_at(8);
                    let head = u64::from_le_bytes(head.try_into().expect("eight bytes"));
                    // The upper 53 bits are a float from 0 to below 1, exactly.
                    let place = (head >> 11) as f64 / (1_u64 << 53) as f64;
                    let part = ends.iter().position(|end| place < *end);
                    part.unwrap_or(ends.len())
                };
                Ok((0..batch.num_rows()).map(part).collect())
            }
            Self::Time { column, name, ends } => {
                let column = batch.column(*column);
                refuse_null(column, name, first)?;
                let part = |time| {
                    ends.iter()
                        .position(|end| time < *end)
                        .unwrap_or(ends.len())
                };
                Ok(times(column).into_iter().map(part).collect())
            }
        }
    }
}

/// The ends of all parts but the last, which ends at 1.
fn ends(parts: &Parts) -> Vec<f64> {
    match parts {
        Parts::Folds(folds) => (1..*folds)
            .map(|fold| f64::from(fold) / f64::from(*folds))
            .collect(),
        Parts::Shares(shares) => shared(shares),
    }
}

fn shared(shares: &[(String, f64)]) -> Vec<f64> {
    let sums = shares.iter().scan(0.0, |sum, (_, share)| {
        *sum += share;
        Some(*sum)
    });
    sums.take(shares.len().saturating_sub(1)).collect()
}

/// The times at which the parts end: so many rows lie before each as its share says, as far as rows of one instant allow.
fn quantiles(
    input: &InputFolder,
    column: &str,
    shares: &[(String, f64)],
    rows: u64,
) -> Result<Vec<i64>, Failure> {
    let reader = TableReader::open_columns(&input.path.join(TABLE_FILE), &[column])?;
    let mut all = Vec::with_capacity(usize::try_from(rows).unwrap_or(0));
    for batch in reader {
        let batch = batch?;
        refuse_null(batch.column(0), column, all.len() as u64)?;
        all.extend(times(batch.column(0)));
    }
    all.sort_unstable();
    let end = |share: f64| {
        let at = (share * all.len() as f64).round() as usize;
        all.get(at.min(all.len().saturating_sub(1)))
            .copied()
            .unwrap_or(i64::MAX)
    };
    Ok(shared(shares).into_iter().map(end).collect())
}

fn refuse_null(column: &ArrayRef, name: &str, first: u64) -> Result<(), Failure> {
    let Some(row) = (0..column.len()).find(|row| column.is_null(*row)) else {
        return Ok(());
    };
    let message = format!("column `{name}` is null in row {}", first + row as u64 + 1);
    Err(Failure::Failed(
        Diagnostic::error("split::null", message)
            .help("what decides a row's part must be known: leave such rows out, or `coalesce` them, in a query"),
    ))
}

/// The values of a column that [`is_ordered`], in its own unit.
fn times(column: &ArrayRef) -> Vec<i64> {
    (0..column.len())
        .map(|row| whole(column, row) as i64)
        .collect()
}

/// The value of an integer, a date in days or a timestamp in its unit.
fn whole(column: &ArrayRef, row: usize) -> i128 {
    match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).into(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => column
            .as_primitive::<TimestampNanosecondType>()
            .value(row)
            .into(),
        _ => column
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .into(),
    }
}

/// Appends a value as it is hashed: a letter for its kind, then its bytes. Integers of all widths are alike, and timestamps
/// of all units.
fn encode(column: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    let (kind, number) = match column.data_type() {
        DataType::Utf8 => {
            out.push(b't');
            return out.extend(column.as_string::<i32>().value(row).as_bytes());
        }
        DataType::Binary => {
            out.push(b'x');
            return out.extend(column.as_binary::<i32>().value(row));
        }
        DataType::Boolean => (b'b', i128::from(column.as_boolean().value(row))),
        DataType::Date32 => (b'd', whole(column, row)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (b'm', whole(column, row)),
        DataType::Timestamp(..) => (b'm', whole(column, row) * 1000),
        _ => (b'i', whole(column, row)),
    };
    out.push(kind);
    out.extend(number.to_le_bytes());
}
