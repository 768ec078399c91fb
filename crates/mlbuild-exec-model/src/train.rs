//! Performs [`Work::Train`](mlbuild_action::Work::Train): tables in, a model's folder out.

use std::collections::BTreeMap;

use mlbuild_action::{Diagnostic, Failure, Output, Request, Subject, Train};
use rayon::ThreadPoolBuilder;

use crate::artifact::{self, Model, WEIGHTS};
use crate::catalog::Catalog;
use crate::sequences::{Lookup, Sequences, read_catalog, read_sequences};
use crate::validate::validate;
use crate::{NATIVE, baseline, invalid, stop_if_cancelled, table, tensors, worker};

const INPUT: &str = "input";

pub(crate) fn execute(
    train: &Train,
    request: &Request<'_>,
    settings: &worker::WorkerSettings,
) -> Result<Output, Failure> {
    match &train.subject {
        Subject::Sequences { sequence, label } => {
            sequences(train, sequence, label, request, settings)
        }
        Subject::Table(tabular) => table::train(train, tabular, request),
    }
}

fn sequences(
    train: &Train,
    sequence: &str,
    label: &str,
    request: &Request<'_>,
    settings: &worker::WorkerSettings,
) -> Result<Output, Failure> {
    let (catalog, sequences) = read_input(sequence, request)?;
    let trained = if baseline::is_baseline(&train.architecture) {
        let columns = Columns { sequence, label };
        train_baseline(train, columns, request, &catalog, &sequences)?
    } else {
        let validate = Columns { sequence, label };
        worker::train(train, validate, request, settings, &catalog, &sequences)?
    };
    let model = Model {
        architecture: train.architecture.clone(),
        params: train.params.clone(),
        library: trained.library,
        sequence: sequence.to_owned(),
        label: label.to_owned(),
        metrics: lasting(&trained.metrics),
        curve: trained.curve.iter().map(lasting).collect(),
        catalog,
    };
    artifact::write(request.output, &model)?;
    Ok(Output {
        metrics: trained.metrics,
        ..Output::default()
    })
}

/// The columns of a table of sequences.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Each row's items.
    pub(crate) sequence: &'a str,
    /// The item that follows them.
    pub(crate) label: &'a str,
}

/// What training yields besides the weights.
pub(crate) struct Trained {
    /// What trained it.
    pub(crate) library: String,
    /// Final figures by name.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// Figures of each epoch.
    pub(crate) curve: Vec<BTreeMap<String, f64>>,
}

fn read_input(sequence: &str, request: &Request<'_>) -> Result<(Catalog, Sequences), Failure> {
    let cancel = request.cancel;
    let mut catalog = match request.inputs.get("catalog") {
        Some(input) => Some(read_catalog(input, cancel)?),
        None => None,
    };
    let lookup = match &catalog {
        Some(catalog) => Lookup::In(catalog),
        None => Lookup::Growing(&mut catalog),
    };
    let input = request.input(INPUT);
    let sequences = read_sequences(INPUT, input, sequence, lookup, cancel)?;
    if sequences.len() == 0 {
        return Err(invalid("model::empty", "`input` has no rows to train on"));
    }
    if sequences.iter().all(|sequence| sequence.len() < 2) {
        let message = format!("every sequence in column `{sequence}` of `input` is shorter than 2");
        return Err(Failure::Invalid(
            Diagnostic::error("model::empty", message)
                .help("what follows what can only be learned from two items or more"),
        ));
    }
    let catalog = catalog.expect("read, or grown with the first row");
    Ok((catalog, sequences))
}

fn train_baseline(
    train: &Train,
    columns: Columns<'_>,
    request: &Request<'_>,
    catalog: &Catalog,
    sequences: &Sequences,
) -> Result<Trained, Failure> {
    let (baseline, valid) = on_threads(request.threads, || {
        let baseline = baseline::train(
            &train.architecture,
            &train.params,
            sequences,
            catalog.len(),
            request.cancel,
        )?;
        let valid = validate(&*baseline, catalog, columns, request)?;
        Ok((baseline, valid))
    })?;
    stop_if_cancelled(request.cancel)?;
    tensors::write(&request.output.join(WEIGHTS), &baseline.tensors())?;
    Ok(Trained {
        library: NATIVE.to_owned(),
        metrics: [
            ("items".to_owned(), catalog.len() as f64),
            ("interactions".to_owned(), sequences.items.len() as f64),
            ("sequences".to_owned(), sequences.len() as f64),
        ]
        .into_iter()
        .chain(valid)
        .collect(),
        curve: Vec::new(),
    })
}

/// Runs rayon's part of the work on as many threads as it may use.
pub(crate) fn on_threads<T: Send>(
    threads: usize,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let pool = ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
    let pool = pool.map_err(|error| {
        Failure::Environment(Diagnostic::error(
            "model::threads",
            format!("cannot start threads: {error}"),
        ))
    })?;
    pool.install(work)
}

/// The figures that may enter a model's files: durations and memory differ from run to run.
fn lasting(metrics: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let timeless =
        |name: &str| name != "seconds" && !name.ends_with("_seconds") && !name.ends_with("_bytes");
    metrics
        .iter()
        .filter(|(name, _)| timeless(name))
        .map(|(name, value)| (name.clone(), *value))
        .collect()
}
