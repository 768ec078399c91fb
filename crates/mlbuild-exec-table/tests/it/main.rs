//! What the executor promises, asked through its trait: `run(work, inputs) -> Result<Output, Failure>`.

mod checks;
mod harness;
mod ingest;
mod sql;
