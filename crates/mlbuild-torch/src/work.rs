//! One request, from its files to its files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use mlbuild_worker_protocol::{FromWorker, Model, ToWorker};
use tch::Tensor;

use crate::item_loss::ItemLoss;
use crate::next_item::{self, Encoder, NextItem};
use crate::objective::{Measure, Objective};
use crate::params::Params;
use crate::problem::{Code, Problem};
use crate::rank::Scorer;
use crate::sasrec::{Sasrec, Shape};
use crate::sequences::{Sequences, read_tensors, write_tensors};
use crate::train::{Epoch, Training};
use crate::weights::Weights;
use crate::{rank, runtime, train};

/// Does what a request asks for; `tell` hears of the progress.
///
/// # Errors
/// See [`Code`].
pub fn perform(
    request: &ToWorker,
    no_cuda: Option<&str>,
    tell: &dyn Fn(FromWorker),
) -> Result<BTreeMap<String, f64>, Problem> {
    match request {
        ToWorker::Train {
            model,
            input,
            validate,
            output,
            threads,
            device,
        } => {
            let (params, catalog) = check(model)?;
            runtime::configure(*threads)?;
            let device = runtime::device(*device, no_cuda)?;
            let input = Sequences::read(input, catalog, false)?;
            let validate = validate
                .as_deref()
                .map(|path| Sequences::read(path, catalog, true))
                .transpose()?;
            fit(
                &params,
                catalog,
                &input,
                validate.as_ref(),
                output,
                device,
                tell,
            )
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
            let (params, catalog) = check(model)?;
            runtime::configure(*threads)?;
            let device = runtime::device(*device, no_cuda)?;
            let input = Sequences::read(input, catalog, false)?;
            let shape = Shape::new(&params, catalog);
            let network = Sasrec { shape };
            let weights = Weights::named(network.specs(), read_tensors(weights)?, device)?;
            predict(
                &network,
                &weights,
                &input,
                output,
                *k as usize,
                *exclude_seen,
            )
        }
    }
}

/// The parameters and the catalog's size.
fn check(model: &Model) -> Result<(Params, i64), Problem> {
    if model.architecture != "sasrec" {
        let message = format!("no architecture `{}`", model.architecture);
        return Err(Problem::new(Code::Params, message).help("the worker knows `sasrec`"));
    }
    let params = Params::parse(&model.params)?;
    // Item indices are i64, and a tensor's length is one too.
    let catalog = i64::try_from(model.items)
        .ok()
        .filter(|items| *items <= i64::from(i32::MAX));
    let catalog = catalog.ok_or_else(|| {
        Problem::new(
            Code::Input,
            format!("a catalog of {} items is too large", model.items),
        )
    })?;
    Ok((params, catalog))
}

fn fit(
    params: &Params,
    catalog: i64,
    input: &Sequences,
    validate: Option<&Sequences>,
    output: &Path,
    device: tch::Device,
    tell: &dyn Fn(FromWorker),
) -> Result<BTreeMap<String, f64>, Problem> {
    let shape = Shape::new(params, catalog);
    let objective = NextItem {
        encoder: &Sasrec { shape },
        train: input,
        valid: validate,
        dropout: params.dropout,
        loss: ItemLoss::Softmax {
            smoothing: params.label_smoothing,
        },
    };
    next_item::check(catalog, input, validate)?;
    learn(&objective, &params.training(), output, device, tell)
}

/// Fits any network and writes its weights.
fn learn(
    objective: &impl Objective,
    training: &Training,
    output: &Path,
    device: tch::Device,
    tell: &dyn Fn(FromWorker),
) -> Result<BTreeMap<String, f64>, Problem> {
    let measures = objective.measures();
    let mut begin = Instant::now();
    let fitted = train::train(objective, training, device, |epoch| {
        let mut metrics = figures(epoch, measures);
        metrics.insert("seconds".into(), begin.elapsed().as_secs_f64());
        begin = Instant::now();
        tell(FromWorker::Epoch {
            epoch: epoch.epoch,
            epochs: training.epochs,
            metrics,
        });
    })?;
    write_tensors(output, &fitted.weights.to_tensors()?)?;
    let mut metrics = figures(&fitted.best, measures);
    metrics.insert("epochs".into(), f64::from(fitted.epochs));
    metrics.insert("best_epoch".into(), f64::from(fitted.best.epoch));
    Ok(metrics)
}

fn figures(epoch: &Epoch, measures: &[Measure]) -> BTreeMap<String, f64> {
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
) -> Result<BTreeMap<String, f64>, Problem> {
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
