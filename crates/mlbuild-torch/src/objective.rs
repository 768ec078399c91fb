//! What training minimises: a network together with its data, as the loop in [`crate::train`] sees it.

use crate::order::Order;
use crate::problem::Problem;
use crate::weights::{Spec, Weights};

/// A network, the examples that it learns from, and how well it does on others.
///
/// Laws: [`Self::examples`] and [`Self::batch`] draw from the given generator alone, and equal generators give equal
/// results; [`Self::learn`] draws from libtorch's generator alone; [`Self::validate`] draws nothing and gives the figures
/// of [`Self::measures`], in that order, or none where there is nothing to validate on.
pub trait Objective: Sync {
    /// What a batch is made of: a row, a window of a sequence, a pair.
    type Example: Copy + Send + Sync;
    /// What a step needs, in the memory of the host.
    type Batch: Send;

    /// Names, sizes and starts of the network's weights, in the order in which they are drawn.
    fn specs(&self) -> Vec<Spec>;

    /// The examples of one epoch, in random order; never none.
    fn examples(&self, order: &mut Order) -> Vec<Self::Example>;

    /// Puts a batch together. Runs beside [`Self::learn`], on another thread.
    ///
    /// # Errors
    /// Those of libtorch.
    fn batch(&self, examples: &[Self::Example], order: &mut Order) -> Result<Self::Batch, Problem>;

    /// Adds the gradients of a batch's mean loss to the weights, and returns that loss.
    ///
    /// # Errors
    /// Those of libtorch.
    fn learn(&self, weights: &Weights, batch: Self::Batch) -> Result<Loss, Problem>;

    /// What [`Self::validate`] measures; the first is what training watches unless told otherwise.
    fn measures(&self) -> &'static [Measure];

    /// Figures on the validation data.
    ///
    /// # Errors
    /// `train::diverged` for scores that are not finite; those of libtorch.
    fn validate(&self, weights: &Weights) -> Result<Vec<f64>, Problem>;
}

/// The loss of a batch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Loss {
    /// The mean over what was predicted, in nats where it is a likelihood.
    pub mean: f64,
    /// How many things were predicted: the weight of this batch in the mean of an epoch.
    pub count: usize,
}

/// A figure on validation data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measure {
    /// Its name as reported and as `monitor` takes it: `valid_ndcg@10`.
    pub name: &'static str,
    /// Which way is better.
    pub better: Better,
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// The greater.
    Greater,
    /// The lesser.
    Less,
}

impl Better {
    /// Whether `a` is strictly better than `b`.
    pub fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Better::Greater => a > b,
            Better::Less => a < b,
        }
    }
}
