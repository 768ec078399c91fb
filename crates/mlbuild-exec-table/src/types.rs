//! The types that a column can have, and how everything else becomes one of them.
//!
//! A table's file carries no Arrow schema, so a type is canonical if plain Parquet gives it back. Queries and foreign
//! files yield many more: views, dictionaries, large offsets, other time units. [`canonical`] maps each to the one type
//! that holds the same values, so equal content has equal types, and [`batch`] converts the values. Every column, and
//! every field in it, may hold nulls. `spec/table.md` has the list.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray, RecordBatch, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float32Type, Float64Type, Schema, SchemaRef,
    TimeUnit,
};
use arrow::error::ArrowError;

/// A type that no table can hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unsupported(pub(crate) DataType);

/// The type that columns of `data_type` are stored as.
///
/// # Errors
/// If there is none: durations, intervals, maps, unions.
pub(crate) fn canonical(data_type: &DataType) -> Result<DataType, Unsupported> {
    use DataType as T;
    Ok(match data_type {
        T::Boolean | T::Date32 | T::Float32 | T::Float64 => data_type.clone(),
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => data_type.clone(),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => data_type.clone(),
        T::Float16 => T::Float32,
        // A column of nothing but nulls has no type of its own.
        T::Null | T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date64 => T::Date32,
        T::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Nanosecond => TimeUnit::Nanosecond,
                TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond => {
                    TimeUnit::Microsecond
                }
            };
            // Parquet keeps the instant, not the name of the zone.
            T::Timestamp(unit, zone.as_ref().map(|_| "UTC".into()))
        }
        T::Time32(_) | T::Time64(TimeUnit::Microsecond) => T::Time64(TimeUnit::Microsecond),
        T::Time64(_) => T::Time64(TimeUnit::Nanosecond),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale) => T::Decimal128(*precision, *scale),
        T::Decimal256(precision, scale) if *precision <= 38 => T::Decimal128(*precision, *scale),
        T::Decimal256(..) => data_type.clone(),
        T::Dictionary(_, values) => canonical(values)?,
        T::RunEndEncoded(_, values) => canonical(values.data_type())?,
        T::List(item)
        | T::LargeList(item)
        | T::ListView(item)
        | T::LargeListView(item)
        | T::FixedSizeList(item, _) => T::List(field("item", item.data_type())?),
        T::Struct(fields) if !fields.is_empty() => T::Struct(
            fields
                .iter()
                .map(|f| field(f.name(), f.data_type()))
                .collect::<Result<_, _>>()?,
        ),
        T::Struct(_) | T::Duration(_) | T::Interval(_) | T::Map(..) | T::Union(..) => {
            return Err(Unsupported(data_type.clone()));
        }
    })
}

fn field(name: &str, data_type: &DataType) -> Result<FieldRef, Unsupported> {
    Ok(Arc::new(Field::new(name, canonical(data_type)?, true)))
}

/// The schema that tables of `schema` are stored with: canonical types, nullable, no metadata.
///
/// # Errors
/// The first column that cannot be stored, by name.
pub(crate) fn canonical_schema(schema: &Schema) -> Result<SchemaRef, (String, Unsupported)> {
    let fields: Result<Vec<_>, _> = schema
        .fields()
        .iter()
        .map(|f| field(f.name(), f.data_type()).map_err(|why| (f.name().clone(), why)))
        .collect();
    Ok(Arc::new(Schema::new(fields?)))
}

/// The name of a canonical type, as artifacts carry it and diagnostics print it. Types that are not canonical print as
/// the one they become, where there is one.
pub(crate) fn name(data_type: &DataType) -> String {
    use DataType as T;
    let canonical = canonical(data_type).unwrap_or_else(|_| data_type.clone());
    match &canonical {
        T::Timestamp(unit, None) => format!("Timestamp({})", unit_name(*unit)),
        T::Timestamp(unit, Some(zone)) => format!("Timestamp({}, {zone})", unit_name(*unit)),
        T::Time64(unit) => format!("Time64({})", unit_name(*unit)),
        T::Decimal128(precision, scale) => format!("Decimal128({precision}, {scale})"),
        T::Decimal256(precision, scale) => format!("Decimal256({precision}, {scale})"),
        T::List(item) => format!("List({})", name(item.data_type())),
        T::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                // Quoted as in JSON, so that no two structs print alike.
                .map(|f| {
                    format!(
                        "{}: {}",
                        serde_json::Value::from(f.name().as_str()),
                        name(f.data_type())
                    )
                })
                .collect();
            format!("Struct({})", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "Second",
        TimeUnit::Millisecond => "Millisecond",
        TimeUnit::Microsecond => "Microsecond",
        TimeUnit::Nanosecond => "Nanosecond",
    }
}

/// Converts a batch to `schema`, which is canonical and has as many columns.
///
/// # Errors
/// If a value does not fit: a time that overflows its unit.
pub(crate) fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns: Result<Vec<_>, _> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| array(column, field.data_type()))
        .collect();
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns?, &rows)
}

/// Converts an array to a canonical type.
pub(crate) fn array(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let array = match array.data_type() == data_type {
        true => array.clone(),
        false => cast_with_options(array, data_type, &strict)?,
    };
    Ok(one_nan(array))
}

/// Gives every NaN the same bits: which of the many a computation yields depends on the processor.
fn one_nan(array: ArrayRef) -> ArrayRef {
    fn quiet<T: ArrowPrimitiveType>(
        array: &PrimitiveArray<T>,
        is_nan: fn(T::Native) -> bool,
        nan: T::Native,
    ) -> Option<ArrayRef> {
        let any = array.values().iter().any(|&value| is_nan(value));
        any.then(|| {
            let quiet = |value| if is_nan(value) { nan } else { value };
            Arc::new(array.unary::<_, T>(quiet)) as ArrayRef
        })
    }
    let replaced = match array.data_type() {
        DataType::Float32 => quiet::<Float32Type>(array.as_primitive(), f32::is_nan, f32::NAN),
        DataType::Float64 => quiet::<Float64Type>(array.as_primitive(), f64::is_nan, f64::NAN),
        DataType::List(item) if has_floats(item.data_type()) => {
            let (item, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            Some(Arc::new(ListArray::new(item, offsets, one_nan(values), nulls)) as ArrayRef)
        }
        DataType::Struct(fields) if fields.iter().any(|f| has_floats(f.data_type())) => {
            let (fields, columns, nulls) = array.as_struct().clone().into_parts();
            let columns = columns.into_iter().map(one_nan).collect();
            Some(Arc::new(StructArray::new(fields, columns, nulls)) as ArrayRef)
        }
        _ => None,
    };
    replaced.unwrap_or(array)
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(item) => has_floats(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_floats(f.data_type())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::new_null_array;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::arrow::arrow_writer::ArrowWriterOptions;

    use super::*;

    /// What makes a type canonical: Parquet without an Arrow schema gives it back.
    #[test]
    fn canonical_types_survive_plain_parquet() {
        use DataType as T;
        let item = |data_type| Arc::new(Field::new("x", data_type, false));
        let ns = TimeUnit::Nanosecond;
        for data_type in [
            T::Boolean,
            T::Int8,
            T::UInt16,
            T::UInt64,
            T::Float16,
            T::Float64,
            T::Null,
            T::Utf8View,
            T::LargeBinary,
            T::FixedSizeBinary(4),
            T::Date64,
            T::Timestamp(TimeUnit::Second, None),
            T::Timestamp(ns, Some("Europe/Berlin".into())),
            T::Time32(TimeUnit::Second),
            T::Time64(ns),
            T::Decimal32(5, 2),
            T::Decimal128(20, 2),
            T::Decimal256(20, 2),
            T::Decimal256(50, 2),
            T::Dictionary(Box::new(T::Int8), Box::new(T::LargeUtf8)),
            T::LargeList(item(T::Utf8View)),
            T::FixedSizeList(item(T::Struct(vec![item(T::Int64)].into())), 2),
        ] {
            let stored = canonical(&data_type).unwrap();
            assert_eq!(canonical(&stored).as_ref(), Ok(&stored));
            let schema = Arc::new(Schema::new(vec![Field::new("c", stored.clone(), true)]));
            let values = array(&new_null_array(&data_type, 2), &stored).unwrap();
            let rows = RecordBatch::try_new(schema.clone(), vec![values]).unwrap();
            let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.parquet");
            let file = std::fs::File::create(&path).unwrap();
            let mut writer = ArrowWriter::try_new_with_options(file, schema, options).unwrap();
            writer.write(&rows).unwrap();
            writer.close().unwrap();
            let reader =
                ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap())
                    .unwrap();
            assert_eq!(reader.schema().field(0).data_type(), &stored, "{data_type}");
        }
        assert!(canonical(&T::Duration(ns)).is_err());
    }

    #[test]
    fn every_nan_is_the_same() {
        let negative = f64::from_bits(0xfff8_0000_0000_0001);
        let floats: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![negative, -0.0]));
        let one = array(&floats, &DataType::Float64).unwrap();
        let bits: Vec<u64> = one
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|v| v.to_bits())
            .collect();
        assert_eq!(bits, [f64::NAN.to_bits(), (-0.0_f64).to_bits()]);
    }
}
