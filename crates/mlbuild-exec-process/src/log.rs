//! Bytes that a process printed to lines, bounded in length and number.

use std::collections::VecDeque;

use crate::lines::{Line, Lines};
use crate::process::Sink;

/// Longest line that is passed on; the rest of a longer one is dropped.
const LINE_BYTES: usize = 4096;

/// How many of the last lines a failure shows.
const TAIL_LINES: usize = 20;

/// Splits output into lines and keeps the last ones.
pub(crate) struct Log<'a> {
    lines: Lines,
    tail: VecDeque<String>,
    secrets: Vec<String>,
    emit: &'a dyn Fn(String),
}

impl<'a> Log<'a> {
    /// A log that hands every line to `emit`, with `***` for each of `secrets`.
    pub(crate) fn new(emit: &'a dyn Fn(String), secrets: Vec<String>) -> Self {
        Self {
            secrets,
            lines: Lines::new(LINE_BYTES),
            tail: VecDeque::new(),
            emit,
        }
    }

    /// The last lines; a line without an end counts.
    pub(crate) fn finish(mut self) -> Vec<String> {
        if let Some(line) = self.lines.finish() {
            self.take(&line);
        }
        self.tail.into()
    }

    fn take(&mut self, Line { bytes, is_cut }: &Line) {
        let text = String::from_utf8_lossy(bytes);
        let mut line = text.trim_end_matches('\r').to_owned();
        for secret in &self.secrets {
            line = line.replace(secret, "***");
        }
        if *is_cut {
            line.push_str(" [cut]");
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.clone());
        (self.emit)(line);
    }
}

impl Sink for Log<'_> {
    fn push(&mut self, bytes: &[u8]) {
        for line in self.lines.push(bytes) {
            self.take(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, Vec<String>) {
        let seen = RefCell::new(Vec::new());
        let emit = |line| seen.borrow_mut().push(line);
        let mut log = Log::new(&emit, vec!["s3cret".to_owned()]);
        pieces.iter().for_each(|piece| log.push(piece));
        let tail = log.finish();
        (seen.into_inner(), tail)
    }

    #[test]
    fn lines_are_whole_whatever_the_pieces() {
        let (seen, _) = lines(&[b"on", b"e\ntwo\r\n\nth", b"ree"]);
        assert_eq!(seen, ["one", "two", "", "three"]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let (seen, tail) = lines(&[b"token s3c", b"ret, s3cret\n"]);
        assert_eq!(seen, ["token ***, ***"]);
        assert_eq!(tail, seen);
    }

    #[test]
    fn long_lines_are_cut_and_other_encodings_shown_as_far_as_possible() {
        let (seen, _) = lines(&[&[b'x'; 3000], &[b'x'; 3000], b"\n\xffy\n"]);
        assert_eq!(seen[0], format!("{} [cut]", "x".repeat(LINE_BYTES)));
        assert_eq!(seen[1], "\u{fffd}y");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let (seen, tail) = lines(&["line\n".repeat(30).as_bytes(), b"last"]);
        assert_eq!((seen.len(), tail.len()), (31, TAIL_LINES));
        assert_eq!(tail.last().map(String::as_str), Some("last"));
    }
}
