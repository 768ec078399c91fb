//! A fitted model, as far as predicting needs it.

use super::label::Label;
use super::logistic::Outputs;
use super::matrix::Matrix;
use mlbuild_action::Task;

/// What a native model computes with. Weights are `[outputs, width]`, biases `[outputs]`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fitted {
    pub(crate) weights: Vec<f64>,
    pub(crate) bias: Vec<f64>,
}

/// What is predicted of a row.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Prediction {
    /// A probability for each class, in order of classes.
    Shares(Vec<f64>),
    /// For each label the probability that it is true.
    Chances(Vec<f64>),
    Amount(f64),
}

impl Fitted {
    /// Predicts a row, given what the labels are.
    pub(crate) fn predict(
        &self,
        task: Task,
        labels: &[Label],
        matrix: &Matrix,
        row: usize,
    ) -> Prediction {
        let width = matrix.width;
        let outputs = self.bias.iter().enumerate();
        let scores: Vec<f64> = outputs
            .map(|(k, bias)| {
                let weights = &self.weights[k * width..(k + 1) * width];
                matrix.score(row, weights, *bias)
            })
            .collect();
        match task {
            Task::Regression => Prediction::Amount(scores[0]),
            Task::Multilabel => Prediction::Chances(
                scores
                    .iter()
                    .map(|score| Outputs::One.probabilities(&[*score])[1])
                    .collect(),
            ),
            Task::Binary | Task::Multiclass => {
                Prediction::Shares(outputs_of(labels[0].classes.len()).probabilities(&scores))
            }
        }
    }
}

/// The likeliest class; of equally likely ones the first.
pub(crate) fn best(shares: &[f64]) -> usize {
    let likelier = |best: usize, class: usize| match shares[class] > shares[best] {
        true => class,
        false => best,
    };
    (0..shares.len()).fold(0, likelier)
}

/// The scores of a classifier with so many classes.
pub(crate) fn outputs_of(classes: usize) -> Outputs {
    match classes {
        0..=2 => Outputs::One,
        classes => Outputs::Each(classes),
    }
}
