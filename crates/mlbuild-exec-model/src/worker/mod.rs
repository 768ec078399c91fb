//! The client of the libtorch worker (`spec/worker-protocol.md`).
//!
//! One worker an action: it starts with the action, is told one thing, and is gone before the action ends, however that
//! comes about. A crash in it, or in a GPU's driver, takes nothing else along. What it wrote is looked at before it is
//! believed: shapes, dtypes, ranges and order.

mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlbuild_action::{Device, Failure, Predict, Request, Train, Value};
use mlbuild_worker_protocol::{
    Checkpoint, Device as WireDevice, Model as WireModel, ParamValue, ToWorker,
};

use crate::artifact::{Model, WEIGHTS};
use crate::catalog::Catalog;
use crate::predict::{Lists, Ranked};
use crate::sequences::{Lookup, Sequences, read_labels, read_sequences};
use crate::tensors::{Tensor, TensorFile, broken, write};
use crate::train::{Columns, Trained};
use session::Session;

/// How a worker is found and watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerSettings {
    /// The worker's program, absolute; `None` if there is none on this machine.
    pub program: Option<PathBuf>,
    /// Variables that the worker gets besides those that the client sets: `LD_LIBRARY_PATH`.
    /// Nothing else of the environment reaches it.
    pub env: BTreeMap<String, OsString>,
    /// After how long without any message a worker is taken for hung and killed.
    pub silence: Duration,
    /// The least time between two checkpoints of a training.
    pub checkpoint_every: Duration,
}

impl Default for WorkerSettings {
    /// No program, no variables, a minute of silence, half a minute between checkpoints.
    fn default() -> Self {
        Self {
            program: None,
            env: BTreeMap::new(),
            silence: Duration::from_secs(60),
            checkpoint_every: Duration::from_secs(30),
        }
    }
}

/// Trains on a worker; leaves the weights in the output folder.
pub(crate) fn train(
    train: &Train,
    columns: Columns<'_>,
    request: &Request<'_>,
    settings: &WorkerSettings,
    catalog: &Catalog,
    sequences: &Sequences,
) -> Result<Trained, Failure> {
    let input = request.scratch.join("train.safetensors");
    write_sequences(&input, sequences, None)?;
    let validate = write_validate(columns, request, catalog)?;
    let output = request.output.join(WEIGHTS);
    let message = ToWorker::Train {
        model: WireModel {
            architecture: train.architecture.clone(),
            params: to_params(&train.params),
            items: catalog.len() as u64,
        },
        input,
        validate,
        output: output.clone(),
        checkpoint: Some(Checkpoint {
            folder: request.checkpoints.to_owned(),
            seconds: settings.checkpoint_every.as_secs_f64(),
        }),
        threads: train.threads,
        device: to_device(train.device),
    };
    let session = Session {
        settings,
        request,
        threads: train.threads,
        device: train.device,
    };
    let done = session.run(&message)?;
    if TensorFile::read(WORKERS_OUTPUT, &output)?.len()? == 0 {
        return Err(broken(WORKERS_OUTPUT, "holds no tensors"));
    }
    Ok(Trained {
        library: done.library,
        metrics: done.metrics,
        curve: done.curve,
    })
}

const WORKERS_OUTPUT: &str = "what the worker wrote";

fn write_validate(
    Columns { sequence, label }: Columns<'_>,
    request: &Request<'_>,
    catalog: &Catalog,
) -> Result<Option<PathBuf>, Failure> {
    const NAME: &str = "validate";
    let Some(input) = request.inputs.get(NAME) else {
        return Ok(None);
    };
    let lookup = Lookup::In(catalog);
    let sequences = read_sequences(NAME, input, sequence, lookup, request.cancel)?;
    let labels = read_labels(NAME, input, label, catalog, request.cancel)?;
    let path = request.scratch.join("validate.safetensors");
    write_sequences(&path, &sequences, Some(&labels))?;
    Ok(Some(path))
}

fn write_sequences(
    path: &Path,
    sequences: &Sequences,
    labels: Option<&[u32]>,
) -> Result<(), Failure> {
    let Sequences { items, offsets } = sequences;
    let indices = |name, values: &[u32]| {
        let values = values.iter().map(|index| i64::from(*index));
        Tensor::i64(name, &[values.len()], values)
    };
    let mut tensors = vec![
        indices("items", items),
        Tensor::i64(
            "offsets",
            &[offsets.len()],
            offsets.iter().map(|i| *i as i64),
        ),
    ];
    tensors.extend(labels.map(|labels| indices("labels", labels)));
    write(path, &tensors)
}

/// Ranks the catalog for each sequence on a worker.
pub(crate) fn predict(
    predict: &Predict,
    request: &Request<'_>,
    lists: Lists<'_>,
    settings: &WorkerSettings,
    model: &Model,
    weights: &Path,
    sequences: &Sequences,
) -> Result<RankedFile, Failure> {
    let items = model.catalog.len();
    let k = lists.k.min(items);
    if sequences.len() == 0 {
        return Ok(RankedFile {
            k,
            items: Vec::new(),
            scores: Vec::new(),
        });
    }
    let input = request.scratch.join("input.safetensors");
    write_sequences(&input, sequences, None)?;
    let output = request.scratch.join("ranked.safetensors");
    let message = ToWorker::Predict {
        model: WireModel {
            architecture: model.architecture.clone(),
            params: to_params(&model.params),
            items: items as u64,
        },
        weights: weights.to_owned(),
        input,
        output: output.clone(),
        k: k as u32,
        exclude_seen: lists.exclude_seen,
        threads: predict.threads,
        device: to_device(predict.device),
    };
    let session = Session {
        settings,
        request,
        threads: predict.threads,
        device: predict.device,
    };
    session.run(&message)?;
    RankedFile::read(&output, sequences.len(), k, items)
}

/// What a worker ranked, checked.
pub(crate) struct RankedFile {
    k: usize,
    /// `[rows, k]`; -1 where a list has ended.
    items: Vec<i64>,
    /// `[rows, k]`
    scores: Vec<f32>,
}

impl RankedFile {
    fn read(path: &Path, rows: usize, k: usize, catalog: usize) -> Result<Self, Failure> {
        let file = TensorFile::read(WORKERS_OUTPUT, path)?;
        let (shape, items) = file.i64("items")?;
        let (scores_shape, scores) = file.f32("scores")?;
        if shape != [rows, k] || scores_shape != shape {
            let why = format!(
                "has lists of shape {shape:?} and {scores_shape:?}, not {:?}",
                [rows, k]
            );
            return Err(broken(WORKERS_OUTPUT, why));
        }
        let ranked = Self { k, items, scores };
        for row in 0..rows {
            if !ranked.is_sound(row, catalog) {
                let row = row + 1;
                let why = format!("has no ranking of the catalog in row {row}");
                return Err(broken(WORKERS_OUTPUT, why));
            }
        }
        Ok(ranked)
    }

    /// Whether a row's items are in the catalog, its scores fall, and nothing follows the end of its list.
    fn is_sound(&self, row: usize, catalog: usize) -> bool {
        let slots = row * self.k..(row + 1) * self.k;
        let items = &self.items[slots.clone()];
        let length = items.iter().take_while(|item| **item >= 0).count();
        let (list, rest) = items.split_at(length);
        let scores = &self.scores[slots][..length];
        list.iter().all(|item| (*item as u64) < catalog as u64)
            && rest.iter().all(|item| *item == -1)
            && scores.iter().all(|score| score.is_finite())
            && scores.is_sorted_by(|a, b| a >= b)
    }

    /// The list of a row, from 0.
    pub(crate) fn row(&self, row: usize) -> Ranked {
        let slots = row * self.k..(row + 1) * self.k;
        let list = self.items[slots.clone()].iter().zip(&self.scores[slots]);
        list.take_while(|(item, _)| **item >= 0)
            .map(|(item, score)| (*item as u32, *score))
            .collect()
    }
}

fn to_params(params: &BTreeMap<String, Value>) -> BTreeMap<String, ParamValue> {
    params
        .iter()
        .map(|(name, value)| (name.clone(), to_param(value)))
        .collect()
}

pub(crate) fn to_param(value: &Value) -> ParamValue {
    match value {
        Value::Int(value) => ParamValue::Int(*value),
        Value::Float(value) => ParamValue::Float(*value),
        Value::Bool(value) => ParamValue::Bool(*value),
        Value::Text(value) => ParamValue::Text(value.clone()),
    }
}

pub(crate) fn from_param(value: ParamValue) -> Value {
    match value {
        ParamValue::Int(value) => Value::Int(value),
        ParamValue::Float(value) => Value::Float(value),
        ParamValue::Bool(value) => Value::Bool(value),
        ParamValue::Text(value) => Value::Text(value),
    }
}

fn to_device(device: Device) -> WireDevice {
    match device {
        Device::Cpu => WireDevice::Cpu,
        Device::Gpu => WireDevice::Gpu,
    }
}
