//! Tests: no bytes of the other side make reading panic, and what was read can be said again.

use mlbuild_testing::{Corpus, fuzz};
use serde::{Serialize, de::DeserializeOwned};

use crate::{FromWorker, ToWorker, read, write};

const FROM: [&str; 6] = [
    r#"{"type":"hello","protocol":1,"worker":"w 1","library":"l 2","gpus":0}"#,
    r#"{"type":"heartbeat"}"#,
    r#"{"type":"epoch","epoch":1,"epochs":30,"metrics":{"loss":1.5,"valid_ndcg@10":0.1}}"#,
    r#"{"type":"resumed","step":17}"#,
    r#"{"type":"done","metrics":{"epochs":30}}"#,
    r#"{"type":"failed","code":"train::diverged","message":"m","help":null}"#,
];

const TO: [&str; 3] = [
    r#"{"type":"train","model":{"architecture":"sasrec","params":{"dim":64,"lr":0.001,"x":true,"y":"z"},"items":9},"input":"/i","validate":null,"output":"/o","checkpoint":null,"threads":2,"device":"cpu"}"#,
    r#"{"type":"train","model":{"architecture":"lstm","params":{},"items":9},"input":"/i","validate":"/v","output":"/o","checkpoint":{"folder":"/c","seconds":0.5},"threads":2,"device":"cpu"}"#,
    r#"{"type":"predict","model":{"architecture":"sasrec","params":{},"items":9},"weights":"/w","input":"/i","output":"/o","k":10,"exclude_seen":false,"threads":2,"device":"gpu"}"#,
];

const WORDS: [&str; 14] = [
    "\"type\":",
    "\"hello\"",
    "\"done\"",
    "\"train\"",
    "null",
    "true",
    "[",
    "{",
    "-1",
    "1e400",
    "\\u0000",
    "\\ud800",
    ",",
    ":",
];

fn framed(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_le_bytes(), text].concat()
}

/// Reads `bytes` as a stream, and as the content of a frame whose length is right.
fn check<M: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    for stream in [bytes.to_vec(), framed(bytes)] {
        let mut rest = stream.as_slice();
        while let Ok(message) = read::<M>(&mut rest) {
            let mut again = Vec::new();
            write(&mut again, &message).unwrap();
            assert_eq!(read::<M>(&mut again.as_slice()).unwrap(), message);
        }
    }
}

fn fuzz_all(name: &str, texts: &[&str], law: impl Fn(&[u8])) {
    let frames: Vec<Vec<u8>> = texts.iter().map(|text| framed(text.as_bytes())).collect();
    let plain = texts.iter().map(|text| text.as_bytes());
    let inputs: Vec<&[u8]> = plain.chain(frames.iter().map(Vec::as_slice)).collect();
    let corpus = Corpus {
        inputs: &inputs,
        words: &WORDS,
        rounds: 5_000,
    };
    fuzz(name, corpus, law);
}

#[test]
fn no_bytes_of_a_worker_break_its_client() {
    fuzz_all("from worker", &FROM, check::<FromWorker>);
}

#[test]
fn no_bytes_of_a_client_break_a_worker() {
    fuzz_all("to worker", &TO, check::<ToWorker>);
}
