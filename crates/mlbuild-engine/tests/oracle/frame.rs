//! Tiny tables of integers: what both the model and the toy executor compute with.

use std::collections::BTreeMap;

use mlbuild_action::{Column, Table};
use mlbuild_digest::{Digest, Encoder};

/// A table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) rows: usize,
    /// Columns in order, each of `rows` values.
    pub(crate) columns: Vec<(String, Vec<i64>)>,
    /// The columns by which the rows are sorted, if any.
    pub(crate) key: Vec<String>,
}

impl Frame {
    pub(crate) fn column(&self, name: &str) -> Option<&[i64]> {
        let found = self.columns.iter().find(|(known, _)| known == name);
        found.map(|(_, values)| values.as_slice())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The columns whatever their order.
    pub(crate) fn by_name(&self) -> BTreeMap<String, Vec<i64>> {
        self.columns.iter().cloned().collect()
    }

    /// The same rows sorted by `key`; `None` if there is no such column.
    pub(crate) fn keyed(mut self, key: &[String]) -> Option<Self> {
        let by: Vec<&[i64]> = key
            .iter()
            .map(|name| self.column(name))
            .collect::<Option<_>>()?;
        let mut order: Vec<usize> = (0..self.rows).collect();
        order.sort_by_key(|row| by.iter().map(|values| values[*row]).collect::<Vec<_>>());
        for (_, values) in &mut self.columns {
            *values = order.iter().map(|row| values[*row]).collect();
        }
        self.key = key.to_vec();
        Some(self)
    }

    /// The file of a table, of sources and artifacts alike. The key is not in it.
    pub(crate) fn csv(&self) -> String {
        let mut csv = self.names().join(",") + "\n";
        for row in 0..self.rows {
            let values = self.columns.iter().map(|(_, column)| column[row]);
            let values: Vec<String> = values.map(|value| value.to_string()).collect();
            csv += &(values.join(",") + "\n");
        }
        csv
    }

    pub(crate) fn from_csv(text: &str) -> Self {
        let mut lines = text.lines();
        let header = lines.next().expect("a table has a header");
        let mut columns: Vec<(String, Vec<i64>)> = header
            .split(',')
            .map(|name| (name.to_owned(), Vec::new()))
            .collect();
        let mut rows = 0;
        for line in lines {
            rows += 1;
            for ((_, values), value) in columns.iter_mut().zip(line.split(',')) {
                values.push(value.parse().expect("a table holds integers"));
            }
        }
        let key = Vec::new();
        Self { rows, columns, key }
    }

    /// What the engine is told of it.
    pub(crate) fn table(&self) -> Table {
        let column = |(name, values): &(String, Vec<i64>)| {
            let mut encoder = Encoder::new("oracle column");
            for value in values {
                encoder.part("value", &value.to_le_bytes());
            }
            Column {
                name: name.clone(),
                data_type: "Int64".to_owned(),
                digest: encoder.finish(),
            }
        };
        Table {
            rows: self.rows as u64,
            columns: self.columns.iter().map(column).collect(),
            key: self.key.clone(),
        }
    }

    /// The object that holds its file.
    pub(crate) fn object(&self) -> Digest {
        Digest::of(self.csv().as_bytes())
    }
}
