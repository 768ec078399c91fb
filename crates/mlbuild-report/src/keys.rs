//! Keys and items as small numbers.
//!
//! [`Keys`] joins the rows of `predictions.NAME` to those of `truth`; [`Items`] numbers items in the order in which
//! they are first seen. Both give the same numbers for the same tables, so sums run in the same order everywhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::table::{Scalar, Scalars};

/// Number of an item in its [`Items`].
pub(crate) type ItemId = u32;

/// The items seen so far.
#[derive(Default)]
pub(crate) struct Items {
    ints: HashMap<i128, ItemId>,
    texts: HashMap<Box<str>, ItemId>,
}

impl Items {
    /// The number of `item`, a new one if it is new.
    pub(crate) fn intern(&mut self, item: Scalar<'_>) -> ItemId {
        let next = self.len() as ItemId;
        match item {
            Scalar::Int(value) => *self.ints.entry(value).or_insert(next),
            Scalar::Text(text) => match self.texts.get(text) {
                Some(id) => *id,
                None => {
                    self.texts.insert(text.into(), next);
                    next
                }
            },
        }
    }

    /// How many items have a number.
    pub(crate) fn len(&self) -> usize {
        self.ints.len() + self.texts.len()
    }
}

/// The rows of `truth`, by key.
pub(crate) struct Keys {
    columns: Vec<String>,
    rows: HashMap<Box<[u8]>, usize>,
}

impl Keys {
    /// No rows yet, with keys of these columns.
    pub(crate) fn new(columns: &[String]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: HashMap::new(),
        }
    }

    /// Numbers the key at `row` of `columns` with `number`.
    pub(crate) fn insert(
        &mut self,
        columns: &[Scalars],
        row: usize,
        number: usize,
    ) -> Result<(), NotAKey> {
        let key = encode(columns, row).ok_or(NotAKey::Null)?;
        match self.rows.entry(key.into()) {
            Entry::Occupied(_) => Err(NotAKey::Taken),
            Entry::Vacant(entry) => {
                entry.insert(number);
                Ok(())
            }
        }
    }

    /// The number of the key at `row` of `columns`, if it has one.
    pub(crate) fn get(&self, columns: &[Scalars], row: usize) -> Option<usize> {
        self.rows.get(encode(columns, row)?.as_slice()).copied()
    }

    /// The keys of the first `limit` rows of which `seen` is false, as people read them, in row order.
    pub(crate) fn unseen(&self, seen: &[bool], limit: usize) -> Vec<String> {
        let mut rows: Vec<_> = self.rows.iter().filter(|(_, row)| !seen[**row]).collect();
        rows.sort_by_key(|(_, row)| **row);
        rows.truncate(limit);
        rows.into_iter().map(|(key, _)| self.decode(key)).collect()
    }

    /// The key at `row` of `columns`, as people read it: `user = 5, day = "mon"`.
    pub(crate) fn display(&self, columns: &[Scalars], row: usize) -> String {
        let values = columns.iter().map(|column| match column.get(row) {
            Some(value) => value.to_string(),
            None => "null".to_owned(),
        });
        self.join(values)
    }

    fn join(&self, values: impl Iterator<Item = String>) -> String {
        let parts: Vec<_> = self
            .columns
            .iter()
            .zip(values)
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        parts.join(", ")
    }

    fn decode(&self, mut key: &[u8]) -> String {
        let mut values = Vec::new();
        while let Some((tag, rest)) = key.split_first() {
            if *tag == b'i' {
                let (bytes, rest) = rest
                    .split_first_chunk::<16>()
                    .expect("`encode` writes 16 bytes");
                values.push(Scalar::Int(i128::from_le_bytes(*bytes)).to_string());
                key = rest;
            } else {
                let (bytes, rest) = rest
                    .split_first_chunk::<8>()
                    .expect("`encode` writes a length");
                let (text, rest) = rest.split_at(u64::from_le_bytes(*bytes) as usize);
                values.push(Scalar::Text(&String::from_utf8_lossy(text)).to_string());
                key = rest;
            }
        }
        self.join(values.into_iter())
    }
}

/// Why a row of truth has no key of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotAKey {
    /// A column of it is null.
    Null,
    /// An earlier row has it.
    Taken,
}

/// The key at `row`, or `None` if a column is null. Text is length-prefixed, so no two keys are alike.
fn encode(columns: &[Scalars], row: usize) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for column in columns {
        match column.get(row)? {
            Scalar::Int(value) => {
                key.push(b'i');
                key.extend(value.to_le_bytes());
            }
            Scalar::Text(text) => {
                key.push(b't');
                key.extend((text.len() as u64).to_le_bytes());
                key.extend(text.as_bytes());
            }
        }
    }
    Some(key)
}
