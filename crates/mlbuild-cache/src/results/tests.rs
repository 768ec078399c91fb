use std::collections::BTreeMap;
use std::time::Duration;

use mlbuild_action::{Artifact, Column, Table, Tree, TreeEntry};
use mlbuild_digest::Digest;

use std::fs;

use super::*;

const GOLDEN: &str = include_str!("golden-v1.json");

fn description() -> Description {
    let parts = [
        ("rule", "sql"),
        ("sql", "SELECT 1"),
        ("toolchain", "test 1"),
    ];
    Description::from_parts(
        parts
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    )
}

fn result() -> ActionResult {
    let content = b"PAR1";
    ActionResult {
        artifact: Artifact {
            tree: Tree::new(vec![TreeEntry {
                path: "table.parquet".to_owned(),
                digest: Digest::of(content),
                size_bytes: content.len() as u64,
                executable: false,
            }]),
            table: Some(Table {
                rows: 1,
                columns: vec![Column {
                    name: "Int64(1)".to_owned(),
                    data_type: "Int64".to_owned(),
                    digest: Digest::of(b"column"),
                }],
                key: vec!["id".to_owned()],
            }),
        },
        metrics: BTreeMap::from([
            ("loss".to_owned(), 0.1 + 0.2),
            ("overflow".to_owned(), f64::NEG_INFINITY),
        ]),
        warnings: vec!["a \"quoted\" warning".to_owned()],
        duration: Duration::from_micros(1_234_567),
    }
}

/// A cache that holds the object of [`result`], and the result.
fn stored() -> (tempfile::TempDir, Cache, ActionKey) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    cache.put_bytes(b"PAR1").unwrap();
    assert_eq!(cache.store(&description(), &result()).unwrap(), result());
    (dir, cache, description().key())
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_result_comes_back_as_it_was() {
    let (_dir, cache, key) = stored();
    assert_eq!(cache.lookup(&key).unwrap(), Some(result()));
    assert_eq!(cache.description(&key).unwrap(), Some(description()));
    assert_eq!(fs::read_dir(cache.tmp()).unwrap().count(), 0);
}

#[test]
fn the_format_does_not_move() {
    let encoded = wire::encode_result(&description(), &result());
    assert_eq!(String::from_utf8(encoded).unwrap(), GOLDEN);
    assert_eq!(
        wire::decode_result(GOLDEN.as_bytes()),
        Some((description(), result()))
    );
}

#[test]
fn no_flipped_or_missing_byte_reads_as_a_result() {
    let golden = GOLDEN.as_bytes();
    for i in 0..golden.len() {
        for bit in [1, 0x20, 0x80] {
            let mut damaged = golden.to_vec();
            damaged[i] ^= bit;
            assert_eq!(wire::decode_result(&damaged), None, "byte {i}, bit {bit}");
        }
        assert_eq!(wire::decode_result(&golden[..i]), None, "cut at {i}");
    }
    assert_eq!(wire::decode_result(&[golden, b"\n"].concat()), None);
}

#[test]
fn a_damaged_result_is_a_miss_goes_to_quarantine_and_can_be_stored_again() {
    let (_dir, cache, key) = stored();
    let path = cache.result_path(&key);
    overwrite(&path, &GOLDEN.as_bytes()[..100]);
    assert_eq!(cache.lookup(&key).unwrap(), None);
    assert!(!path.exists());
    assert_eq!(
        fs::read_dir(cache.root().join("quarantine"))
            .unwrap()
            .count(),
        1
    );
    cache.store(&description(), &result()).unwrap();
    assert_eq!(cache.lookup(&key).unwrap(), Some(result()));
}

#[test]
fn a_result_filed_under_another_key_is_a_miss() {
    let (_dir, cache, key) = stored();
    let other = Description::default().key();
    let path = cache.result_path(&other);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(cache.result_path(&key), &path).unwrap();
    assert_eq!(cache.lookup(&other).unwrap(), None);
}

#[test]
fn a_result_without_its_object_is_a_miss_that_the_next_result_replaces() {
    let (_dir, cache, key) = stored();
    let object = cache.object_path(&Digest::of(b"PAR1"));
    overwrite(&object, b"PAR");
    assert_eq!(cache.lookup(&key).unwrap(), None, "wrong size");
    fs::remove_file(&object).unwrap();
    assert_eq!(cache.lookup(&key).unwrap(), None, "missing");
    assert!(
        cache.description(&key).unwrap().is_some(),
        "`why` still has it"
    );

    let error = cache.store(&description(), &result()).unwrap_err();
    assert!(
        matches!(error, CacheError::BadObject { .. }),
        "objects come first: {error}"
    );

    let mut other = result();
    other.artifact.tree = Tree::new(vec![]);
    assert_eq!(cache.store(&description(), &other).unwrap(), other);
    assert_eq!(cache.lookup(&key).unwrap(), Some(other));
}

#[test]
fn the_first_writer_wins() {
    let (_dir, cache, key) = stored();
    let mut second = result();
    second.duration = Duration::from_secs(9);
    assert_eq!(cache.store(&description(), &second).unwrap(), result());
    assert_eq!(cache.lookup(&key).unwrap(), Some(result()));
}

#[test]
fn a_tree_that_leaves_its_folder_is_damage() {
    for path in ["../evil", "/etc/passwd", "a/../../b", "", "a//b", "."] {
        let mut result = result();
        result.artifact.tree = Tree::new(vec![TreeEntry {
            path: path.to_owned(),
            digest: Digest::of(b""),
            size_bytes: 0,
            executable: false,
        }]);
        let encoded = wire::encode_result(&description(), &result);
        assert_eq!(wire::decode_result(&encoded), None, "{path}");
    }
}

#[test]
fn the_last_build_of_a_target_is_remembered() {
    let (_dir, cache, key) = stored();
    let last = LastBuild {
        keys: vec![key, key],
        inputs: BTreeMap::from([("data:a".to_owned(), Digest::of(b"a"))]),
    };
    cache.set_last_build("model:recs", &last).unwrap();
    assert_eq!(cache.last_build("model:recs"), last);
    assert_eq!(cache.last_build("data:recs"), LastBuild::default());
    let path = cache.last_path("model:recs");
    assert!(path.ends_with("last/model%3Arecs.json"));
    let key = key.to_string();
    let body = format!(
        "{{\"target\":\"model:recs\",\"keys\":[\"{key}\",\"{key}\"],\"inputs\":{{\"data:a\":\"{}\"}}}}",
        Digest::of(b"a")
    );
    let head = format!(
        "{{\"format\":\"mlbuild last build\",\"version\":3,\"blake3\":\"{}\"}}",
        Digest::of(body.as_bytes())
    );
    let golden = format!("{head}\n{body}\n");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        golden,
        "the format does not move"
    );
    // Another key of the same form is no more believed than a file that is cut.
    let changed = golden.replacen(&key[..8], "00000000", 1);
    for damaged in [changed.as_bytes(), b"{\"format\":"] {
        overwrite(&path, damaged);
        let damaged = cache.last_build("model:recs");
        assert_eq!(damaged, LastBuild::default(), "damage is forgetting");
    }
    cache.set_last_build("model:recs", &last).unwrap();
    assert_eq!(cache.last_build("model:recs"), last);
}
