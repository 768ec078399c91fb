//! Keys and items as small numbers.
//!
//! [`Keys`] joins the rows of other tables to those of `truth`; [`Items`] numbers items in the order in which they are
//! first seen. Both give the same numbers for the same tables, so sums run in the same order everywhere.
//!
//! Predictions mostly come in the order of the truth, so a row is first compared with the row of truth at its own place,
//! and only where that fails are keys looked up by their bytes.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::OnceLock;

use crate::table::{Scalar, Scalars};

/// Number of an item in its [`Items`].
pub(crate) type ItemId = u32;

/// The number of no item.
pub(crate) const NO_ITEM: ItemId = ItemId::MAX;

/// Integers from 0 up to this are found by their value.
const SMALL: i128 = 1 << 22;

/// The items (or classes) seen so far.
#[derive(Clone, Default)]
pub(crate) struct Items {
    /// By value; [`NO_ITEM`] where there is none.
    small: Vec<ItemId>,
    ints: HashMap<i128, ItemId>,
    texts: HashMap<Box<str>, ItemId>,
    bools: [Option<ItemId>; 2],
    count: usize,
}

impl Items {
    /// The number of `item`, a new one if it is new.
    pub(crate) fn intern(&mut self, item: Scalar<'_>) -> ItemId {
        if let Some(id) = self.get(item) {
            return id;
        }
        let id = self.count as ItemId;
        self.count += 1;
        match item {
            Scalar::Int(value) if (0..SMALL).contains(&value) => {
                let index = value as usize;
                if self.small.len() <= index {
                    self.small.resize(index + 1, NO_ITEM);
                }
                self.small[index] = id;
            }
            Scalar::Int(value) => {
                self.ints.insert(value, id);
            }
            Scalar::Text(text) => {
                self.texts.insert(text.into(), id);
            }
            Scalar::Bool(value) => self.bools[usize::from(value)] = Some(id),
        }
        id
    }

    /// The number of `item`, if it has one.
    pub(crate) fn get(&self, item: Scalar<'_>) -> Option<ItemId> {
        match item {
            Scalar::Int(value) if (0..SMALL).contains(&value) => {
                let id = self.small.get(value as usize).copied();
                id.filter(|id| *id != NO_ITEM)
            }
            Scalar::Int(value) => self.ints.get(&value).copied(),
            Scalar::Text(text) => self.texts.get(text).copied(),
            Scalar::Bool(value) => self.bools[usize::from(value)],
        }
    }

    /// The number of a small integer, without any detour; [`NO_ITEM`] sends the caller to [`Items::get`].
    pub(crate) fn small(&self, value: i64) -> ItemId {
        let index = usize::try_from(value).unwrap_or(usize::MAX);
        self.small.get(index).copied().unwrap_or(NO_ITEM)
    }

    /// How many items have a number.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// All of them with their numbers, in their own order.
    pub(crate) fn sorted(&self) -> Vec<(Scalar<'_>, ItemId)> {
        let small = (0i128..).zip(&self.small);
        let small = small.map(|(value, id)| (Scalar::Int(value), *id));
        let ints = self.ints.iter().map(|(v, id)| (Scalar::Int(*v), *id));
        let texts = self.texts.iter().map(|(v, id)| (Scalar::Text(v), *id));
        let bools = [false, true].into_iter().zip(self.bools);
        let bools = bools.filter_map(|(v, id)| Some((Scalar::Bool(v), id?)));
        let all = small.filter(|(_, id)| *id != NO_ITEM).chain(ints);
        let mut all: Vec<_> = all.chain(texts).chain(bools).collect();
        all.sort_unstable();
        all
    }
}

/// A key column of all rows of truth.
enum KeyColumn {
    Ints(Vec<i128>),
    Texts { bytes: String, ends: Vec<usize> },
    Bools(Vec<bool>),
}

impl KeyColumn {
    fn push(&mut self, value: Scalar<'_>) {
        match (self, value) {
            (Self::Ints(values), Scalar::Int(value)) => values.push(value),
            (Self::Texts { bytes, ends }, Scalar::Text(text)) => {
                bytes.push_str(text);
                ends.push(bytes.len());
            }
            (Self::Bools(values), Scalar::Bool(value)) => values.push(value),
            _ => unreachable!("a column of one table has one type"),
        }
    }

    fn get(&self, row: usize) -> Scalar<'_> {
        match self {
            Self::Ints(values) => Scalar::Int(values[row]),
            Self::Texts { bytes, ends } => {
                let start = row.checked_sub(1).map_or(0, |before| ends[before]);
                Scalar::Text(&bytes[start..ends[row]])
            }
            Self::Bools(values) => Scalar::Bool(values[row]),
        }
    }
}

/// The rows of `truth`, by key.
pub(crate) struct Keys {
    names: Vec<String>,
    columns: Vec<KeyColumn>,
    rows: usize,
    /// Whether each key is greater than the one before it, so that none stands twice.
    rising: bool,
    by_bytes: OnceLock<HashMap<Box<[u8]>, usize>>,
}

impl Keys {
    /// No rows yet, with keys of these columns.
    pub(crate) fn new(columns: &[String]) -> Self {
        Self {
            names: columns.to_vec(),
            columns: Vec::new(),
            rows: 0,
            rising: true,
            by_bytes: OnceLock::new(),
        }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the next rows; the row of a key that has a null is the error.
    pub(crate) fn extend(&mut self, columns: &[Scalars], rows: usize) -> Result<(), usize> {
        if self.columns.is_empty() {
            let empty = columns.iter().map(|column| match column {
                Scalars::Signed(_) | Scalars::Unsigned(_) => KeyColumn::Ints(Vec::new()),
                Scalars::Text(_) => KeyColumn::Texts {
                    bytes: String::new(),
                    ends: Vec::new(),
                },
                Scalars::Bool(_) => KeyColumn::Bools(Vec::new()),
            });
            self.columns = empty.collect();
        }
        for row in 0..rows {
            for (column, values) in self.columns.iter_mut().zip(columns) {
                column.push(values.get(row).ok_or(row)?);
            }
            self.rows += 1;
            if self.rising && self.rows > 1 {
                let last = self.rows - 1;
                let order = self
                    .columns
                    .iter()
                    .map(|column| column.get(last - 1).cmp(&column.get(last)))
                    .find(|order| *order != Ordering::Equal);
                self.rising = order == Some(Ordering::Less);
            }
        }
        Ok(())
    }

    /// The first row whose key an earlier one has.
    pub(crate) fn duplicate(&self) -> Option<usize> {
        if self.rising {
            return None;
        }
        let mut seen = HashMap::with_capacity(self.rows);
        (0..self.rows).find(|row| seen.insert(self.bytes(*row), ()).is_some())
    }

    /// The row of truth with the key at `row` of `columns`; `expected` is the row to look at first.
    pub(crate) fn find(&self, columns: &[Scalars], row: usize, expected: usize) -> Option<usize> {
        if expected < self.rows {
            let mut pairs = self.columns.iter().zip(columns);
            if pairs.all(|(ours, theirs)| theirs.get(row) == Some(ours.get(expected))) {
                return Some(expected);
            }
        }
        let by_bytes = self.by_bytes.get_or_init(|| {
            let rows = (0..self.rows).map(|row| (self.bytes(row).into(), row));
            rows.collect()
        });
        let mut key = Vec::new();
        for column in columns {
            encode(column.get(row)?, &mut key);
        }
        by_bytes.get(key.as_slice()).copied()
    }

    fn bytes(&self, row: usize) -> Vec<u8> {
        let mut key = Vec::new();
        for column in &self.columns {
            encode(column.get(row), &mut key);
        }
        key
    }

    /// The key of a row of truth, as people read it: `user = 5, day = "mon"`.
    pub(crate) fn display(&self, row: usize) -> String {
        let values = self
            .columns
            .iter()
            .map(|column| column.get(row).to_string());
        self.join(values)
    }

    /// The key at `row` of `columns`, as people read it.
    pub(crate) fn display_other(&self, columns: &[Scalars], row: usize) -> String {
        let values = columns.iter().map(|column| match column.get(row) {
            Some(value) => value.to_string(),
            None => "null".to_owned(),
        });
        self.join(values)
    }

    fn join(&self, values: impl Iterator<Item = String>) -> String {
        let parts: Vec<_> = self
            .names
            .iter()
            .zip(values)
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        parts.join(", ")
    }
}

/// Text is length-prefixed, so no two keys are alike.
fn encode(value: Scalar<'_>, key: &mut Vec<u8>) {
    match value {
        Scalar::Int(value) => {
            key.push(b'i');
            key.extend(value.to_le_bytes());
        }
        Scalar::Text(text) => {
            key.push(b't');
            key.extend((text.len() as u64).to_le_bytes());
            key.extend(text.as_bytes());
        }
        Scalar::Bool(value) => key.extend([b'b', u8::from(value)]),
    }
}
