//! Artifacts: named outputs with a digest.

use std::collections::BTreeMap;

use mlbuild_digest::{Digest, Encoder};

use crate::InputContent;

/// One file of a [`Tree`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeEntry {
    /// Path in the tree: relative, `/`-separated, no `.` or `..`, not empty.
    pub path: String,
    /// Digest of the file's bytes.
    pub digest: Digest,
    /// Size of the file.
    pub size_bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// A folder of files, sorted by path, each path once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    entries: Vec<TreeEntry>,
}

impl Tree {
    /// A tree of these files, sorted. The caller guarantees that no path occurs twice.
    pub fn new(mut entries: Vec<TreeEntry>) -> Self {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Self { entries }
    }

    /// The files, sorted by path.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// Size of all files together.
    pub fn size_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size_bytes).sum()
    }

    /// The digest of paths, contents and execute bits.
    pub fn digest(&self) -> Digest {
        let mut encoder = Encoder::new("mlbuild tree v1");
        for TreeEntry {
            path,
            digest,
            size_bytes: _,
            executable,
        } in &self.entries
        {
            encoder.part(path, digest.as_bytes());
            encoder.part("executable", &[u8::from(*executable)]);
        }
        encoder.finish()
    }
}

/// A column of a [`Table`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Arrow's name of its type, as `spec/table.md` lists them: `Int64`, `List(Int64)`.
    pub data_type: String,
    /// Digest of its values in row order, over any batch, file or row-group boundaries.
    pub digest: Digest,
}

/// What a table is, whatever the files that hold it: row count, columns in order, and a digest a column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Number of rows.
    pub rows: u64,
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The key columns, if declared.
    pub key: Vec<String>,
}

impl Table {
    /// The digest of rows, columns in order and key.
    pub fn digest(&self) -> Digest {
        let Self { rows, columns, key } = self;
        let mut encoder = Encoder::new("mlbuild table v1");
        encoder.part("rows", &rows.to_le_bytes());
        for Column {
            name,
            data_type,
            digest,
        } in columns
        {
            encoder.part("column", name.as_bytes());
            encoder.part("type", data_type.as_bytes());
            encoder.part("digest", digest.as_bytes());
        }
        for column in key {
            encoder.part("key", column.as_bytes());
        }
        encoder.finish()
    }
}

/// What an action yields: files, and for a table what it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Artifact {
    /// The files.
    pub tree: Tree,
    /// Set when the files are one table (`table.parquet`).
    pub table: Option<Table>,
}

impl Artifact {
    /// What a consumer's key holds of this artifact: for a table its logical content, else its files.
    pub fn content(&self) -> InputContent {
        match &self.table {
            None => InputContent::Tree(self.tree.digest()),
            Some(table) => InputContent::Table(table.clone()),
        }
    }

    /// One digest for the whole artifact: equal artifacts are interchangeable for every consumer.
    pub fn digest(&self) -> Digest {
        match &self.table {
            None => self.tree.digest(),
            Some(table) => table.digest(),
        }
    }
}

/// What the action cache keeps of an action that succeeded.
#[derive(Clone, PartialEq, Debug)]
pub struct ActionResult {
    /// What it yielded.
    pub artifact: Artifact,
    /// Figures it reported, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Warnings it gave; shown again, labelled as replayed, on a hit.
    pub warnings: Vec<String>,
    /// How long it ran, for estimates; not part of any identity.
    pub duration: std::time::Duration,
}
