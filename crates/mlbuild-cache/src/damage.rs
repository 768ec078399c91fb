//! Tests: whatever byte of whatever file of a store is another, what is read is the same or nothing, never something else.
//!
//! Every bit of every byte is flipped, every length is tried, and garbage is put behind. Objects are not among these:
//! their name is their digest. Memos and the stat index have tests of their own. What the binary makes of damage is held by `tests/it/corruption.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use mlbuild_action::{ActionResult, Artifact, Column, Description, Table, Tree, TreeEntry};
use mlbuild_digest::Digest;

use crate::{LastBuild, Pin, wire};

/// Holds `decode` to its law on every damage of `whole`.
#[track_caller]
fn check<T: PartialEq + Debug>(whole: &[u8], decode: impl Fn(&[u8]) -> Option<T>) {
    let expected = decode(whole).expect("what was written can be read");
    let law = |bytes: &[u8], damage: &dyn Fn() -> String| {
        if let Some(found) = decode(bytes) {
            assert_eq!(found, expected, "{}", damage());
        }
    };
    let mut bytes = whole.to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            law(&bytes, &|| format!("bit {bit} of byte {at} flipped"));
            bytes[at] ^= 1 << bit;
        }
        law(&whole[..at], &|| format!("cut to {at} bytes"));
    }
    for tail in [&b"\n"[..], b" ", b"\0", b"garbage", whole] {
        let longer = [whole, tail].concat();
        law(&longer, &|| format!("followed by {tail:?}"));
    }
}

fn description() -> Description {
    let parts = [("rule", "sql"), ("sql", "SELECT 1 AS \"ä\"")];
    let parts = parts.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Description::from_parts(parts.into())
}

fn tree() -> Tree {
    let entry = |path: &str, executable| TreeEntry {
        path: path.to_owned(),
        digest: Digest::of(path.as_bytes()),
        size_bytes: path.len() as u64,
        executable,
    };
    Tree::new(vec![entry("a/b.csv", false), entry("run", true)])
}

fn table() -> Table {
    let column = |name: &str| Column {
        name: name.to_owned(),
        data_type: "Int64".to_owned(),
        digest: Digest::of(name.as_bytes()),
    };
    Table {
        rows: 12,
        columns: vec![column("id"), column("ä")],
        key: vec!["id".to_owned()],
    }
}

#[test]
fn no_damage_of_a_result_is_another_result() {
    let result = ActionResult {
        artifact: Artifact {
            tree: tree(),
            table: Some(table()),
        },
        metrics: BTreeMap::from([("loss".to_owned(), 0.25), ("up".to_owned(), f64::INFINITY)]),
        warnings: vec!["mind the gap".to_owned()],
        duration: Duration::from_micros(7),
    };
    check(
        &wire::encode_result(&description(), &result),
        wire::decode_result,
    );
}

#[test]
fn no_damage_of_a_last_build_is_another() {
    let key = description().key();
    let last = LastBuild {
        keys: vec![key, key],
        inputs: BTreeMap::from([("data:a".to_owned(), Digest::of(b"a"))]),
    };
    check(&wire::encode_last("model:recs", &last), wire::decode_last);
}

#[test]
fn no_damage_of_a_pin_is_another() {
    let pin = Pin {
        name: "v1".to_owned(),
        target: "model:recs".to_owned(),
        artifact: tree().digest(),
        keys: BTreeSet::from([description().key()]),
        pinned_at: 1_700_000_000,
    };
    check(&wire::encode_pin(&pin), wire::decode_pin);
}

/// A listing is believed if it has the digest that is its name.
#[test]
fn no_damage_of_a_listing_is_another() {
    let (tree, table) = (tree(), table());
    check(&wire::encode_tree(&tree), |bytes| {
        wire::decode_tree(bytes).filter(|found| found.digest() == tree.digest())
    });
    check(&wire::encode_table(&table), |bytes| {
        wire::decode_table(bytes).filter(|found| found.digest() == table.digest())
    });
}
