//! Columns of a table in memory: amounts as f64, everything else as words with a number each.
//!
//! A column's mistakes are counted before it is refused, and the first is shown with its row, from 1.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use mlbuild_action::{Cancel, Diagnostic, Failure, InputFolder};

use super::columns::Kind;
use crate::sequences::open;
use crate::stop_if_cancelled;

/// The values of a column, in row order.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Column {
    Numbers(Vec<Option<f64>>),
    Words(Words),
}

/// A column of words.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Words {
    /// Of each row the index of its word; `None` where it is null.
    pub(crate) codes: Vec<Option<u32>>,
    /// Each word once, by first appearance.
    pub(crate) words: Vec<String>,
}

impl Column {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Words(words) => words.codes.len(),
        }
    }
}

/// Takes a column block by block.
pub(crate) struct Collector<'a> {
    table: &'a str,
    name: &'a str,
    column: Column,
    known: HashMap<String, u32>,
    /// The row of the table, from 0, that is the first one here.
    from: usize,
    /// Values that are no numbers: how many, and the first one's row and what it is.
    wrong: u64,
    first: Option<(usize, f64)>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(table: &'a str, name: &'a str, kind: Kind) -> Self {
        Self {
            table,
            name,
            column: match kind {
                Kind::Number => Column::Numbers(Vec::new()),
                Kind::Category => Column::Words(Words::default()),
            },
            known: HashMap::new(),
            from: 0,
            wrong: 0,
            first: None,
        }
    }

    /// Of a table whose rows before this one, counted from 0, went elsewhere.
    pub(crate) fn starting_at(mut self, row: usize) -> Self {
        self.from = row;
        self
    }

    /// Adds a block. Its type was looked at before: it casts.
    pub(crate) fn add(&mut self, array: &ArrayRef) {
        match &mut self.column {
            Column::Numbers(values) => {
                let array = cast(array, &DataType::Float64).expect("its type holds numbers");
                let array: &Float64Array = array.as_primitive::<Float64Type>();
                for value in array {
                    if let Some(value) = value.filter(|value| !value.is_finite()) {
                        self.wrong += 1;
                        let row = self.from + values.len() + 1;
                        self.first.get_or_insert((row, value));
                    }
                    values.push(value);
                }
            }
            Column::Words(Words { codes, words }) => {
                let array = cast(array, &DataType::Utf8).expect("its type can be written");
                for value in array.as_string::<i32>() {
                    let code = value.map(|word| match self.known.get(word) {
                        Some(code) => *code,
                        None => {
                            let code =
                                u32::try_from(words.len()).expect("memory holds fewer words");
                            words.push(word.to_owned());
                            self.known.insert(word.to_owned(), code);
                            code
                        }
                    });
                    codes.push(code);
                }
            }
        }
    }

    /// The column.
    ///
    /// # Errors
    /// Values that are not finite.
    pub(crate) fn finish(self) -> Result<Column, Failure> {
        let Self {
            table, name, wrong, ..
        } = self;
        let Some((row, value)) = self.first else {
            return Ok(self.column);
        };
        let what = if value.is_nan() {
            "not a number"
        } else {
            "infinite"
        };
        let message = format!("column `{name}` of `{table}` is {what} in row {row}");
        let diagnostic = Diagnostic::error("model::not-finite", message)
            .detail((wrong > 1).then(|| format!("{wrong} values of it are not finite")))
            .help("make them null, or filter such rows out, in the query that makes the table");
        Err(Failure::Invalid(diagnostic))
    }
}

/// Reads columns of the input `table`.
pub(crate) fn read(
    table: &str,
    input: &InputFolder,
    columns: &[(&str, Kind)],
    cancel: &Cancel,
) -> Result<Vec<Column>, Failure> {
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let mut collectors: Vec<_> = columns
        .iter()
        .map(|(name, kind)| Collector::new(table, name, *kind))
        .collect();
    for block in open(table, input, &names)? {
        stop_if_cancelled(cancel)?;
        let block = block?;
        for (collector, array) in collectors.iter_mut().zip(block.columns()) {
            collector.add(array);
        }
    }
    collectors.into_iter().map(Collector::finish).collect()
}
