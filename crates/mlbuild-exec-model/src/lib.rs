//! Trains models and predicts with them: native baselines, and the client of the libtorch worker.
//!
//! Both share everything but the arithmetic. Items become the indices of a catalog, sequences become indices
//! (`sequences`), then either a `baseline` counts here or the `worker` trains in a process of its own; what comes
//! back is a model's folder (`artifact`, `spec/model.md`) or, ranked, a table of predictions (`predict`). Models of a table's
//! columns have a part of their own (`table`).
//!
//! Invariants: item indices never leave this crate and the worker, tables hold items; a model's files are a function of
//! its inputs, parameters and toolchain alone, whatever the threads; no process outlives the action that started it.
//!
//! Absent here: libtorch, the cache, metrics over predictions (`mlbuild-report`).

mod artifact;
mod baseline;
mod catalog;
mod predict;
mod rank;
mod sequences;
mod table;
mod tensors;
mod train;
mod validate;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mlbuild_action::{
    Analysis, Cancel, Diagnostic, Executor, Failure, Output, Predict, Question, Request, Schema,
    Subject, Train, Work,
};

pub use worker::WorkerSettings;

/// The version of everything native: raised whenever a baseline, the artifact or the ranking may change a byte.
const NATIVE: &str = "native 2";

/// What trains and predicts on libtorch. The handshake holds a worker to it.
const LIBTORCH: &str = "libtorch 2.11";

/// The version of the worker's arithmetic: raised whenever it may change a byte.
const WORKER: &str = "worker 2";

/// Performs [`Work::Train`] and [`Work::Predict`].
#[derive(Clone, Debug)]
pub struct ModelExecutor {
    worker: WorkerSettings,
}

impl ModelExecutor {
    /// An executor that finds its worker as `worker` says. Starts nothing.
    pub fn new(worker: WorkerSettings) -> Self {
        Self { worker }
    }
}

impl Executor for ModelExecutor {
    /// Baselines depend on this crate alone, everything else on the worker too. A model's architecture is not known
    /// before its files are there, so predictions name both.
    fn toolchain(&self, work: &Work) -> Result<String, Failure> {
        Ok(match work {
            Work::Train(train) if is_native(&train.architecture) => NATIVE.to_owned(),
            _ => format!("{NATIVE}, {LIBTORCH} {WORKER}"),
        })
    }

    fn analyze(&self, work: &Work, inputs: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
        let catalog = inputs.get("catalog").and_then(Schema::item_column);
        Ok(match work {
            Work::Train(Train {
                subject: Subject::Sequences { sequence, label },
                ..
            }) => Analysis::default()
                .reading("input", [sequence.as_str()])
                .reading("validate", [sequence.as_str(), label])
                .reading("catalog", catalog),
            Work::Predict(Predict {
                question: Question::Sequences { sequence, .. },
                key,
                ..
            }) => Analysis {
                flows: Some(predict::flows(key, sequence)),
                ..Analysis::default()
            }
            .reading("input", key.iter().map(String::as_str))
            .reading("input", [sequence.as_str()]),
            Work::Train(Train {
                architecture,
                subject: Subject::Table(tabular),
                ..
            }) => table::reads_of_train(architecture, tabular, inputs)?,
            Work::Predict(Predict {
                question: Question::Table { columns, without },
                key,
                ..
            }) => table::reads_of_predict(key, columns.as_deref(), without, inputs),
            _ => Analysis::default(),
        })
    }

    fn execute(&self, request: &Request<'_>) -> Result<Output, Failure> {
        match request.work {
            Work::Train(train) => train::execute(train, request, &self.worker),
            Work::Predict(predict) => predict::execute(predict, request, &self.worker),
            other => unreachable!("the engine hands this executor models, not {other:?}"),
        }
    }
}

/// Whether an architecture needs no worker.
fn is_native(architecture: &str) -> bool {
    baseline::is_baseline(architecture) || table::is_native(architecture)
}

/// A mistake in what the user declared or fed in.
fn invalid(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::Invalid(Diagnostic::error(code, message))
}

/// A file of ours that cannot be written or read.
fn io_failure(doing: &str, error: &std::io::Error) -> Failure {
    let diagnostic = Diagnostic::error("model::io", format!("cannot {doing}: {error}"));
    Failure::Environment(match error.kind() {
        std::io::ErrorKind::StorageFull => {
            diagnostic.help("free some space on the disk and build again")
        }
        _ => diagnostic,
    })
}

fn stop_if_cancelled(cancel: &Cancel) -> Result<(), Failure> {
    match cancel.is_cancelled() {
        true => Err(Failure::Cancelled),
        false => Ok(()),
    }
}
