//! Tests: no memo makes decoding panic, and what is believed is what would be written.

use mlbuild_digest::Digest;
use mlbuild_testing::{Corpus, fuzz};

use super::{decode, encode};

#[test]
fn no_memo_breaks_decoding() {
    let plan = Digest::of(b"plan");
    let whole = format!(
        r#"{{"version":2,"reads":{{"data:a":["x","y"],"data:b":[]}},"plan":"{plan}","flows":{{"columns":{{"n":[["data:a","x"]]}},"rows":[["data:a","y"]]}}}}"#
    );
    let none = br#"{"version":2,"reads":{},"plan":null,"flows":null}"#;
    let corpus = Corpus {
        inputs: &[whole.as_bytes(), none],
        words: &[
            "\"reads\":",
            "\"plan\":null",
            "\"flows\":",
            "null",
            "[[]]",
            "{}",
            "[]",
            "1e999",
            ",",
        ],
        rounds: 3_000,
    };
    fuzz("analysis", corpus, |bytes| {
        if let Some(analysis) = decode(bytes) {
            assert_eq!(decode(&encode(&analysis)), Some(analysis));
        }
    });
}
