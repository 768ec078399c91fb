//! Bytes that come in pieces, to lines of bounded length.

/// A line.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// Its bytes, without its end.
    pub(crate) bytes: Vec<u8>,
    /// Whether there were more of them than are kept.
    pub(crate) is_cut: bool,
}

/// What has come of a line so far.
pub(crate) struct Lines {
    line: Line,
    longest: usize,
}

impl Lines {
    /// Keeps so many bytes of a line.
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            line: Line {
                bytes: Vec::new(),
                is_cut: false,
            },
            longest,
        }
    }

    /// Takes more bytes; returns the lines that they end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut ended = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = self.longest - self.line.bytes.len();
            self.line.is_cut |= text.len() > room;
            let kept = &text[..text.len().min(room)];
            self.line.bytes.extend_from_slice(kept);
            if piece.ends_with(b"\n") {
                ended.push(self.end());
            }
        }
        ended
    }

    /// The last line, if it has no end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        (!self.line.bytes.is_empty()).then(|| self.end())
    }

    fn end(&mut self) -> Line {
        let next = Line {
            bytes: Vec::new(),
            is_cut: false,
        };
        std::mem::replace(&mut self.line, next)
    }
}
