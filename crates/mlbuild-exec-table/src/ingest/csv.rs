//! Delimited text: RFC 4180 with a header, in UTF-8, with commas or tabs.
//!
//! Stricter than most readers, for a file that is read wrongly is worse than one that is refused: every record has as
//! many fields as the header, quotes are closed, nothing follows a closing quote. Kinder in two ways: lines may end in
//! LF, and a quote within an unquoted field is a character like any other. An empty field is null; `""` is the empty
//! text (and null where the column is not text), as in PostgreSQL's `copy`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use mlbuild_action::{Cancel, Diagnostic, Failure};

use super::batches::{Rows, batches};
use super::infer::Seen;
use super::value::ColumnBuilder;
use super::{Batches, DeclaredTypes, SourceFile, require_columns, same_columns};
use crate::failure;
use crate::session::BATCH_ROWS;

/// Reads all files once, to learn their types; yields batches of a second reading.
///
/// # Errors
/// If a file is not what the module says.
pub(super) fn open<'a>(
    cancel: &'a Cancel,
    files: &'a [SourceFile],
    delimiter: u8,
    types: &DeclaredTypes,
) -> Result<(SchemaRef, Batches<'a>), Failure> {
    let mut names: Vec<String> = Vec::new();
    let mut seen: Vec<Seen> = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let mut records = Records::open(file, delimiter)?;
        let header = records.header()?;
        match i {
            0 => {
                seen = vec![Seen::Nothing; header.len()];
                names = header;
            }
            _ => same_columns((&files[0], &names), (file, &header))?,
        }
        infer(cancel, &mut records, &mut seen)?;
    }
    let field = |(name, seen): (&String, &Seen)| {
        let data_type = types.get(name).cloned().unwrap_or_else(|| seen.data_type());
        Field::new(name, data_type, true)
    };
    let schema = Arc::new(Schema::new(
        names.iter().zip(&seen).map(field).collect::<Vec<_>>(),
    ));
    require_columns(types.keys(), &schema, "`types` names", files)?;
    let batches = batches(files, &schema, cancel, move |file| {
        let mut records = Records::open(file, delimiter)?;
        records.header()?;
        Ok(records)
    });
    Ok((schema, batches))
}

fn infer(cancel: &Cancel, records: &mut Records<'_>, seen: &mut [Seen]) -> Result<(), Failure> {
    let mut rows = 0_usize;
    while records.next(seen.len())? {
        rows += 1;
        if rows.is_multiple_of(BATCH_ROWS) && cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        for (column, seen) in seen.iter_mut().enumerate() {
            // Nothing changes a column of texts any more.
            if *seen != Seen::Text {
                let (text, _) = records.field(column);
                if !text.is_empty() {
                    *seen = seen.or(Seen::of(text));
                }
            }
        }
    }
    Ok(())
}

impl Rows for Records<'_> {
    fn next_row(
        &mut self,
        schema: &Schema,
        columns: &mut [ColumnBuilder],
    ) -> Result<bool, Failure> {
        if !self.next(columns.len())? {
            return Ok(false);
        }
        for (i, column) in columns.iter_mut().enumerate() {
            let (text, quoted) = self.field(i);
            if text.is_empty() && !(quoted && column.is_text()) {
                column.push_null();
            } else if column.push(text).is_none() {
                return Err(super::bad_value(
                    self.file,
                    self.line,
                    schema.field(i),
                    text,
                ));
            }
        }
        Ok(true)
    }
}

/// Where the reader stands within a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before the first byte of a field.
    FieldStart,
    /// In a field without quotes.
    Bare,
    /// Between quotes.
    Quoted,
    /// After a quote between quotes: it ends the field, or is the first of two.
    Quote,
    /// After a CR outside of quotes: an LF ends the record.
    Return,
}

/// Reads one record after the other.
struct Records<'a> {
    file: &'a SourceFile,
    input: BufReader<File>,
    delimiter: u8,
    /// Bytes of the record's fields, one after the other.
    bytes: Vec<u8>,
    /// Where each field ends in `bytes`, and whether it was quoted.
    ends: Vec<(usize, bool)>,
    /// The line on which the record starts, from 1.
    line: u64,
    /// The line that is read next.
    next_line: u64,
}

impl<'a> Records<'a> {
    fn open(file: &'a SourceFile, delimiter: u8) -> Result<Self, Failure> {
        let input = File::open(&file.path).map_err(|error| unreadable(file, &error))?;
        let mut input = BufReader::with_capacity(1 << 16, input);
        let start = input.fill_buf().map_err(|error| unreadable(file, &error))?;
        if start.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        Ok(Self {
            file,
            input,
            delimiter,
            bytes: Vec::new(),
            ends: Vec::new(),
            line: 0,
            next_line: 1,
        })
    }

    /// The names of the columns.
    fn header(&mut self) -> Result<Vec<String>, Failure> {
        if !self.read()? {
            let message = format!("`{}` is empty: it has no header", self.file.name);
            return Err(failure::invalid("ingest::empty-file", message));
        }
        self.check_utf8()?;
        let names: Vec<_> = (0..self.ends.len())
            .map(|i| self.field(i).0.to_owned())
            .collect();
        let mut known = BTreeSet::new();
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() {
                let message = format!("column {} has no name", i + 1);
                return Err(self.invalid("ingest::header", &message));
            }
            if !known.insert(name) {
                let message = format!("two columns are named `{name}`");
                return Err(self.invalid("ingest::header", &message));
            }
        }
        Ok(names)
    }

    /// Goes to the next record, which must have `columns` fields; `false` at the end. Blank lines are records of a
    /// single empty field where there is one column, and nothing elsewhere.
    fn next(&mut self, columns: usize) -> Result<bool, Failure> {
        loop {
            if !self.read()? {
                return Ok(false);
            }
            let blank = self.ends.len() == 1 && self.bytes.is_empty() && !self.ends[0].1;
            if columns == 1 || !blank {
                break;
            }
        }
        self.check_utf8()?;
        if self.ends.len() != columns {
            let found = match self.ends.len() {
                1 => "1 field".to_owned(),
                n => format!("{n} fields"),
            };
            let message = format!("{found} where the header has {columns}");
            return Err(self.invalid("ingest::ragged", &message));
        }
        Ok(true)
    }

    /// A field of the record, and whether it was quoted.
    fn field(&self, i: usize) -> (&str, bool) {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (end, quoted) = self.ends[i];
        let text = std::str::from_utf8(&self.bytes[start..end]).unwrap_or_default();
        (text, quoted)
    }

    fn check_utf8(&self) -> Result<(), Failure> {
        // ASCII, the usual case, needs no look at single fields.
        if self.bytes.is_ascii() {
            return Ok(());
        }
        let mut start = 0;
        for (i, &(end, _)) in self.ends.iter().enumerate() {
            if let Err(error) = std::str::from_utf8(&self.bytes[start..end]) {
                let byte = self.bytes[start + error.valid_up_to()];
                let message = format!("field {} is not UTF-8: byte 0x{byte:02x}", i + 1);
                return Err(self.invalid("ingest::not-utf8", &message));
            }
            start = end;
        }
        Ok(())
    }

    /// Reads the next record, whatever it holds; `false` at the end.
    fn read(&mut self) -> Result<bool, Failure> {
        self.bytes.clear();
        self.ends.clear();
        self.line = self.next_line;
        let mut state = State::FieldStart;
        let mut quoted = false;
        let mut any = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(self.file, &error)),
            };
            if chunk.is_empty() {
                if state == State::Quoted {
                    return Err(self.invalid(
                        "ingest::quote",
                        "a quoted field is not closed before the file ends",
                    ));
                }
                if any {
                    self.ends.push((self.bytes.len(), quoted));
                }
                return Ok(any);
            }
            let mut used = 0;
            let mut complete = false;
            let mut garbage = false;
            for &byte in chunk {
                used += 1;
                any = true;
                if byte == b'\n' {
                    self.next_line += 1;
                }
                state = match (state, byte) {
                    (State::Quoted, b'"') => State::Quote,
                    (State::Quoted, _) => {
                        self.bytes.push(byte);
                        State::Quoted
                    }
                    (State::Quote, b'"') => {
                        self.bytes.push(byte);
                        State::Quoted
                    }
                    (State::FieldStart, b'"') => {
                        quoted = true;
                        State::Quoted
                    }
                    (_, b'\n') => {
                        self.ends.push((self.bytes.len(), quoted));
                        complete = true;
                        break;
                    }
                    (State::Return, _) if !quoted => {
                        // It ended nothing: it belongs to the field.
                        self.bytes.push(b'\r');
                        if byte == b'\r' {
                            State::Return
                        } else if byte == self.delimiter {
                            self.ends.push((self.bytes.len(), quoted));
                            State::FieldStart
                        } else {
                            self.bytes.push(byte);
                            State::Bare
                        }
                    }
                    (State::Quote, b'\r') => State::Return,
                    (State::FieldStart | State::Bare | State::Quote, _)
                        if byte == self.delimiter =>
                    {
                        self.ends.push((self.bytes.len(), quoted));
                        quoted = false;
                        State::FieldStart
                    }
                    (State::Quote | State::Return, _) => {
                        garbage = true;
                        break;
                    }
                    (_, b'\r') => State::Return,
                    (_, _) => {
                        self.bytes.push(byte);
                        State::Bare
                    }
                };
            }
            self.input.consume(used);
            if garbage {
                let message = "only a delimiter or the line's end may follow a closing quote";
                return Err(self.invalid("ingest::quote", message));
            }
            if complete {
                return Ok(true);
            }
        }
    }

    fn invalid(&self, code: &'static str, message: &str) -> Failure {
        let message = format!("{}:{}: {message}", self.file.name, self.line);
        Failure::Invalid(Diagnostic::error(code, message))
    }
}

fn unreadable(file: &SourceFile, error: &io::Error) -> Failure {
    failure::environment(&format!("cannot read `{}`", file.name), error)
}
