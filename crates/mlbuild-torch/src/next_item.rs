//! Next-item prediction: every position of a sequence predicts the item that follows it.

use tch::{TchError, Tensor};

use crate::item_loss::{ItemLoss, Targets};
use crate::objective::{Loss, Measure, Objective};
use crate::order::Order;
use crate::problem::{Code, Problem};
use crate::rank::{self, Scorer};
use crate::sequences::{Sequences, pad, pad_on};
use crate::weights::{Spec, Weights};

/// A network that reads a sequence from left to right and has a state after each item, which scores what may follow.
///
/// Law: the state at a position depends on no later position, so padding on the right is harmless.
pub trait Encoder: Sync {
    /// Names, sizes and starts of its weights.
    fn specs(&self) -> Vec<Spec>;

    /// Items of the catalog.
    fn items(&self) -> i64;

    /// How many of a sequence's last items it sees.
    fn max_length(&self) -> usize;

    /// The states `[b, t, d]` after each of `items` (i64 `[b, t]`, `t` at most [`Self::max_length`]). A `dropout` above 0
    /// is for training and draws from libtorch's generator.
    ///
    /// # Errors
    /// Those of libtorch.
    fn hidden(&self, weights: &Weights, items: &Tensor, dropout: f64) -> Result<Tensor, TchError>;

    /// What scores items after a state: a matrix `[items, d]` and a bias `[items]`.
    ///
    /// # Errors
    /// Those of libtorch.
    fn output<'w>(&self, weights: &'w Weights) -> Result<(&'w Tensor, &'w Tensor), TchError>;
}

impl<E: Encoder> Scorer for E {
    fn items(&self) -> i64 {
        Encoder::items(self)
    }

    fn max_length(&self) -> usize {
        Encoder::max_length(self)
    }

    fn score(&self, weights: &Weights, rows: &[&[i64]]) -> Result<Tensor, Problem> {
        let items = pad_on(rows, weights.device())?;
        let (count, length) = items.size2()?;
        let hidden = self
            .hidden(weights, &items, 0.0)?
            .f_view([count * length, -1])?;
        // The scores of an empty row mean nothing.
        let places: Vec<i64> = (0..count)
            .zip(rows)
            .map(|(place, row)| place * length + (row.len() as i64 - 1).max(0))
            .collect();
        let places = Tensor::f_from_slice(&places)?.f_to_device(items.device())?;
        let (matrix, bias) = self.output(weights)?;
        Ok(hidden
            .f_index_select(0, &places)?
            .f_linear(matrix, Some(bias))?)
    }
}

/// Next-item prediction with an encoder.
#[derive(Debug)]
pub struct NextItem<'a, E> {
    /// The network.
    pub encoder: &'a E,
    /// What it learns from.
    pub train: &'a Sequences,
    /// What it is measured on, with labels.
    pub valid: Option<&'a Sequences>,
    /// Share of activations dropped in training.
    pub dropout: f64,
    /// What is minimised.
    pub loss: ItemLoss,
}

/// Refuses sequences that nothing can be learned from.
///
/// # Errors
/// [`Code::Empty`] without a catalog, a sequence of two items, or a row to validate on.
pub fn check(items: i64, train: &Sequences, valid: Option<&Sequences>) -> Result<(), Problem> {
    if items < 1 {
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

/// A batch of windows.
#[derive(Debug)]
pub struct Batch {
    /// The windows' items without the last of each, i64 `[b, t]`, padded with 0.
    items: Tensor,
    /// The places in `items`, flattened, that are not padding: i64 `[m]`.
    places: Tensor,
    /// The item that follows each of these.
    targets: Targets,
}

impl<'a, E: Encoder> Objective for NextItem<'a, E> {
    type Example = &'a [i64];
    type Batch = Batch;

    fn specs(&self) -> Vec<Spec> {
        self.encoder.specs()
    }

    fn examples(&self, order: &mut Order) -> Vec<&'a [i64]> {
        windows(self.train, self.encoder.max_length(), order)
    }

    fn batch(&self, windows: &[&'a [i64]], order: &mut Order) -> Result<Batch, Problem> {
        let inputs: Vec<&[i64]> = windows
            .iter()
            .map(|window| &window[..window.len() - 1])
            .collect();
        let longest = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
        let mut places = Vec::new();
        let mut targets = Vec::new();
        for (row, window) in windows.iter().enumerate() {
            places.extend((0..window.len() - 1).map(|place| (row * longest + place) as i64));
            targets.extend_from_slice(&window[1..]);
        }
        Ok(Batch {
            items: pad(&inputs)?,
            places: Tensor::f_from_slice(&places)?,
            targets: self.loss.targets(&targets, order)?,
        })
    }

    fn learn(&self, weights: &Weights, batch: Batch) -> Result<Loss, Problem> {
        let device = weights.device();
        let places = batch.places.f_to_device(device)?;
        let items = batch.items.f_to_device(device)?;
        let hidden = self.encoder.hidden(weights, &items, self.dropout)?;
        let (_, _, dim) = hidden.size3()?;
        let hidden = hidden.f_view([-1, dim])?.f_index_select(0, &places)?;
        let output = self.encoder.output(weights)?;
        Ok(Loss {
            mean: self.loss.backward(&hidden, output, &batch.targets)?,
            count: batch.targets.len(),
        })
    }

    fn measures(&self) -> &'static [Measure] {
        rank::MEASURES
    }

    fn validate(&self, weights: &Weights) -> Result<Vec<f64>, Problem> {
        match self.valid {
            Some(valid) => rank::validate(self.encoder, weights, valid),
            None => Ok(Vec::new()),
        }
    }
}

/// Cuts the sequences into windows of at most `length + 1` items, in random order. Each item but a sequence's first is
/// predicted exactly once. A long sequence is cut at a random place, so that over the epochs each item is seen after
/// contexts of all lengths; neighbouring windows share an item, the last of one and the first of the next.
pub(crate) fn windows<'a>(
    sequences: &'a Sequences,
    length: usize,
    order: &mut Order,
) -> Vec<&'a [i64]> {
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
