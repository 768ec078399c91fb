//! Changes to bytes as accidents, old versions and malice make them.

use crate::{Corpus, Draw};

/// Inputs do not grow beyond this.
const MAX_BYTES: usize = 1 << 16;

/// Numbers at which arithmetic turns.
const INTEGERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// The same in digits, with what decimal parsers trip over.
const NUMBERS: [&str; 10] = [
    "0",
    "-1",
    "1e999",
    "-0.0",
    "255",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "0.1e-400",
    "00",
];

/// Pieces that mean something in most texts, and characters of more than one byte.
const PIECES: [&str; 16] = [
    "\"",
    "'",
    "\\",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "ä",
    "\u{1f980}",
    "\u{feff}",
];

/// One of the corpus, changed in a few places.
pub(crate) fn mutate(corpus: &Corpus<'_>, draw: &mut Draw) -> Vec<u8> {
    let mut bytes = draw.one(corpus.inputs).to_vec();
    for _ in 0..=draw.below(6) {
        change(&mut bytes, corpus, draw);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &Corpus<'_>, draw: &mut Draw) {
    let at = draw.below(bytes.len() + 1);
    let span = some_range(bytes, draw);
    match draw.below(12) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << draw.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = draw.byte();
            }
        }
        2 => insert(bytes, at, &[draw.byte()]),
        3 => drop(bytes.drain(span)),
        4 => {
            let copy = bytes[span].to_vec();
            insert(bytes, at, &copy);
        }
        5 => bytes.truncate(at),
        6 => {
            let other = draw.one(corpus.inputs);
            let tail = some_range(other, draw);
            bytes.truncate(at);
            bytes.extend(&other[tail.start..]);
        }
        7 => {
            let other = draw.one(corpus.inputs);
            let part = some_range(other, draw);
            insert(bytes, at, &other[part]);
        }
        8 => {
            let number = INTEGERS[draw.below(INTEGERS.len())].to_le_bytes();
            let width = 1 << draw.below(4);
            for (byte, new) in bytes[at..].iter_mut().zip(&number[..width]) {
                *byte = *new;
            }
        }
        9 => replace_number(bytes, at, draw),
        10 if !corpus.words.is_empty() => insert(bytes, at, draw.one(corpus.words).as_bytes()),
        _ => insert(bytes, at, draw.one(&PIECES).as_bytes()),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

/// Mostly short, sometimes long.
fn some_range(bytes: &[u8], draw: &mut Draw) -> std::ops::Range<usize> {
    let start = draw.below(bytes.len() + 1);
    let rest = bytes.len() - start;
    let longest = if draw.below(4) == 0 {
        rest
    } else {
        rest.min(16)
    };
    start..start + draw.below(longest + 1)
}

/// Puts another number in the place of the first one behind `at`.
fn replace_number(bytes: &mut Vec<u8>, at: usize, draw: &mut Draw) {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = bytes[at..].iter().position(digits) else {
        return;
    };
    let start = at + start;
    let length = bytes[start..]
        .iter()
        .take_while(|byte| digits(byte))
        .count();
    let number = draw.one(&NUMBERS).bytes();
    bytes.splice(start..start + length, number);
}
