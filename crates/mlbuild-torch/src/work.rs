//! One request, from its files to its files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use mlbuild_worker_protocol::{FromWorker, Model, ToWorker};
use tch::Tensor;

use crate::params::Params;
use crate::problem::{Code, Problem};
use crate::sasrec::{Sasrec, Shape};
use crate::sequences::{Sequences, read_tensors, write_tensors};
use crate::train::Epoch;
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
            let model =
                Sasrec::from_weights(Shape::new(&params, catalog), read_tensors(weights)?, device)?;
            predict(&model, &input, output, *k as usize, *exclude_seen)
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
    let mut begin = Instant::now();
    let fitted = train::train(params, catalog, input, validate, device, |epoch| {
        let mut metrics = figures(epoch);
        metrics.insert("seconds".into(), begin.elapsed().as_secs_f64());
        begin = Instant::now();
        tell(FromWorker::Epoch {
            epoch: epoch.epoch,
            epochs: params.epochs,
            metrics,
        });
    })?;
    let mut tensors = Vec::new();
    for weight in fitted.model.weights() {
        let tensor = weight
            .tensor
            .f_to_device(tch::Device::Cpu)?
            .f_contiguous()?;
        tensors.push((weight.name.clone(), tensor));
    }
    write_tensors(output, &tensors)?;
    let mut metrics = figures(&fitted.best);
    metrics.insert("epochs".into(), f64::from(fitted.epochs));
    metrics.insert("best_epoch".into(), f64::from(fitted.best.epoch));
    Ok(metrics)
}

fn figures(epoch: &Epoch) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::from([("loss".to_owned(), epoch.loss)]);
    if let Some(valid) = epoch.valid {
        metrics.insert("valid_hit_rate@10".into(), valid.hit_rate);
        metrics.insert("valid_ndcg@10".into(), valid.ndcg);
        metrics.insert("valid_mrr@10".into(), valid.mrr);
    }
    metrics
}

fn predict(
    model: &Sasrec,
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
    rank::for_each_row(model, input, |row, all| {
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
