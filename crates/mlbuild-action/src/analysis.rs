//! What work reads of its input tables: known from their schemas alone, before it runs.
//!
//! This is what lets a consumer keep its key when only columns change that it never looks at. An executor that does not
//! know answers with nothing, and then every column counts.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_digest::Digest;

use crate::{Column, Table};

/// What is known of a table without its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    /// The columns, in order.
    pub columns: Vec<Field>,
    /// The key columns, if declared.
    pub key: Vec<String>,
}

/// A column of a [`Schema`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// Its type, as [`Column::data_type`](crate::Column::data_type).
    pub data_type: String,
}

impl Schema {
    /// The column of a catalog that lists the items: the first key column, else `item_id`, else the first.
    pub fn item_column(&self) -> Option<&str> {
        let named = |name: &&Field| name.name == "item_id";
        let first = self.key.first().map(String::as_str);
        first.or_else(|| {
            let column = self.columns.iter().find(named).or(self.columns.first());
            column.map(|column| column.name.as_str())
        })
    }

    /// Whether there is a column of this name.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|field| field.name == column)
    }
}

impl Table {
    /// The table's schema.
    pub fn schema(&self) -> Schema {
        let Self {
            rows: _,
            columns,
            key,
        } = self;
        let field = |Column {
                         name,
                         data_type,
                         digest: _,
                     }: &Column| Field {
            name: name.clone(),
            data_type: data_type.clone(),
        };
        Schema {
            columns: columns.iter().map(field).collect(),
            key: key.clone(),
        }
    }
}

/// What an executor says of work before it runs.
///
/// Law: two inputs whose row counts and columns read are equal give equal outputs, whatever else differs between them,
/// as long as `plan` is equal too.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Analysis {
    /// The columns that the work reads, by input. Of an input that is not here it reads everything, order and key
    /// included. Names that the table does not have are allowed: executing will complain, or the work can do without.
    pub reads: BTreeMap<String, BTreeSet<String>>,
    /// What the names and types in the work were resolved to, where schemas decide that beyond the columns read.
    pub plan: Option<Digest>,
    /// Which columns read end up in which columns of the output; `None` if each may depend on all of them. Lineage, not
    /// identity.
    pub flows: Option<Flows>,
}

/// Which columns of the inputs an output is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flows {
    /// The columns whose values a column of the output is computed from. A column may be named that comes about only
    /// for some data.
    pub columns: BTreeMap<String, BTreeSet<Origin>>,
    /// The columns that decide which rows there are: filters, join keys, groups, the order under a limit.
    pub rows: BTreeSet<Origin>,
}

/// A column of an input.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Origin {
    /// The input's name.
    pub input: String,
    /// The column's name.
    pub column: String,
}

impl Analysis {
    /// Adds columns to what is read of `input`.
    #[must_use]
    pub fn reading<'a>(
        mut self,
        input: impl Into<String>,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let read = self.reads.entry(input.into()).or_default();
        read.extend(columns.into_iter().map(str::to_owned));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[&str], key: &[&str]) -> Schema {
        let field = |name: &&str| Field {
            name: (*name).to_owned(),
            data_type: "Int64".to_owned(),
        };
        Schema {
            columns: columns.iter().map(field).collect(),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_catalog_lists_its_key_else_item_id_else_its_first_column() {
        assert_eq!(schema(&["a", "b"], &["b"]).item_column(), Some("b"));
        assert_eq!(
            schema(&["a", "item_id"], &[]).item_column(),
            Some("item_id")
        );
        assert_eq!(schema(&["a", "b"], &[]).item_column(), Some("a"));
        assert_eq!(schema(&[], &[]).item_column(), None);
    }
}
