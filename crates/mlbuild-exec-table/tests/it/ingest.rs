//! Sources: what files become, and which are refused.

use std::collections::BTreeMap;

use mlbuild_action::{Failure, Format, Ingest, Work};

use crate::harness::{Bench, diagnostic, ingest};

fn refused(format: Format, files: &[(&str, &[u8])]) -> String {
    match Bench::files(files).run(&ingest(format)) {
        Err(Failure::Invalid(diagnostic)) => diagnostic.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(ran) => panic!("{:?}", ran.rows()),
    }
}

#[test]
fn types_come_from_all_rows_of_all_files() {
    let bench = Bench::files(&[
        ("b.csv", b"i,f,b,d,t,z,s,n\n2,2,FALSE,2024-02-01,2024-02-01,2024-02-01T00:00:00+01:00,x,\n"),
        ("a.csv", b"i,f,b,d,t,z,s,n\r\n1,1.5,true,2024-01-01,2024-01-01 10:00:00,2024-01-01T00:00:00Z,,\r\n,,,,,,\"\",\n"),
    ]);
    let ran = bench.run(&ingest(Format::Csv)).unwrap();
    assert_eq!(
        ran.columns(),
        [
            "i Int64",
            "f Float64",
            "b Boolean",
            "d Date32",
            "t Timestamp(Microsecond)",
            "z Timestamp(Microsecond, UTC)",
            "s Utf8",
            "n Utf8"
        ]
    );
    assert_eq!(
        ran.rows(),
        [
            "1|1.5|true|2024-01-01|2024-01-01T10:00:00|2024-01-01T00:00:00Z|null|null",
            "null|null|null|null|null|null||null",
            "2|2.0|false|2024-02-01|2024-02-01T00:00:00|2024-01-31T23:00:00Z|x|null",
        ]
    );
}

#[test]
fn quotes_hold_delimiters_quotes_and_line_ends() {
    let bench = Bench::files(&[(
        "a.csv",
        b"\xef\xbb\xbfa,\"b c\"\n\"x,\"\"y\"\"\n\",5\" disk\n\n1,\"2\"",
    )]);
    let ran = bench.run(&ingest(Format::Csv)).unwrap();
    assert_eq!(ran.columns(), ["a Utf8", "b c Utf8"]);
    assert_eq!(ran.rows(), ["x,\"y\"\n|5\" disk", "1|2"]);
}

#[test]
fn tabs_separate_and_rows_are_numbered_and_ordered_by_the_key() {
    let bench = Bench::files(&[("a.tsv", b"u\tt\nb\t1\na\t2\n")]);
    let work = Work::Ingest(Ingest {
        format: Format::Tsv,
        types: BTreeMap::from([("t".to_owned(), "float64".to_owned())]),
        row_number: Some("row".to_owned()),
        key: vec!["u".to_owned()],
    });
    let ran = bench.run(&work).unwrap();
    assert_eq!(ran.columns(), ["row Int64", "u Utf8", "t Float64"]);
    assert_eq!(ran.rows(), ["2|a|2.0", "1|b|1.0"]);
    assert_eq!(ran.table().key, ["u"]);
}

#[test]
fn malformed_text_is_refused_with_its_line() {
    let csv = |bytes: &[u8]| refused(Format::Csv, &[("a.csv", bytes)]);
    assert_eq!(
        csv(b""),
        "ingest::empty-file: `a.csv` is empty: it has no header"
    );
    assert_eq!(
        csv(b"a,b\r\n\"1\r\n\",2\r\n3\r\n"),
        "ingest::ragged: a.csv:4: 1 field where the header has 2"
    );
    assert_eq!(
        csv(b"a,b\n1,2,3\n"),
        "ingest::ragged: a.csv:2: 3 fields where the header has 2"
    );
    assert_eq!(
        csv(b"a,a\n"),
        "ingest::header: a.csv:1: two columns are named `a`"
    );
    assert_eq!(
        csv(b"a,\n"),
        "ingest::header: a.csv:1: column 2 has no name"
    );
    assert_eq!(
        csv(b"a\nx\n\xff\n"),
        "ingest::not-utf8: a.csv:3: field 1 is not UTF-8: byte 0xff"
    );
    assert_eq!(
        csv(b"a\n\"x\ny\n"),
        "ingest::quote: a.csv:2: a quoted field is not closed before the file ends"
    );
    assert_eq!(
        csv(b"a\n\"x\"y\n"),
        "ingest::quote: a.csv:2: only a delimiter or the line's end may follow a closing quote"
    );
}

#[test]
fn malformed_json_is_refused_with_its_line() {
    let json = |bytes: &[u8]| refused(Format::Jsonl, &[("a.jsonl", bytes)]);
    assert_eq!(
        json(b"\n"),
        "ingest::empty-file: `a.jsonl` is empty: it has no object"
    );
    assert_eq!(
        json(b"{\"a\":1}\n[1]\n"),
        "ingest::json: a.jsonl:2: an array where an object is expected"
    );
    assert_eq!(
        json(b"{\"a\":{}}\n"),
        "ingest::json: a.jsonl:1: column `a` holds an array or an object"
    );
    assert_eq!(
        json(b"{\"a\":1}\n{\"a\":\n"),
        "ingest::json: a.jsonl:2: not a JSON object: EOF while parsing a value (column 0)"
    );
}

#[test]
fn json_lines_are_rows() {
    let bench = Bench::files(&[(
        "a.jsonl",
        b"{\"b\":1,\"a\":\"2024-01-01\"}\n\n{\"a\":null,\"c\":true}\n{\"b\":1.5,\"a\":\"2024-01-02\"}\n",
    )]);
    let ran = bench.run(&ingest(Format::Jsonl)).unwrap();
    assert_eq!(ran.columns(), ["a Date32", "b Float64", "c Boolean"]);
    assert_eq!(
        ran.rows(),
        [
            "2024-01-01|1.0|null",
            "null|null|true",
            "2024-01-02|1.5|null"
        ]
    );
}

#[test]
fn files_of_a_source_have_the_same_columns() {
    let files: [(&str, &[u8]); 2] = [("a.csv", b"x,y\n1,2\n"), ("b.csv", b"y,x\n1,2\n")];
    assert_eq!(
        refused(Format::Csv, &files),
        "ingest::different-columns: `a.csv` and `b.csv` have different columns"
    );
}

#[test]
fn declared_types_must_fit() {
    let run = |column: &str, data_type: &str| {
        let bench = Bench::files(&[("a.csv", b"id,zip\n1,007\n2,x\n")]);
        let work = Work::Ingest(Ingest {
            format: Format::Csv,
            types: BTreeMap::from([(column.to_owned(), data_type.to_owned())]),
            row_number: None,
            key: vec![],
        });
        bench.run(&work).map(|ran| ran.rows())
    };
    assert_eq!(
        run("id", "utf8"),
        Ok(vec!["1|007".to_owned(), "2|x".to_owned()])
    );
    let error = run("zip", "int64").unwrap_err();
    assert_eq!(
        diagnostic(&error).message,
        "a.csv:3: column `zip`: `x` is not a value of type Int64"
    );
    let error = run("zpi", "int64").unwrap_err();
    assert_eq!(
        diagnostic(&error).message,
        "`types` names column `zpi`, which `a.csv` does not have"
    );
    assert_eq!(
        diagnostic(&error).help.as_deref(),
        Some("did you mean `zip`? there are also `id`")
    );
    let error = run("zip", "integer").unwrap_err();
    assert_eq!(diagnostic(&error).code, "ingest::unknown-type");
}

#[test]
fn parquet_is_taken_and_damage_is_refused() {
    let made = Bench::new().table("data:t", "a,b\n1,x\n2,\n");
    let bytes = std::fs::read(made.inputs["data:t"].path.join("table.parquet")).unwrap();
    let bench = Bench::files(&[("p/a.parquet", &bytes), ("p/b.parquet", &bytes)]);
    let ran = bench.run(&ingest(Format::Parquet)).unwrap();
    assert_eq!(ran.rows(), ["1|x", "2|null", "1|x", "2|null"]);

    let cut = refused(
        Format::Parquet,
        &[("a.parquet", &bytes[..bytes.len() - 20])],
    );
    assert!(
        cut.starts_with("ingest::parquet: `a.parquet` is not readable as Parquet: "),
        "{cut}"
    );
    let empty = refused(Format::Parquet, &[("a.parquet", b"")]);
    assert!(
        empty.starts_with("ingest::parquet: `a.parquet` is not readable as Parquet: "),
        "{empty}"
    );
}

#[test]
fn opaque_files_pass_through() {
    let bench = Bench::files(&[("d/a.bin", b"\x00\xff"), ("b", b"")]);
    let ran = bench.run(&ingest(Format::Files)).unwrap();
    assert_eq!(ran.output.table, None);
    assert_eq!(
        std::fs::read(ran.folder.join("d/a.bin")).unwrap(),
        b"\x00\xff"
    );
    assert!(ran.folder.join("b").exists());
}

#[test]
fn a_key_that_is_none_is_rejected_with_rows() {
    let rejected = |csv: &[u8]| {
        let bench = Bench::files(&[("a.csv", csv)]);
        let work = Work::Ingest(Ingest {
            format: Format::Csv,
            types: BTreeMap::new(),
            row_number: None,
            key: vec!["k".to_owned()],
        });
        match bench.run(&work) {
            Err(Failure::Rejected(diagnostic)) => diagnostic,
            other => panic!("{:?}", other.map(|ran| ran.rows())),
        }
    };
    let twice = rejected(b"k,v\n1,a\n2,b\n1,c\n");
    assert_eq!(twice.code, "table::duplicate-key");
    assert_eq!(twice.detail, ["k  rows", "1  2"]);
    let null = rejected(b"k,v\n1,a\n,b\n");
    assert_eq!(null.code, "table::null-key");
    assert_eq!(null.detail, ["k     v", "null  b"]);
}
