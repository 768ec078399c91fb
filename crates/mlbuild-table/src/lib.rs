//! The table format: one Parquet file with canonical types, and a digest a column (`spec/table.md`).
//!
//! Every executor that yields a table writes it through [`TableWriter`], so equal rows give equal digests *and* equal
//! bytes, however the rows were cut into batches. Three steps make that so: types that only differ in how they are laid
//! out in memory become one ([`canonical_type`]); rows are cut again into blocks of [`BLOCK_ROWS`]; the Parquet
//! settings are fixed. A column's digest is over its blocks, so it depends on the column's values in row order and on
//! nothing else.
//!
//! This crate knows nothing of row order, keys or checks: rows are written as they come. It is the one library crate
//! with arrow types in its public signatures, since exchanging arrow batches is all it does.

mod column_digest;
mod compare;
mod error;
mod project;
mod reader;
mod rows;
mod types;
mod writer;

#[cfg(test)]
mod tests;

pub use compare::{first_difference, reshape};
pub use error::TableError;
pub use project::project;
pub use reader::TableReader;
pub use rows::{RowChanges, row_changes};
pub use types::{canonical_schema, canonical_type, parse_type, type_name};
pub use writer::TableWriter;

/// The name of the one file of a table, in its folder.
pub const FILE_NAME: &str = "table.parquet";

/// The rows that are written, and digested, together. Part of the format: `spec/table.md`.
pub const BLOCK_ROWS: usize = 8192;
