//! Tests: no bytes make a decoder of the store panic, and what one believes is exactly what would be written.
//!
//! A checksum keeps almost all mutants out, so each is also tried as the content of a file whose checksum is right: what a
//! later version or a program with a mistake might write.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use mlbuild_action::{ActionResult, Artifact, Column, Description, Table, Tree, TreeEntry};
use mlbuild_digest::Digest;
use mlbuild_testing::{Corpus, fuzz};

use crate::{LastBuild, Pin, index, wire};

const WORDS: [&str; 22] = [
    "\"key\":",
    "\"files\":",
    "\"path\":\"",
    "../",
    "/",
    "\"table\":null",
    "\"digest\":\"",
    "\"rows\":",
    "null",
    "true",
    "{}",
    "[]",
    ",",
    "NaN",
    "-inf",
    "\\u0000",
    "\\ud800",
    "1e999",
    "\"version\":",
    "\"keys\":[]",
    "00000000000000000000000000000000",
    "stat",
];

/// Holds `decode` to its law on mutants of `whole`, as they are and as contents of the format `format`.
fn check<T: PartialEq + Debug>(
    name: &str,
    whole: &[u8],
    format: wire::Format,
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let expected = decode(whole).expect("what was written can be read");
    let (_, body) = std::str::from_utf8(whole)
        .unwrap()
        .split_once('\n')
        .unwrap();
    let corpus = Corpus {
        inputs: &[whole, body.trim_end().as_bytes()],
        words: &WORDS,
        rounds: 1_500,
    };
    fuzz(name, corpus, |bytes| {
        if let Some(found) = decode(bytes) {
            assert_eq!(found, expected, "only what was written has its checksum");
        }
        let text = String::from_utf8_lossy(bytes);
        let sealed = format!("{}\n{text}\n", wire::header(format, &text));
        if let Some(found) = decode(sealed.as_bytes()) {
            let again = decode(&encode(&found)).expect("what was read can be written");
            assert_eq!(encode(&again), encode(&found));
        }
    });
}

fn description() -> Description {
    let parts = [("rule", "sql"), ("sql", "SELECT 1 AS \"ä\"")];
    let parts = parts.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Description::from_parts(parts.into())
}

fn tree() -> Tree {
    let entry = |path: &str| TreeEntry {
        path: path.to_owned(),
        digest: Digest::of(path.as_bytes()),
        size_bytes: 7,
        executable: path == "run",
    };
    Tree::new(vec![entry("a/b.csv"), entry("run")])
}

fn table() -> Table {
    let column = Column {
        name: "id".to_owned(),
        data_type: "Int64".to_owned(),
        digest: Digest::of(b"id"),
    };
    Table {
        rows: 12,
        columns: vec![column],
        key: vec!["id".to_owned()],
    }
}

#[test]
fn no_bytes_break_results() {
    let result = ActionResult {
        artifact: Artifact {
            tree: tree(),
            table: Some(table()),
        },
        metrics: BTreeMap::from([("loss".to_owned(), 0.25), ("up".to_owned(), f64::INFINITY)]),
        warnings: vec!["mind the gap".to_owned()],
        duration: Duration::from_micros(7),
    };
    let encode = |(description, result): &(Description, ActionResult)| {
        wire::encode_result(description, result)
    };
    let whole = encode(&(description(), result));
    check("result", &whole, wire::RESULT, wire::decode_result, encode);
}

#[test]
fn no_bytes_break_last_builds() {
    let last = LastBuild {
        keys: vec![description().key()],
        inputs: BTreeMap::from([("data:a".to_owned(), Digest::of(b"a"))]),
    };
    let encode = |(target, last): &(String, LastBuild)| wire::encode_last(target, last);
    let whole = encode(&("data:b".to_owned(), last));
    check("last build", &whole, wire::LAST, wire::decode_last, encode);
}

#[test]
fn no_bytes_break_pins() {
    let pin = Pin {
        name: "v1".to_owned(),
        target: "model:recs".to_owned(),
        artifact: tree().digest(),
        keys: [description().key()].into(),
        pinned_at: -1,
    };
    check(
        "pin",
        &wire::encode_pin(&pin),
        wire::PIN,
        wire::decode_pin,
        wire::encode_pin,
    );
}

#[test]
fn no_bytes_break_listings_and_no_path_leaves_its_folder() {
    let decode = |bytes: &[u8]| {
        let tree = wire::decode_tree(bytes)?;
        let stays = |path: &str| path.split('/').all(|part| !["", ".", ".."].contains(&part));
        assert!(
            tree.entries().iter().all(|entry| stays(&entry.path)),
            "{tree:?}"
        );
        Some(tree)
    };
    check(
        "tree",
        &wire::encode_tree(&tree()),
        wire::LISTING,
        decode,
        wire::encode_tree,
    );
    check(
        "table",
        &wire::encode_table(&table()),
        wire::LISTING,
        wire::decode_table,
        wire::encode_table,
    );
}

#[test]
fn no_bytes_break_the_stat_index() {
    let whole = index::tests::bytes();
    let words = ["mlbuild stat index v1\n", "mlbuild stat index v2\n"];
    let corpus = Corpus {
        inputs: &[&whole],
        words: &words,
        rounds: 3_000,
    };
    fuzz("stat index", corpus, |bytes| {
        for sealed in [
            bytes.to_vec(),
            [bytes, Digest::of(bytes).as_bytes()].concat(),
        ] {
            if let Some(entries) = index::format::decode(&sealed) {
                let again = index::format::encode(&entries);
                assert_eq!(index::format::decode(&again), Some(entries));
            }
        }
    });
}
