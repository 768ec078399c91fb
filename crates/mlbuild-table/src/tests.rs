//! The format's promises: bytes as specified, the same for any batches and layouts, and read back as written.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::*;
use mlbuild_action::Table;
use mlbuild_digest::{Digest, Encoder};

use crate::*;

/// Writes the batches and returns the table with the file's bytes.
fn write(batches: &[RecordBatch]) -> (Table, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let mut writer = TableWriter::create(&path, &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    (writer.finish(&[]).unwrap(), fs::read(path).unwrap())
}

fn batch(column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap()
}

fn digest(column: ArrayRef) -> Digest {
    write(&[batch(column)]).0.columns[0].digest
}

/// The digest of one block, from the bytes that the specification gives.
fn specified(data_type: &str, rows: u64, values: &[&[u8]]) -> Digest {
    Encoder::new("mlbuild column v1")
        .part("type", data_type.as_bytes())
        .part("rows", &rows.to_le_bytes())
        .part("values", &values.concat())
        .finish()
}

fn lists(rows: Vec<Option<Vec<Option<i64>>>>) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows))
}

#[test]
fn the_bytes_of_a_block_are_those_of_the_specification() {
    let ints: ArrayRef = Arc::new(Int16Array::from(vec![Some(1), None, Some(-2)]));
    assert_eq!(
        digest(ints),
        specified("Int16", 3, &[&[1, 0b101], &[1, 0, 0, 0, 0xfe, 0xff]])
    );

    let floats: ArrayRef = Arc::new(Float32Array::from(vec![1.0, -f32::NAN]));
    assert_eq!(
        digest(floats),
        specified("Float32", 2, &[&[0], &[0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f]])
    );

    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), None, Some("c")]));
    let lengths = [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(
        digest(texts),
        specified("Utf8", 3, &[&[1, 0b101], &lengths, b"abc"])
    );

    let bools: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(true)]));
    assert_eq!(
        digest(bools),
        specified("Boolean", 3, &[&[1, 0b101], &[0b101]])
    );

    let rows = vec![Some(vec![Some(5), None]), None, Some(vec![])];
    let lengths = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let elements = [1, 0b01, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        digest(lists(rows)),
        specified("List(Int64)", 3, &[&[1, 0b101], &lengths, &elements])
    );
}

#[test]
fn a_golden_digest_does_not_move() {
    let values: ArrayRef = Arc::new(
        (0..20_000)
            .map(|i| (i % 7 > 0).then_some(i))
            .collect::<Int64Array>(),
    );
    assert_eq!(
        digest(values).to_string(),
        "76d9b85054482ff25ebfe9a0d1264a2bbdc292d7652dee3911c682dbc7e48d59"
    );
}

#[test]
fn an_empty_table_has_a_schema_and_digests() {
    let (table, _) = write(&[batch(Arc::new(Int64Array::from(Vec::<i64>::new())))]);
    assert_eq!(table.rows, 0);
    let expected = Encoder::new("mlbuild column v1")
        .part("type", b"Int64")
        .finish();
    assert_eq!(table.columns[0].digest, expected);
}

/// Pseudo-random rows with every kind of canonical type, from a linear congruential generator.
fn any_rows(rows: usize, seed: u64) -> RecordBatch {
    let mut state = seed;
    let mut next = move |bound: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % bound
    };
    let mut option = |bound: u64| (next(5) > 0).then(|| next(bound) as i64);
    let ints: Int64Array = (0..rows).map(|_| option(1000)).collect();
    let floats: Float64Array = (0..rows)
        .map(|_| option(9).map(|i| i as f64 / 3.0))
        .collect();
    let bools: BooleanArray = (0..rows).map(|_| option(2).map(|i| i == 1)).collect();
    let texts: StringArray = (0..rows)
        .map(|_| option(12).map(|i| "abcdefghijkl"[..i as usize].to_owned()))
        .collect();
    let times = TimestampMicrosecondArray::from_iter((0..rows).map(|_| option(1 << 40)))
        .with_timezone("UTC");
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..rows).map(|_| option(6).map(|n| (0..n).map(|_| option(100)).collect::<Vec<_>>())),
    );
    let inner: ArrayRef = Arc::new((0..rows).map(|_| option(50)).collect::<Int64Array>());
    let nulls: NullBuffer = (0..rows).map(|_| option(2).is_some()).collect();
    let fields = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
    let nanos = TimestampNanosecondArray::from_iter((0..rows).map(|_| option(1 << 40)));
    let structs = StructArray::new(fields, vec![inner], Some(nulls));
    let columns: [(&str, ArrayRef); 8] = [
        ("ints", Arc::new(ints)),
        ("floats", Arc::new(floats)),
        ("bools", Arc::new(bools)),
        ("texts", Arc::new(texts)),
        ("times", Arc::new(times)),
        ("lists", Arc::new(lists)),
        ("structs", Arc::new(structs)),
        ("nanos", Arc::new(nanos)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

#[test]
fn batch_boundaries_do_not_show() {
    let rows = any_rows(20_000, 1);
    let expected = write(std::slice::from_ref(&rows));
    for sizes in [[1_usize, 777].as_slice(), &[8192], &[8191, 2], &[0, 19_999]] {
        let mut batches = Vec::new();
        let mut from = 0;
        for size in sizes.iter().cycle() {
            let size = (*size).min(rows.num_rows() - from);
            batches.push(rows.slice(from, size));
            from += size;
            if from == rows.num_rows() {
                break;
            }
        }
        assert!(write(&batches) == expected, "{sizes:?}");
    }
}

#[test]
fn a_table_is_read_back_as_it_was_written() {
    let rows = any_rows(10_000, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let mut writer = TableWriter::create(&path, &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    assert_eq!(writer.rows(), 10_000);
    writer.finish(&["ints".to_owned()]).unwrap();

    let reader = TableReader::open(&path).unwrap();
    assert_eq!(reader.rows(), 10_000);
    assert_eq!(*reader.schema(), canonical_schema(&rows.schema()).unwrap());
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(concat_batches(&rows.schema(), &batches).unwrap(), rows);

    let reader = TableReader::open_columns(&path, &["texts", "ints"]).unwrap();
    assert_eq!(reader.schema().field(0).name(), "texts");
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let schema = batches[0].schema();
    assert_eq!(
        concat_batches(&schema, &batches).unwrap(),
        rows.project(&[3, 0]).unwrap()
    );
}

#[test]
fn layouts_of_the_same_values_are_one_table() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a"),
        None,
        Some("bc"),
        Some("a"),
    ]));
    let expected = write(&[batch(texts.clone())]);
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    for layout in [DataType::Utf8View, DataType::LargeUtf8, dictionary] {
        let other = cast(&texts, &layout).unwrap();
        assert!(write(&[batch(other)]) == expected, "{layout}");
    }

    let lists = lists(vec![
        Some(vec![Some(1), Some(2)]),
        None,
        Some(vec![Some(3), None]),
    ]);
    let item = Arc::new(Field::new("element", DataType::Int64, true));
    let large = cast(&lists, &DataType::LargeList(item)).unwrap();
    assert!(write(&[batch(large)]) == write(&[batch(lists)]));

    let times: ArrayRef =
        Arc::new(TimestampMillisecondArray::from(vec![5]).with_timezone("+02:00"));
    let micros: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![5000]).with_timezone("UTC"));
    assert!(write(&[batch(times)]) == write(&[batch(micros)]));
}

#[test]
fn what_nulls_hide_does_not_show() {
    let hidden = ListArray::new(
        Arc::new(Field::new_list_field(DataType::Int64, true)),
        OffsetBuffer::new(ScalarBuffer::from(vec![0, 1, 3, 4])),
        Arc::new(Int64Array::from(vec![1, 8, 9, 2])),
        Some(NullBuffer::from(vec![true, false, true])),
    );
    let plain = lists(vec![Some(vec![Some(1)]), None, Some(vec![Some(2)])]);
    assert_eq!(digest(Arc::new(hidden)), digest(plain));

    let fields = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
    let of = |values: Vec<i64>| -> ArrayRef {
        let nulls = Some(NullBuffer::from(vec![true, false]));
        Arc::new(StructArray::new(
            fields.clone(),
            vec![Arc::new(Int64Array::from(values))],
            nulls,
        ))
    };
    assert_eq!(digest(of(vec![1, 2])), digest(of(vec![1, 3])));
}

#[test]
fn another_value_order_or_type_is_another_digest() {
    let digests = [
        digest(Arc::new(Int64Array::from(vec![1, 2]))),
        digest(Arc::new(Int64Array::from(vec![2, 1]))),
        digest(Arc::new(Int64Array::from(vec![1, 2, 0]))),
        digest(Arc::new(Int64Array::from(vec![Some(1), Some(2), None]))),
        digest(Arc::new(UInt64Array::from(vec![1, 2]))),
        digest(Arc::new(Float64Array::from(vec![0.0]))),
        digest(Arc::new(Float64Array::from(vec![-0.0]))),
        digest(Arc::new(StringArray::from(vec!["ab", "c"]))),
        digest(Arc::new(StringArray::from(vec!["a", "bc"]))),
        digest(lists(vec![Some(vec![Some(1)]), Some(vec![])])),
        digest(lists(vec![Some(vec![]), Some(vec![Some(1)])])),
        digest(lists(vec![None, Some(vec![Some(1)])])),
    ];
    for (i, a) in digests.iter().enumerate() {
        assert!(digests[..i].iter().all(|b| a != b), "{i}");
    }
}

fn error(column: ArrayRef) -> String {
    let folder = tempfile::tempdir().unwrap();
    let batch = batch(column);
    TableWriter::create(&folder.path().join(FILE_NAME), &batch.schema())
        .and_then(|mut writer| writer.write(&batch))
        .unwrap_err()
        .to_string()
}

#[test]
fn types_print_as_specified() {
    let fields = Fields::from(vec![Field::new("a \"b\"", DataType::Date32, true)]);
    let zone = Some("+02:00".into());
    for (data_type, name) in [
        (
            DataType::Timestamp(TimeUnit::Second, zone),
            "Timestamp(Microsecond, UTC)",
        ),
        (
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            "Timestamp(Nanosecond)",
        ),
        (DataType::Time32(TimeUnit::Second), "Time64(Microsecond)"),
        (DataType::Decimal64(5, 2), "Decimal128(5, 2)"),
        (
            DataType::new_large_list(DataType::Utf8View, false),
            "List(Utf8)",
        ),
        (DataType::Struct(fields), r#"Struct("a \"b\"": Date32)"#),
    ] {
        assert_eq!(type_name(&canonical_type(&data_type).unwrap()), name);
    }
}

#[test]
fn a_types_name_says_which_it_is() {
    let nested = r#"Struct("a, \"b\")": List(Struct("x": Decimal128(5, 2), "y": Utf8)), "": Time64(Nanosecond))"#;
    for name in [
        "Boolean",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float32",
        "Float64",
        "Utf8",
        "Binary",
        "Date32",
        "Decimal128(38, 0)",
        "Decimal256(40, 3)",
        "Time64(Microsecond)",
        "Timestamp(Nanosecond)",
        "Timestamp(Microsecond, UTC)",
        "List(List(Date32))",
        nested,
    ] {
        let data_type = parse_type(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(type_name(&data_type), name);
        assert_eq!(canonical_type(&data_type), Some(data_type));
    }
    for name in [
        "",
        "Int",
        "Int64 ",
        "List(Int64",
        "List()",
        "Struct()",
        "Timestamp(Second)",
        "List(Int64))",
    ] {
        assert_eq!(parse_type(name), None, "{name}");
    }
}

#[test]
fn what_a_table_cannot_hold_is_an_error() {
    assert_eq!(
        error(Arc::new(DurationSecondArray::from(vec![1]))),
        "column `x` has type Duration(s), which a table cannot hold"
    );
    assert!(error(Arc::new(TimestampSecondArray::from(vec![i64::MAX]))).contains("Overflow"));
}

#[test]
fn a_column_that_is_not_there_is_an_error_that_lists_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let rows = batch(Arc::new(Int64Array::from(vec![1])));
    let writer = TableWriter::create(&path, &rows.schema()).unwrap();
    let expected = "no column `y`; there are `x: Int64`";
    assert_eq!(
        TableReader::open_columns(&path, &["y"])
            .err()
            .unwrap()
            .to_string()
            .split(':')
            .next(),
        Some("cannot read the table")
    );
    let finished = writer.finish(&["y".to_owned()]);
    assert_eq!(finished.unwrap_err().to_string(), expected);

    let path = folder.path().join("whole.parquet");
    TableWriter::create(&path, &rows.schema())
        .unwrap()
        .finish(&[])
        .unwrap();
    assert_eq!(
        TableReader::open_columns(&path, &["y"])
            .err()
            .unwrap()
            .to_string(),
        expected
    );
}

#[test]
fn a_missing_or_broken_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| TableReader::open(path).err().unwrap();
    assert!(matches!(
        open(&folder.path().join("none")),
        TableError::Io { doing: "open", .. }
    ));
    let (_, bytes) = write(&[any_rows(100, 3)]);
    let path = folder.path().join("cut");
    for length in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(
            matches!(open(&path), TableError::Parquet { .. }),
            "{length}"
        );
    }
}

#[test]
fn a_batch_with_other_columns_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ints = batch(Arc::new(Int64Array::from(vec![1])));
    let texts = batch(Arc::new(StringArray::from(vec!["1"])));
    let mut writer = TableWriter::create(&folder.path().join(FILE_NAME), &ints.schema()).unwrap();
    assert_eq!(
        writer.write(&texts).unwrap_err().to_string(),
        "a batch has the columns (x: Utf8), not (x: Int64)"
    );
}

#[test]
fn a_projection_has_the_columns_asked_for_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = [FILE_NAME, "some.parquet"].map(|name| folder.path().join(name));
    let rows = any_rows(20_000, 7);
    let mut writer = TableWriter::create(&from, &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish(&[]).unwrap();
    let schema = rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let reversed = names.iter().rev().copied().collect();
    for columns in [reversed, vec![names[0]]] {
        let _ = fs::remove_file(&to);
        project(&from, &to, &columns).unwrap();
        let read = |reader: TableReader| reader.map(Result::unwrap).collect::<Vec<_>>();
        let copied = read(TableReader::open(&to).unwrap());
        let expected = read(TableReader::open_columns(&from, &columns).unwrap());
        assert_eq!(copied, expected);
    }
    let missing = project(&from, &to, &["nothing"]).unwrap_err();
    assert!(matches!(missing, TableError::NoColumn { .. }));
}
