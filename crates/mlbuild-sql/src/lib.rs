//! What a SQL text says: its canonical form, the tables and parameters it reads.
//!
//! The dialect is the one that DataFusion parses by default (sqlparser's generic dialect), because DataFusion later runs
//! the same text. [`analyze`] never looks at a schema: whether a column exists is for the engine to say.
//!
//! Invariants: a [`Query`] is exactly one query that reads nothing but the tables and parameters it lists, and that gives
//! the same rows whenever it runs (no clock, no dice); queries with equal canonical forms mean the same; the canonical
//! form parses again, to itself.
//!
//! Absent here: files, labels, values of parameters. A table is two names as written; the graph knows which exist.

mod analyze;
mod canonical;
#[cfg(test)]
mod fuzz;
mod position;

use std::fmt;
use std::ops::Range;

pub use analyze::{analyze, read};

/// What a query says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The query rendered back from its parsed form: without comments, with one white space and keyword case. This is
    /// what identifies it.
    pub canonical: String,
    /// The tables it reads, sorted, each once; names of common table expressions are not among them.
    pub tables: Vec<TableRef>,
    /// The `$name` parameters it uses, sorted, each once.
    pub params: Vec<Param>,
}

/// A table that a query reads, written `kind.name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableRef {
    /// The part before the point: `data` in `data.sessions`. Lower case, unless it was quoted.
    pub kind: String,
    /// The part after the point.
    pub name: String,
    /// Bytes of the first place where it is written.
    pub range: Range<usize>,
}

/// A parameter that a query uses, written `$name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    /// Its name, without the dollar sign.
    pub name: String,
    /// Bytes of the first place where it is written, dollar sign included.
    pub range: Range<usize>,
}

/// Why a text is no [`Query`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqlError {
    /// A stable name: `sql::syntax`.
    pub code: &'static str,
    /// One sentence: what is wrong.
    pub message: String,
    /// Bytes of the text that it is about; empty at the text's end.
    pub range: Range<usize>,
    /// What stands there, in a few words.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl SqlError {
    fn new(
        code: &'static str,
        message: impl Into<String>,
        range: Range<usize>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            range,
            label: label.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for SqlError {}
