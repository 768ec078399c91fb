//! Tests: no source file makes ingestion panic. It becomes a table, or the user's mistake.

use mlbuild_action::{Failure, Format};
use mlbuild_testing::{Corpus, fuzz};

use crate::harness::{Bench, ingest};

/// Holds ingestion to its law on mutants of these files.
fn check(name: &str, format: Format, inputs: &[&[u8]], words: &[&str]) {
    let corpus = Corpus {
        inputs,
        words,
        rounds: 60,
    };
    let file = format!("a.{name}");
    fuzz(name, corpus, |bytes| {
        let bench = Bench::files(&[(&file, bytes)]);
        match bench.run(&ingest(format)) {
            Ok(ran) => assert_eq!(ran.rows().len() as u64, ran.table().rows),
            Err(Failure::Invalid(diagnostic)) => assert!(!diagnostic.message.is_empty()),
            Err(other) => panic!("{other:?}"),
        }
    });
}

const CSV: &[u8] = "id,amount,note,at\n1,10.5,\"a \"\"b\"\"\",2026-01-31\n2,,\"two\nlines\",\n-3,1e9,ä,2026-02-01T10:00:00Z\n".as_bytes();

#[test]
fn no_csv_breaks_ingestion() {
    let words = [
        "\"",
        ",",
        "\n",
        "\r",
        ",,",
        "id",
        "NaN",
        "true",
        "2026-13-01",
        "9223372036854775808",
    ];
    check("csv", Format::Csv, &[CSV, b"id\n1\n"], &words);
}

#[test]
fn no_json_lines_break_ingestion() {
    let lines = br#"{"id":1,"amount":10.5,"note":"a"}
{"id":2,"amount":null,"note":"\u00e4"}
"#;
    let words = [
        "{", "}", "[", "]", "\"id\":", "null", "1e999", "\\u0000", "\\ud800", ":", "\n", "{}",
    ];
    check("jsonl", Format::Jsonl, &[lines, b"{\"a\":1}\n"], &words);
}

/// Found by fuzzing: its page headers say more bits a value than values have, which the reader asserts.
const CONTRADICTORY: &[u8] = b"\
    PAR1\x15\x04\x15\x14\x15&L\x15\x04\x15\x00\x00\x00(\xb5/\xfd \nQ\x00\x00\x01\x00\x00\x00a\x01\x00\x00\
    \x00b\x15\x00\x15\x12\x15$,\x15\x04\x15\x10\x15\x06\x15\x06\x00\x00(\xb5/\xfd \tI\x00\x00\x02\x00\x00\
    \x00ROW\x15\x02\x19\\H\x0carrow_schema\x15\x04\x00\x15\x0c%\x02\x18\x04note%\x00L\x1c\x00\x00\x005\x02\
    \x18\x03ids\x15\x02\x15\x06L<\x00\x00\x005\x04\x18\x04list\x15\x02\x00\x15\x04%\x02\x18\x04item\x00\x16\
    \x04\x19\x1c\x19,&\x00\x1c\x15\x0c\x195\x00\x06\x10\x19\x18\x04note\x15\x0c\x16\x04\x16d\x16\x88\x01&J&\
    \x08\x1c6\x00(\x01b\x18\x01a\x11\x11\x00\x19,\x15\x04\x15\x00\x15\x02\x00\x15\x00\x15\x10\x15\x02\x00<\
    \x16\x04)&\x00\x04\x00\x00\x16\xb6\x03\x15\x1a\x16\xba\x02\x15*\x00&\x00\x1c\x15\x04\x195\x00\x06\x10\
    \x198\x03ids\x04list\x04item\x15\x0c\x16\x06\x16\x8e\x01\x16\xaa\x01&\xe6\x01&\x90\x01\x1c\x18\x08\x03\
    \x00\x00\x00\x00\x00\x00\x00\x18\x08\x01\x00\x00\x00\x00\x00\x00\x00\x16\x00(\x08\x03\x00\x00\x00\x00\
    \x00\x00\x00\x18\x08\x01\x00\x00\x00\x00\x00\x00\x00\x11\x11\x00\x19,\x15\x04\x15\x00\x15\x02\x00\x15\
    \x00\x15\x10\x15\x02\x00<)&\x04p\x19F\x00\x00\x00\x06\x00\x00\x16\xd0\x03\x15\x16\x16\xe4\x02\x15R\x00\
    \x16\xf2\x01\x16\x04&\x08\x16\xb2\x02\x14\x00\x00(\x07mlbuild\x19,\x1c\x00\x00\x1c\x00\x00\x00?\x01\x00\
    \x00PAR1";

#[test]
fn no_parquet_file_breaks_ingestion() {
    let table = Bench::files(&[("a.csv", CSV)])
        .run(&ingest(Format::Csv))
        .unwrap()
        .bytes();
    let lists = Bench::new().table("data:t", "id,note\n1,a\n2,b\n3,a\n");
    let lists =
        lists.sql("select note, array_agg(id order by id) as ids from data.t group by note");
    let lists = lists.unwrap().bytes();
    check(
        "parquet",
        Format::Parquet,
        &[&table, &lists, CONTRADICTORY],
        &["PAR1", "ARROW:schema", "id", "element"],
    );
}
