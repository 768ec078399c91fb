//! The catalog: which items there are, and the index of each.
//!
//! Items are integers (any arrow integer that fits `i64`) or texts. An item's index is its row in the catalog, or the
//! order of first appearance when the catalog grows from sequences. Models and the worker know indices only.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use mlbuild_action::Failure;
use mlbuild_table::type_name;

use crate::invalid;

/// What items are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ItemType {
    Int,
    Text,
}

impl ItemType {
    /// The item type of a column of this type, if it holds items.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Utf8 => Some(Self::Text),
            data_type if data_type.is_integer() => Some(Self::Int),
            _ => None,
        }
    }

    /// The name of its type in tables.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Int => "Int64",
            Self::Text => "Utf8",
        }
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Text => DataType::Utf8,
        }
    }
}

/// Items of a column, some of them null.
pub(crate) enum Items {
    Int(Int64Array),
    Text(StringArray),
}

impl Items {
    /// The items of an array whose type [`ItemType::of`] knows.
    pub(crate) fn new(column: &str, array: &ArrayRef) -> Result<Self, Failure> {
        if array.data_type() == &DataType::Utf8 {
            return Ok(Self::Text(array.as_string::<i32>().clone()));
        }
        // Only a `UInt64` can fail; the cast then yields a null that was none.
        let ints = cast(array, &DataType::Int64).expect("integers cast to `Int64`");
        if ints.null_count() > array.null_count() {
            return Err(invalid(
                "model::item-range",
                format!("column `{column}` holds items beyond the range of Int64"),
            ));
        }
        Ok(Self::Int(ints.as_primitive::<Int64Type>().clone()))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Int(items) => items.len(),
            Self::Text(items) => items.len(),
        }
    }

    pub(crate) fn is_null(&self, slot: usize) -> bool {
        match self {
            Self::Int(items) => items.is_null(slot),
            Self::Text(items) => items.is_null(slot),
        }
    }

    /// The item as diagnostics print it.
    pub(crate) fn show(&self, slot: usize) -> String {
        match self {
            Self::Int(items) => items.value(slot).to_string(),
            Self::Text(items) => format!("{:?}", items.value(slot)),
        }
    }
}

/// Items in index order, each once.
#[derive(Clone, Debug)]
pub(crate) enum Catalog {
    Int(Index<i64>),
    Text(Index<Arc<str>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Index<T> {
    items: Vec<T>,
    by_item: HashMap<T, u32>,
}

impl<T: Hash + Eq + Clone> Index<T> {
    fn new() -> Self {
        Self {
            items: Vec::new(),
            by_item: HashMap::new(),
        }
    }

    fn get<Q: Hash + Eq + ?Sized>(&self, item: &Q) -> Option<u32>
    where
        T: Borrow<Q>,
    {
        self.by_item.get(item).copied()
    }

    fn add(&mut self, item: T) -> u32 {
        let index = u32::try_from(self.items.len()).expect("memory holds fewer than 2^32 items");
        self.items.push(item.clone());
        self.by_item.insert(item, index);
        index
    }
}

impl Catalog {
    pub(crate) fn new(item_type: ItemType) -> Self {
        match item_type {
            ItemType::Int => Self::Int(Index::new()),
            ItemType::Text => Self::Text(Index::new()),
        }
    }

    pub(crate) fn item_type(&self) -> ItemType {
        match self {
            Self::Int(_) => ItemType::Int,
            Self::Text(_) => ItemType::Text,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Int(index) => index.items.len(),
            Self::Text(index) => index.items.len(),
        }
    }

    /// The index of the item in a slot that is not null; `None` if the catalog does not have it.
    ///
    /// # Panics
    /// If items and catalog differ in type.
    pub(crate) fn get(&self, items: &Items, slot: usize) -> Option<u32> {
        match (self, items) {
            (Self::Int(index), Items::Int(items)) => index.get(&items.value(slot)),
            (Self::Text(index), Items::Text(items)) => index.get(items.value(slot)),
            _ => unreachable!("types are compared before items are"),
        }
    }

    /// Adds the item of a slot that is not null, which the catalog does not have yet, and returns its index.
    ///
    /// # Panics
    /// If items and catalog differ in type.
    pub(crate) fn add(&mut self, items: &Items, slot: usize) -> u32 {
        match (self, items) {
            (Self::Int(index), Items::Int(items)) => index.add(items.value(slot)),
            (Self::Text(index), Items::Text(items)) => index.add(items.value(slot).into()),
            _ => unreachable!("types are compared before items are"),
        }
    }

    /// The items at these indices, in this order.
    pub(crate) fn items_at(&self, indices: impl Iterator<Item = u32>) -> ArrayRef {
        match self {
            Self::Int(index) => Arc::new(
                indices
                    .map(|i| Some(index.items[i as usize]))
                    .collect::<Int64Array>(),
            ),
            Self::Text(index) => Arc::new(
                indices
                    .map(|i| Some(&*index.items[i as usize]))
                    .collect::<StringArray>(),
            ),
        }
    }

    /// All items in index order.
    pub(crate) fn items(&self) -> ArrayRef {
        self.items_at(0..self.len() as u32)
    }
}

/// Says that `column` cannot hold items.
pub(crate) fn not_items(table: &str, column: &str, data_type: &DataType) -> Failure {
    invalid(
        "model::item-type",
        format!(
            "column `{column}` of `{table}` is {}: items are integers or texts",
            type_name(data_type)
        ),
    )
}
