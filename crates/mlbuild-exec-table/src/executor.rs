//! The executor: which work it performs, and with which tools.

use std::collections::BTreeMap;

use mlbuild_action::{Analysis, Cancel, Executor, Failure, Format, Output, Request, Schema, Work};

use crate::{analyze, check, ingest, query, runtime, split};

/// Raised whenever the same work may give other bytes than before: an upgrade of DataFusion, arrow or parquet that
/// changes the result or the encoding of a query, a change of [`crate::writer`]'s properties, of the types in
/// [`crate::types`], of the row order, of the column digest, or of how text becomes values in [`crate::ingest`].
/// Patch releases that change none of it leave it alone, so that they do not rebuild the world.
const ENGINE_EPOCH: u32 = 2;

/// Performs [`Work::Ingest`], [`Work::Sql`], [`Work::Split`] and [`Work::Check`] in this process.
///
/// ```
/// use mlbuild_action::{Executor, Format, Ingest, Work};
/// use mlbuild_exec_table::TableExecutor;
///
/// let csv = Ingest { format: Format::Csv, types: Default::default(), row_number: None, key: vec![] };
/// let toolchain = TableExecutor::new().toolchain(&Work::Ingest(csv)).expect("it is built in");
/// assert!(toolchain.starts_with("datafusion 55"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TableExecutor(());

impl TableExecutor {
    /// An executor. It holds nothing: a session lives as long as a request.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Executor for TableExecutor {
    fn toolchain(&self, work: &Work) -> Result<String, Failure> {
        Ok(match work {
            // Files pass through untouched: no engine has a say in them.
            Work::Ingest(ingest) if ingest.format == Format::Files => "files".to_owned(),
            _ => format!("datafusion 55 epoch {ENGINE_EPOCH}"),
        })
    }

    fn analyze(&self, work: &Work, inputs: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
        runtime::run(&Cancel::new(), 1, async || match work {
            Work::Sql(sql) => analyze::sql(sql, inputs).await,
            Work::Check(check) => analyze::check(check, inputs).await,
            Work::Split(split) => match inputs.get("input") {
                Some(schema) => split::analyze(split, schema),
                None => Ok(Analysis::default()),
            },
            _ => Ok(Analysis::default()),
        })
    }

    fn execute(&self, request: &Request<'_>) -> Result<Output, Failure> {
        runtime::run(request.cancel, request.threads, async || {
            match request.work {
                Work::Ingest(ingest) => ingest::ingest(request, ingest).await,
                Work::Sql(sql) => query::build(request, sql).await,
                Work::Check(check) => check::check(request, check).await,
                Work::Split(split) => split::split(request, split),
                Work::Command(_)
                | Work::Python(_)
                | Work::Train(_)
                | Work::Predict(_)
                | Work::Evaluate(_)
                | Work::Pick(_) => {
                    unreachable!("the engine hands other work to other executors")
                }
            }
        })
    }
}
