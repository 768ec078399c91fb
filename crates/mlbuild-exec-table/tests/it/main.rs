//! What the executor promises, asked through its trait: `run(work, inputs) -> Result<Output, Failure>`.

#![allow(
    clippy::result_large_err,
    clippy::unwrap_used,
    reason = "a test that panics says where"
)]

mod checks;
mod fuzz;
mod harness;
mod ingest;
mod reads;
mod split;
mod sql;
