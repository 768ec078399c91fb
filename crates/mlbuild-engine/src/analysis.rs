//! What stages read of their inputs, asked once: a query is planned the first time it meets these schemas, and never
//! again.
//!
//! The answer depends on the work, the tools and the schemas alone, so it is kept in the cache as a memo named by the
//! digest of exactly these. A null build therefore plans no query ([`Analyses::planned`] counts).

use std::collections::BTreeMap;

use mlbuild_action::{Analysis, Check, CheckRule, Executor, Failure, Field, Schema, Work};
use mlbuild_digest::{Digest, Encoder};

use crate::project::Project;

mod wire;

/// The analyses of one build.
pub(crate) struct Analyses<'a> {
    project: &'a Project,
    planned: u64,
}

impl<'a> Analyses<'a> {
    pub(crate) fn new(project: &'a Project) -> Self {
        Self {
            project,
            planned: 0,
        }
    }

    /// How many queries had to be planned.
    pub(crate) fn planned(&self) -> u64 {
        self.planned
    }

    /// What `work` reads of input tables of these schemas, by name.
    ///
    /// # Errors
    /// Those of [`Executor::analyze`]; they are not remembered.
    pub(crate) fn analyze(
        &mut self,
        executor: &dyn Executor,
        work: &Work,
        toolchain: &str,
        inputs: &BTreeMap<String, Schema>,
    ) -> Result<Analysis, Failure> {
        if !plans_a_query(work) {
            return executor.analyze(work, inputs);
        }
        let cache = &self.project.cache;
        let key = memo_key(work, toolchain, inputs);
        if let Some(analysis) = cache.memo(&key).and_then(|bytes| wire::decode(&bytes)) {
            return Ok(analysis);
        }
        self.planned += 1;
        let analysis = executor.analyze(work, inputs)?;
        // A memo that cannot be kept costs the next build a moment; storing the result will say what is wrong.
        let _ = cache.remember_memo(&key, &wire::encode(&analysis));
        Ok(analysis)
    }
}

/// Whether analysing it costs more than looking up what it was.
fn plans_a_query(work: &Work) -> bool {
    match work {
        Work::Sql(_) => true,
        Work::Check(Check { rule, .. }) => matches!(rule, CheckRule::Sql(_)),
        Work::Ingest(_)
        | Work::Split(_)
        | Work::Command(_)
        | Work::Python(_)
        | Work::Train(_)
        | Work::Predict(_)
        | Work::Evaluate(_)
        | Work::Pick(_) => false,
    }
}

fn memo_key(work: &Work, toolchain: &str, inputs: &BTreeMap<String, Schema>) -> Digest {
    let mut encoder = Encoder::new("mlbuild analysis v1");
    encoder.part("toolchain", toolchain.as_bytes());
    encoder.part("work", work.describe().key().digest().as_bytes());
    for (name, Schema { columns, key }) in inputs {
        encoder.part("input", name.as_bytes());
        for Field { name, data_type } in columns {
            encoder.part("column", name.as_bytes());
            encoder.part("type", data_type.as_bytes());
        }
        for column in key {
            encoder.part("key", column.as_bytes());
        }
    }
    encoder.finish()
}
