//! From sqlparser's lines and columns to bytes.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span};

/// A text with the byte at which each of its lines begins.
pub(crate) struct Positions<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Positions<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(newline, _)| newline + 1))
            .collect();
        Self { text, lines }
    }

    /// The byte of a location: lines and columns count from 1, columns count characters. Line 0 is the text's end.
    pub(crate) fn byte(&self, Location { line, column }: Location) -> usize {
        let Some(line) = (line as usize).checked_sub(1) else {
            return self.end();
        };
        let Some(&start) = self.lines.get(line) else {
            return self.end();
        };
        let column = (column as usize).saturating_sub(1);
        self.text[start..]
            .char_indices()
            .nth(column)
            .map_or(self.text.len(), |(byte, _)| start + byte)
    }

    pub(crate) fn range(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start);
        start..self.byte(span.end).max(start)
    }

    /// What stands in a span.
    pub(crate) fn written(&self, span: Span) -> &'a str {
        &self.text[self.range(span)]
    }

    /// Where the text ends, white space aside.
    pub(crate) fn end(&self) -> usize {
        self.text.trim_end().len()
    }
}
