//! One request, from its files to its files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use mlbuild_worker_protocol::{FromWorker, Model, ToWorker};
use tch::Tensor;

use crate::checkpoint::Checkpoints;
use crate::objective::{Measure, Objective};
use crate::params::Params;
use crate::problem::{Code, Problem};
use crate::rank::Scorer;
use crate::sequence_model::SequenceModel;
use crate::sequences::{Sequences, read_tensors, write_tensors};
use crate::train::{Epoch, News, Training};
use crate::weights::Weights;
use crate::{rank, runtime, train};

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// Does what a request asks for; `tell` hears of the progress.
///
/// # Errors
/// See [`Code`].
pub fn perform(
    request: &ToWorker,
    no_cuda: Option<&str>,
    tell: &dyn Fn(FromWorker),
) -> Result<Figures, Problem> {
    match request {
        ToWorker::Train {
            model,
            input,
            validate,
            output,
            checkpoint,
            threads,
            device,
        } => {
            let params = Params::new(&model.architecture, &model.params)?;
            let catalog = catalog(model)?;
            let network = SequenceModel::new(&model.architecture, &params, catalog)?;
            runtime::configure(*threads)?;
            let what = described(model, *threads, *device)?;
            let device = runtime::device(*device, no_cuda)?;
            let input = Sequences::read(input, catalog, false)?;
            let validate = validate
                .as_deref()
                .map(|path| Sequences::read(path, catalog, true))
                .transpose()?;
            let checkpoints = checkpoint.as_ref().map(|at| {
                let every = Duration::try_from_secs_f64(at.seconds).unwrap_or(Duration::MAX);
                Checkpoints::new(&at.folder, every, what)
            });
            let job = Job {
                output,
                device,
                checkpoints: checkpoints.transpose()?,
                tell,
            };
            network.fit(&params, &input, validate.as_ref(), job)
        }
        ToWorker::Predict {
            model,
            weights,
            input,
            output,
            k,
            exclude_seen,
            threads,
            device,
        } => {
            let params = Params::new(&model.architecture, &model.params)?;
            let catalog = catalog(model)?;
            let network = SequenceModel::new(&model.architecture, &params, catalog)?;
            runtime::configure(*threads)?;
            let device = runtime::device(*device, no_cuda)?;
            let input = Sequences::read(input, catalog, false)?;
            let weights = Weights::named(network.specs(), read_tensors(weights)?, device)?;
            let k = *k as usize;
            predict(network.scorer(), &weights, &input, output, k, *exclude_seen)
        }
    }
}

/// The catalog's size: item indices are i64, and a tensor's length is one too.
fn catalog(model: &Model) -> Result<i64, Problem> {
    let items = i64::from(i32::try_from(model.items).unwrap_or(-1));
    match items {
        -1 => Err(Problem::new(
            Code::Input,
            format!("a catalog of {} items is too large", model.items),
        )),
        items => Ok(items),
    }
}

/// What a checkpoint says that it is of.
fn described(
    model: &Model,
    threads: u32,
    device: mlbuild_worker_protocol::Device,
) -> Result<String, Problem> {
    let what = (
        env!("CARGO_PKG_VERSION"),
        runtime::LIBTORCH_VERSION,
        model,
        threads,
        device,
    );
    serde_json::to_string(&what).map_err(|error| Problem::new(Code::Bug, error.to_string()))
}

/// Where a training writes, and what it tells.
pub struct Job<'a> {
    output: &'a Path,
    device: tch::Device,
    checkpoints: Option<Checkpoints>,
    tell: &'a dyn Fn(FromWorker),
}

impl Job<'_> {
    /// Fits any network and writes its weights.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn run(self, objective: &impl Objective, training: &Training) -> Result<Figures, Problem> {
        let Job {
            output,
            device,
            checkpoints,
            tell,
        } = self;
        let measures = objective.measures();
        let start = Instant::now();
        let mut begin = start;
        let tell_epoch = |epoch: &Epoch, seconds: Option<f64>| {
            let mut metrics = figures(epoch, measures);
            metrics.extend(seconds.map(|seconds| ("seconds".to_owned(), seconds)));
            tell(FromWorker::Epoch {
                epoch: epoch.epoch,
                epochs: training.epochs,
                metrics,
            });
        };
        let fitted = train::train(
            objective,
            training,
            device,
            checkpoints,
            |news| match news {
                News::Resumed { steps } => tell(FromWorker::Resumed { step: steps }),
                News::Past(epoch) => tell_epoch(epoch, None),
                News::Epoch(epoch) => {
                    tell_epoch(epoch, Some(begin.elapsed().as_secs_f64()));
                    begin = Instant::now();
                }
            },
        )?;
        write_tensors(output, &fitted.weights.to_tensors()?)?;
        let mut metrics = figures(&fitted.best, measures);
        metrics.insert("epochs".into(), f64::from(fitted.epochs));
        metrics.insert("best_epoch".into(), f64::from(fitted.best.epoch));
        metrics.insert("steps".into(), fitted.steps as f64);
        metrics.insert("train_seconds".into(), start.elapsed().as_secs_f64());
        metrics.insert("data_wait_seconds".into(), fitted.waiting.as_secs_f64());
        if let Some(bytes) = runtime::peak_memory_bytes() {
            metrics.insert("peak_memory_bytes".into(), bytes as f64);
        }
        Ok(metrics)
    }
}

fn figures(epoch: &Epoch, measures: &[Measure]) -> Figures {
    let valid = measures.iter().zip(&epoch.valid);
    let valid = valid.map(|(measure, value)| (measure.name.to_owned(), *value));
    let loss = ("loss".to_owned(), epoch.loss);
    valid.chain([loss]).collect()
}

fn predict(
    scorer: &dyn Scorer,
    weights: &Weights,
    input: &Sequences,
    output: &Path,
    k: usize,
    exclude_seen: bool,
) -> Result<Figures, Problem> {
    let rows = input.rows();
    let cells = rows
        .checked_mul(k)
        .filter(|cells| i32::try_from(*cells).is_ok());
    let cells = cells.ok_or_else(|| {
        Problem::new(
            Code::Input,
            format!("{k} predictions for {rows} rows are too many"),
        )
    })?;
    let mut items = vec![-1_i64; cells];
    let mut scores = vec![0_f32; cells];
    rank::for_each_row(scorer, weights, input, |row, all| {
        let seen = if exclude_seen { input.row(row) } else { &[] };
        for (place, item) in rank::best(all, k, seen).into_iter().enumerate() {
            items[row * k + place] = item;
            scores[row * k + place] = all[item as usize];
        }
    })?;
    let size = [rows as i64, k as i64];
    let tensors = [
        (
            "items".to_owned(),
            Tensor::f_from_slice(&items)?.f_view(size)?,
        ),
        (
            "scores".to_owned(),
            Tensor::f_from_slice(&scores)?.f_view(size)?,
        ),
    ];
    write_tensors(output, &tensors)?;
    Ok(BTreeMap::from([("rows".to_owned(), rows as f64)]))
}
