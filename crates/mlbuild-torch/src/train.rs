//! Training of `sasrec`: windows, full-softmax cross-entropy, AdamW, early stopping.
//!
//! Every position of a sequence predicts the next item, and the loss is the cross-entropy over the *whole* catalog, not
//! over sampled negatives: with it SASRec is as good as BERT4Rec (Klenitskiy and Vasilev, "Turning Dross Into Gold Loss: is
//! BERT4Rec really better than SASRec?", 2023), and the overconfidence that sampling causes does not arise (Petrov and
//! Macdonald, "gSASRec", 2023). The scores of `positions x items` are the largest tensor, so they are computed in slices
//! of bounded size and memory does not grow with the catalog.
//!
//! Everything random comes from the seed: the order of data from a generator here, weights and dropout from libtorch's.

use tch::{Kind, Reduction, TchError, Tensor};

use crate::adamw::AdamW;
use crate::params::Params;
use crate::problem::{Code, Problem};
use crate::rank::{self, Figures};
use crate::sasrec::{Sasrec, Shape};
use crate::sequences::{Sequences, pad};

/// How many scores are held at a time: 4 MiB of them, so that they stay in the cache.
const SCORES: i64 = 1 << 20;

/// What is known after an epoch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Epoch {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Mean loss over the epoch's positions, in nats.
    pub loss: f64,
    /// Figures on the validation table, if there is one.
    pub valid: Option<Figures>,
}

/// A fitted model.
#[derive(Debug)]
pub struct Fitted {
    /// With the best weights; without a validation table, the last.
    pub model: Sasrec,
    /// How many epochs ran.
    pub epochs: u32,
    /// The epoch that the weights are from.
    pub best: Epoch,
}

/// Fits a model to `train`; `report` hears of every epoch.
///
/// # Errors
/// [`Code::Empty`] without a catalog, a sequence of two items, or a row to validate on; [`Code::Diverged`] when the loss is no longer finite;
/// those of libtorch.
pub fn train(
    params: &Params,
    catalog: i64,
    train: &Sequences,
    valid: Option<&Sequences>,
    device: tch::Device,
    mut report: impl FnMut(&Epoch),
) -> Result<Fitted, Problem> {
    check_not_empty(catalog, train, valid)?;
    tch::manual_seed(params.seed);
    let mut order = Order::new(params.seed);
    let mut model = Sasrec::random(Shape::new(params, catalog), device)?;
    for weight in model.weights_mut() {
        let _ = weight.tensor.f_set_requires_grad(true)?;
    }
    let mut optimizer = AdamW::new(&model, params.weight_decay)?;
    let mut average = if params.ema > 0.0 {
        Some(model.duplicate()?)
    } else {
        None
    };
    let mut best: Option<(Epoch, Sasrec)> = None;
    let mut steps = 0;
    let mut epoch = 0;
    while epoch < params.epochs {
        epoch += 1;
        let mut loss = 0.0;
        let mut positions = 0;
        let windows = windows(train, params.max_length, &mut order);
        for batch in windows.chunks(params.batch) {
            steps += 1;
            let count = batch.iter().map(|window| window.len() - 1).sum::<usize>();
            loss += learn(&model, batch, params, device)? * count as f64;
            positions += count;
            optimizer.step(
                &mut model,
                learning_rate(params, steps, (epoch - 1) as f64 / params.epochs as f64),
            )?;
            if let Some(average) = &mut average {
                // Early on the average would be that of the random start.
                let decay = params.ema.min((1.0 + steps as f64) / (10.0 + steps as f64));
                follow(average, &model, 1.0 - decay)?;
            }
        }
        let loss = loss / positions as f64;
        if !loss.is_finite() {
            return Err(Problem::new(
                Code::Diverged,
                format!("the loss is no longer finite in epoch {epoch}"),
            )
            .help("a smaller `lr` or a longer `warmup` often helps"));
        }
        let current = average.as_ref().unwrap_or(&model);
        let valid = valid
            .map(|valid| rank::validate(current, valid))
            .transpose()?;
        let now = Epoch { epoch, loss, valid };
        report(&now);
        if best.as_ref().is_none_or(|(best, _)| better(&now, best)) {
            best = Some((now, current.duplicate()?));
        }
        let waited = best.as_ref().map_or(0, |(best, _)| epoch - best.epoch);
        if params.patience > 0 && waited >= params.patience {
            break;
        }
    }
    let (best, model) = best.ok_or_else(|| Problem::new(Code::Bug, "no epoch ran"))?;
    Ok(Fitted {
        model,
        epochs: epoch,
        best,
    })
}

fn check_not_empty(
    catalog: i64,
    train: &Sequences,
    valid: Option<&Sequences>,
) -> Result<(), Problem> {
    if catalog < 1 {
        return Err(Problem::new(Code::Empty, "the catalog has no items"));
    }
    if (0..train.rows()).all(|row| train.row(row).len() < 2) {
        return Err(
            Problem::new(Code::Empty, "no training sequence has two items or more")
                .help("every item but a sequence's first is something to predict"),
        );
    }
    if valid.is_some_and(|valid| valid.rows() == 0) {
        let problem = Problem::new(Code::Empty, "the validation table has no rows");
        return Err(problem.help("without `validate` training runs for all of its `epochs`"));
    }
    Ok(())
}

/// Whether `a` has a better validation NDCG@10; without validation the later epoch is better.
fn better(a: &Epoch, b: &Epoch) -> bool {
    match (a.valid, b.valid) {
        (Some(a), Some(b)) => a.ndcg > b.ndcg,
        _ => true,
    }
}

/// Rises to `lr` over the warm-up, and falls from epoch to epoch towards 0: `done` is the share of epochs that are over.
fn learning_rate(params: &Params, step: u64, done: f64) -> f64 {
    params.lr * (step as f64 / params.warmup.max(1) as f64).min(1.0) * (1.0 - done)
}

/// Cuts the sequences into windows of at most `length + 1` items, in random order. Each item but a sequence's first is
/// predicted exactly once. A long sequence is cut at a random place, so that over the epochs each item is seen after
/// contexts of all lengths; neighbouring windows share an item, the last of one and the first of the next.
fn windows<'a>(sequences: &'a Sequences, length: usize, order: &mut Order) -> Vec<&'a [i64]> {
    let mut windows = Vec::new();
    for row in 0..sequences.rows() {
        let row = sequences.row(row);
        if row.len() < 2 {
            continue;
        }
        let mut start = 0;
        let mut end = if row.len() <= length + 1 {
            row.len()
        } else {
            2 + order.below(length)
        };
        while start + 1 < row.len() {
            windows.push(&row[start..end]);
            start = end - 1;
            end = (end + length).min(row.len());
        }
    }
    order.shuffle(&mut windows);
    windows
}

/// Adds the gradients of the mean loss over a batch to the weights and returns that loss.
fn learn(
    model: &Sasrec,
    batch: &[&[i64]],
    params: &Params,
    device: tch::Device,
) -> Result<f64, Problem> {
    let inputs: Vec<&[i64]> = batch
        .iter()
        .map(|window| &window[..window.len() - 1])
        .collect();
    let longest = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    let mut places = Vec::new();
    let mut targets = Vec::new();
    for (row, window) in batch.iter().enumerate() {
        places.extend((0..window.len() - 1).map(|place| (row * longest + place) as i64));
        targets.extend_from_slice(&window[1..]);
    }
    let places = Tensor::f_from_slice(&places)?.f_to_device(device)?;
    let targets = Tensor::f_from_slice(&targets)?.f_to_device(device)?;
    let hidden = model.hidden(&pad(&inputs, device)?, params.dropout)?;
    let hidden = hidden
        .f_view([-1, model.shape().dim])?
        .f_index_select(0, &places)?;
    Ok(backward(model, &hidden, &targets, params.label_smoothing)?)
}

/// The mean cross-entropy of `targets` (i64 `[m]`) after `hidden` (`[m, d]`), and its gradients. The scores are made for
/// some positions at a time: each slice runs backward as far as `hidden`, and then `hidden` runs backward once.
pub fn backward(
    model: &Sasrec,
    hidden: &Tensor,
    targets: &Tensor,
    smoothing: f64,
) -> Result<f64, TchError> {
    let positions = targets.size1()?;
    let step = (SCORES / model.shape().items).clamp(1, positions);
    let leaf = hidden.f_detach()?.f_set_requires_grad(true)?;
    let mut total = 0.0;
    let mut start = 0;
    while start < positions {
        let count = step.min(positions - start);
        let scores = model.scores(&leaf.f_narrow(0, start, count)?)?;
        let targets = targets.f_narrow(0, start, count)?;
        let loss = scores.f_cross_entropy_loss::<Tensor>(
            &targets,
            None,
            Reduction::Sum,
            -100,
            smoothing,
        )?;
        let loss = loss.f_div_scalar(positions as f64)?;
        loss.f_backward()?;
        total += loss.f_double_value(&[])?;
        start += count;
    }
    hidden
        .f_mul(&leaf.f_grad()?)?
        .f_sum(Kind::Float)?
        .f_backward()?;
    Ok(total)
}

/// Moves the averaged weights towards the model's by the share `weight`.
fn follow(average: &mut Sasrec, model: &Sasrec, weight: f64) -> Result<(), TchError> {
    tch::no_grad(|| {
        for (average, current) in average.weights_mut().iter_mut().zip(model.weights()) {
            let _ = average.tensor.f_lerp_(&current.tensor, weight)?;
        }
        Ok(())
    })
}

/// The generator of data order: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug)]
struct Order(u64);

impl Order {
    fn new(seed: i64) -> Order {
        Order(seed as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; `bound` is at least 1. Its bias is below `bound / 2^64`.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Fisher-Yates.
    fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_predict_every_item_but_the_first_once() {
        let row: Vec<i64> = (0..57).collect();
        let sequences = Sequences::new(row, &[0, 57], None, 57).unwrap();
        for seed in 0..50 {
            let windows = windows(&sequences, 10, &mut Order::new(seed));
            let mut targets: Vec<i64> = windows
                .iter()
                .flat_map(|window| window[1..].to_vec())
                .collect();
            targets.sort_unstable();
            assert_eq!(targets, (1..57).collect::<Vec<i64>>());
            assert!(
                windows
                    .iter()
                    .all(|window| (2..=11).contains(&window.len()))
            );
        }
    }

    #[test]
    fn short_sequences_are_one_window() {
        let sequences = Sequences::new(vec![1, 2, 3, 4], &[0, 3, 4, 4], None, 5).unwrap();
        assert_eq!(windows(&sequences, 2, &mut Order::new(1)), [&[1, 2, 3]]);
    }
}
