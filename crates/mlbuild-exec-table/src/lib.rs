//! Sources and SQL to tables, through DataFusion.
//!
//! A table is one file, `table.parquet`, and a [`Table`](mlbuild_action::Table): its row count, its columns with Arrow's
//! names for their types, and one digest a column. `spec/table.md` fixes all of it: which types there are, in which
//! order the rows stand, how a column is digested and how the file is written.
//!
//! ```text
//! files --ingest--> batches --+
//!                             +--mlbuild-table--> table.parquet, Table
//! query --plan, order, run----+
//! ```
//!
//! Invariants: equal work on equal inputs gives equal bytes, whatever the threads, the memory, the folders or the time.
//! So a query runs in several partitions only if they cannot show (`partition`); floats are aggregated exactly
//! (`aggregate`); what rows do not determine is refused (`determinism`); batches have a fixed size, the configuration
//! looks at nothing of the machine, and rows are put in a total order before they are written. Memory is bounded by the request's; what does
//! not fit is spilled to its scratch folder. Nothing of arrow or DataFusion shows in a public signature: other
//! executors read the Parquet.

#![allow(
    clippy::result_large_err,
    reason = "a failure is made once a request; its size costs nothing"
)]

mod aggregate;
mod analyze;
mod check;
mod determinism;
mod executor;
mod failure;
mod flows;
mod ingest;
mod order;
mod partition;
mod plan_text;
mod query;
mod runtime;
mod session;
mod show;
mod split;
mod sql_error;
mod writer;

pub use executor::TableExecutor;
pub use show::preview;
