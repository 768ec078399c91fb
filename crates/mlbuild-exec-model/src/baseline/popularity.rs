//! Popularity: an item's score is how often it occurs in training, whatever the sequence.

use mlbuild_action::Failure;

use super::{Baseline, counts};
use crate::sequences::Sequences;
use crate::tensors::{Tensor, TensorFile, broken};

pub(super) struct Popularity {
    counts: Vec<u64>,
}

impl Popularity {
    pub(super) fn train(sequences: &Sequences, items: usize) -> Self {
        Self {
            counts: counts(sequences, items),
        }
    }

    pub(super) fn read(file: &TensorFile, items: usize) -> Result<Self, Failure> {
        let counts = read_counts(file, items)?;
        Ok(Self { counts })
    }
}

impl Baseline for Popularity {
    fn tensors(&self) -> Vec<Tensor> {
        vec![counts_tensor(&self.counts)]
    }

    fn score(&self, _sequence: &[u32], scores: &mut [f64]) {
        for (score, count) in scores.iter_mut().zip(&self.counts) {
            *score = *count as f64;
        }
    }
}

/// `counts`: i64, `[items]`.
pub(super) fn counts_tensor(counts: &[u64]) -> Tensor {
    let values = counts.iter().map(|count| *count as i64);
    Tensor::i64("counts", &[counts.len()], values)
}

pub(super) fn read_counts(file: &TensorFile, items: usize) -> Result<Vec<u64>, Failure> {
    let (shape, counts) = file.i64("counts")?;
    let counts: Result<Vec<_>, _> = counts.into_iter().map(u64::try_from).collect();
    match counts {
        Ok(counts) if shape == [items] => Ok(counts),
        _ => Err(broken(
            "the model",
            format!("does not hold `counts` for {items} items"),
        )),
    }
}
