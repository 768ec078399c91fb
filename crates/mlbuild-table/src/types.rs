//! Canonical types: one for all layouts of the same values.
//!
//! Parquet itself is the measure: a canonical type is one that comes back from a Parquet file that carries no arrow
//! schema. What Parquet does not hold (durations, intervals, maps, unions) is refused rather than approximated.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::TableError;

/// The type that a column of `data_type` has in a table; `None` if a table cannot hold it.
///
/// Canonical types are their own canonical type.
pub fn canonical_type(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match data_type {
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::UInt8
        | T::UInt16
        | T::UInt32
        | T::UInt64
        | T::Float32
        | T::Float64
        | T::Date32 => data_type.clone(),
        T::Float16 => T::Float32,
        T::Date64 => T::Date32,
        T::Time32(_) => T::Time64(TimeUnit::Microsecond),
        T::Time64(unit) => T::Time64(at_least_micros(*unit)),
        // Parquet keeps the instant, not the name of the zone.
        T::Timestamp(unit, zone) => {
            T::Timestamp(at_least_micros(*unit), zone.as_ref().map(|_| "UTC".into()))
        }
        // SQL's bare `null` is text when nothing says otherwise.
        T::Null | T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => {
            // Parquet knows no negative scale.
            if *scale < 0 {
                return None;
            }
            if *precision <= 38 {
                T::Decimal128(*precision, *scale)
            } else {
                T::Decimal256(*precision, *scale)
            }
        }
        T::Dictionary(_, values) => canonical_type(values)?,
        T::RunEndEncoded(_, values) => canonical_type(values.data_type())?,
        T::List(item)
        | T::LargeList(item)
        | T::ListView(item)
        | T::LargeListView(item)
        | T::FixedSizeList(item, _) => T::new_list(canonical_type(item.data_type())?, true),
        T::Struct(fields) if !fields.is_empty() => T::Struct(canonical_fields(fields)?),
        T::Struct(_) | T::Duration(_) | T::Interval(_) | T::Map(..) | T::Union(..) => return None,
    })
}

/// Parquet has milliseconds too, but what a second holds should not have a third type.
fn at_least_micros(unit: TimeUnit) -> TimeUnit {
    match unit {
        TimeUnit::Nanosecond => TimeUnit::Nanosecond,
        TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond => TimeUnit::Microsecond,
    }
}

fn canonical_fields(fields: &Fields) -> Option<Fields> {
    let canonical = |field: &Arc<Field>| {
        Some(Field::new(
            field.name(),
            canonical_type(field.data_type())?,
            true,
        ))
    };
    fields.iter().map(canonical).collect()
}

/// The schema that a table with these columns has: canonical types, every column nullable, no metadata.
///
/// # Errors
/// [`TableError::NoColumns`], [`TableError::DuplicateColumn`], [`TableError::Type`].
pub fn canonical_schema(schema: &Schema) -> Result<SchemaRef, TableError> {
    if schema.fields().is_empty() {
        return Err(TableError::NoColumns);
    }
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if !seen.insert(field.name()) {
            return Err(TableError::DuplicateColumn(field.name().clone()));
        }
        let data_type = canonical_type(field.data_type()).ok_or_else(|| TableError::Type {
            column: field.name().clone(),
            data_type: type_name(field.data_type()),
        })?;
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The name of a type: what [`mlbuild_action::Column::data_type`] holds. For canonical types `spec/table.md` fixes it;
/// for others it serves diagnostics.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(unit, None) => format!("Timestamp({})", unit_name(unit)),
        DataType::Timestamp(unit, Some(zone)) => format!("Timestamp({}, {zone})", unit_name(unit)),
        DataType::Time64(unit) => format!("Time64({})", unit_name(unit)),
        DataType::Decimal128(precision, scale) => format!("Decimal128({precision}, {scale})"),
        DataType::Decimal256(precision, scale) => format!("Decimal256({precision}, {scale})"),
        DataType::List(item) => format!("List({})", type_name(item.data_type())),
        DataType::Struct(fields) => {
            // Quoted as in JSON, so that no two structs print alike.
            let fields: Vec<_> = fields
                .iter()
                .map(|field| {
                    let name = serde_json::Value::from(field.name().as_str());
                    format!("{name}: {}", type_name(field.data_type()))
                })
                .collect();
            format!("Struct({})", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// The canonical type of this name: the inverse of [`type_name`] on canonical types.
pub fn parse_type(name: &str) -> Option<DataType> {
    let mut rest = name;
    let data_type = parse(&mut rest)?;
    // One type has one name: what else would parse is not one.
    (rest.is_empty() && type_name(&data_type) == name).then_some(data_type)
}

/// Takes one type off the front of `rest`.
fn parse(rest: &mut &str) -> Option<DataType> {
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    Some(match word {
        "Boolean" => DataType::Boolean,
        "Int8" => DataType::Int8,
        "Int16" => DataType::Int16,
        "Int32" => DataType::Int32,
        "Int64" => DataType::Int64,
        "UInt8" => DataType::UInt8,
        "UInt16" => DataType::UInt16,
        "UInt32" => DataType::UInt32,
        "UInt64" => DataType::UInt64,
        "Float32" => DataType::Float32,
        "Float64" => DataType::Float64,
        "Utf8" => DataType::Utf8,
        "Binary" => DataType::Binary,
        "Date32" => DataType::Date32,
        "Time64" => DataType::Time64(parse_unit(arguments(rest)?)?),
        "Timestamp" => {
            let arguments = arguments(rest)?;
            let (unit, zone) = match arguments.split_once(", ") {
                None => (arguments, None),
                Some((unit, zone)) => (unit, Some(zone.into())),
            };
            DataType::Timestamp(parse_unit(unit)?, zone)
        }
        "Decimal128" | "Decimal256" => {
            let (precision, scale) = arguments(rest)?.split_once(", ")?;
            let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
            match word {
                "Decimal128" => DataType::Decimal128(precision, scale),
                _ => DataType::Decimal256(precision, scale),
            }
        }
        "List" => {
            take(rest, "(")?;
            let item = parse(rest)?;
            take(rest, ")")?;
            DataType::new_list(item, true)
        }
        "Struct" => {
            take(rest, "(")?;
            let mut fields = Vec::new();
            loop {
                let mut names = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let name = names.next()?.ok()?;
                *rest = &rest[names.byte_offset()..];
                take(rest, ": ")?;
                fields.push(Field::new(name, parse(rest)?, true));
                if take(rest, ", ").is_none() {
                    break;
                }
            }
            take(rest, ")")?;
            DataType::Struct(fields.into())
        }
        _ => return None,
    })
}

fn take(rest: &mut &str, token: &str) -> Option<()> {
    *rest = rest.strip_prefix(token)?;
    Some(())
}

/// Takes `(...)` without parentheses in it off the front of `rest`.
fn arguments<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (arguments, after) = rest.strip_prefix('(')?.split_once(')')?;
    *rest = after;
    Some(arguments)
}

fn parse_unit(name: &str) -> Option<TimeUnit> {
    let units = [TimeUnit::Microsecond, TimeUnit::Nanosecond];
    units.into_iter().find(|unit| unit_name(unit) == name)
}

fn unit_name(unit: &TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "Second",
        TimeUnit::Millisecond => "Millisecond",
        TimeUnit::Microsecond => "Microsecond",
        TimeUnit::Nanosecond => "Nanosecond",
    }
}

/// The batch with the columns of `schema`, which is [`canonical_schema`] of the batch's.
pub(crate) fn canonicalise(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, TableError> {
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| canonical_array(field, array))
        .collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)
        .expect("every column was cast to its field's type"))
}

fn canonical_array(field: &Field, array: &ArrayRef) -> Result<ArrayRef, TableError> {
    if array.data_type() == field.data_type() {
        return Ok(array.clone());
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, field.data_type(), &options).map_err(|error| TableError::Value {
        column: field.name().clone(),
        data_type: type_name(field.data_type()),
        reason: error.to_string(),
    })
}
