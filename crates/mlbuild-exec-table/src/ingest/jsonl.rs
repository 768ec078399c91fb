//! JSON lines: one object a line, its members the columns.
//!
//! The order of members says nothing, so columns stand in the order of their names. A member that a line lacks is null
//! there, and one that a whole file lacks is null in it. A value is `null`, a boolean, a number or a string; a string
//! that is a date or a time is read as one if all of the column's are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use mlbuild_action::{Cancel, Diagnostic, Failure};
use serde_json::{Map, Value};

use super::batches::{Rows, batches};
use super::infer::Seen;
use super::value::ColumnBuilder;
use super::{Batches, DeclaredTypes, SourceFile, require_columns};
use crate::failure;
use crate::session::BATCH_ROWS;

/// Reads all files once, to learn their columns; yields batches of a second reading.
///
/// # Errors
/// If a line is not an object of scalars, or a file has no line at all.
pub(super) fn open<'a>(
    cancel: &'a Cancel,
    files: &'a [SourceFile],
    types: &DeclaredTypes,
) -> Result<(SchemaRef, Batches<'a>), Failure> {
    let mut columns = Columns::new();
    for file in files {
        let mut lines = Lines::open(file)?;
        let mut objects = 0_usize;
        while let Some(object) = lines.next()? {
            see(&mut columns, &lines, &object)?;
            objects += 1;
            if objects.is_multiple_of(BATCH_ROWS) && cancel.is_cancelled() {
                return Err(Failure::Cancelled);
            }
        }
        if objects == 0 {
            let message = format!("`{}` is empty: it has no object", file.name);
            return Err(failure::invalid("ingest::empty-file", message));
        }
    }
    let field = |(name, seen): (&String, &Seen)| {
        let data_type = types.get(name).cloned().unwrap_or_else(|| seen.data_type());
        Field::new(name, data_type, true)
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    require_columns(types.keys(), &schema, "`types` names", files)?;
    let batches = batches(files, &schema, cancel, Lines::open);
    Ok((schema, batches))
}

/// The columns so far, by name.
type Columns = BTreeMap<String, Seen>;

fn see(
    columns: &mut Columns,
    lines: &Lines<'_>,
    object: &Map<String, Value>,
) -> Result<(), Failure> {
    for (name, value) in object {
        let seen = seen(value).ok_or_else(|| lines.nested(name))?;
        match columns.get_mut(name) {
            Some(so_far) => *so_far = so_far.or(seen),
            None => {
                columns.insert(name.clone(), seen);
            }
        }
    }
    Ok(())
}

/// What a value can be read as; `None` for arrays and objects.
fn seen(value: &Value) -> Option<Seen> {
    Some(match value {
        Value::Null => Seen::Nothing,
        Value::Bool(_) => Seen::Boolean,
        Value::Number(number) if number.is_i64() => Seen::Int,
        // An integer beyond 64 bits would lose digits as a float.
        Value::Number(number) if number.is_u64() => Seen::Text,
        Value::Number(_) => Seen::Float,
        Value::String(text) => match Seen::of(text) {
            seen @ (Seen::Date | Seen::Timestamp | Seen::Instant) => seen,
            _ => Seen::Text,
        },
        Value::Array(_) | Value::Object(_) => return None,
    })
}

impl Rows for Lines<'_> {
    fn next_row(
        &mut self,
        schema: &Schema,
        columns: &mut [ColumnBuilder],
    ) -> Result<bool, Failure> {
        let Some(object) = self.next()? else {
            return Ok(false);
        };
        for (field, column) in schema.fields().iter().zip(columns) {
            let pushed = match object.get(field.name()) {
                None | Some(Value::Null) => {
                    column.push_null();
                    Some(())
                }
                Some(Value::String(text)) => column.push(text),
                Some(other) => column.push(&other.to_string()),
            };
            if pushed.is_none() {
                let text = object
                    .get(field.name())
                    .map(ToString::to_string)
                    .unwrap_or_default();
                return Err(super::bad_value(self.file, self.line, field, &text));
            }
        }
        Ok(true)
    }
}

/// Reads one object after the other.
struct Lines<'a> {
    file: &'a SourceFile,
    input: BufReader<File>,
    bytes: Vec<u8>,
    /// The line that was read last, from 1.
    line: u64,
}

impl<'a> Lines<'a> {
    fn open(file: &'a SourceFile) -> Result<Self, Failure> {
        let input = File::open(&file.path).map_err(|error| {
            failure::environment(&format!("cannot read `{}`", file.name), &error)
        })?;
        Ok(Self {
            file,
            input: BufReader::with_capacity(1 << 16, input),
            bytes: Vec::new(),
            line: 0,
        })
    }

    /// The next object, blank lines passed over; `None` at the end.
    fn next(&mut self) -> Result<Option<Map<String, Value>>, Failure> {
        loop {
            self.bytes.clear();
            let read = self
                .input
                .read_until(b'\n', &mut self.bytes)
                .map_err(|error| {
                    failure::environment(&format!("cannot read `{}`", self.file.name), &error)
                })?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !self.bytes.iter().all(u8::is_ascii_whitespace) {
                break;
            }
        }
        if let Err(error) = std::str::from_utf8(&self.bytes) {
            let byte = self.bytes[error.valid_up_to()];
            let message = format!("the line is not UTF-8: byte 0x{byte:02x}");
            return Err(self.invalid("ingest::not-utf8", &message));
        }
        match serde_json::from_slice(&self.bytes) {
            Ok(Value::Object(object)) => Ok(Some(object)),
            Ok(other) => {
                let found = match other {
                    Value::Array(_) => "an array",
                    Value::String(_) => "a string",
                    Value::Number(_) => "a number",
                    _ => "a literal",
                };
                let message = format!("{found} where an object is expected");
                Err(self.invalid("ingest::json", &message))
            }
            Err(error) => {
                // The line that it counts is the one within this line.
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or_default();
                let message = format!("not a JSON object: {text} (column {})", error.column());
                Err(self.invalid("ingest::json", &message))
            }
        }
    }

    fn nested(&self, name: &str) -> Failure {
        let message = format!("column `{name}` holds an array or an object");
        let Failure::Invalid(diagnostic) = self.invalid("ingest::json", &message) else {
            unreachable!("`invalid` makes nothing else")
        };
        Failure::Invalid(
            diagnostic.help("members are null, booleans, numbers or strings; flatten the rest"),
        )
    }

    fn invalid(&self, code: &'static str, message: &str) -> Failure {
        let message = format!("{}:{}: {message}", self.file.name, self.line);
        Failure::Invalid(Diagnostic::error(code, message))
    }
}
