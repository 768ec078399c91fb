//! Linear regression: what is least at the end is the sum of squared errors plus `l2` times the sum of squared weights;
//! the bias is free. That is scikit-learn's `Ridge` with `alpha = l2`, and least squares where `l2` is 0.
//!
//! The normal equations are solved by Cholesky; columns of numbers have mean 0 and variance 1, which keeps their condition
//! good. Where there are too many columns for that, L-BFGS finds the same minimum.

use std::ops::Range;

use super::matrix::{Matrix, gram, sum_over_rows};
use super::solve::{Minimum, NoMinimum, Objective, lbfgs};

/// Up to so many columns the normal equations are solved: they take their square in memory.
const FEW: usize = 2048;

/// What is to be fitted.
pub(crate) struct Problem<'a> {
    pub(crate) matrix: &'a Matrix,
    pub(crate) target: &'a [f64],
    pub(crate) l2: f64,
    /// As in [`super::logistic::Problem`].
    pub(crate) groups: &'a [Range<usize>],
}

/// Finds the weights and behind them the bias, `[width + 1]`.
pub(crate) fn fit(problem: &Problem<'_>, stop: &dyn Fn() -> bool) -> Result<Minimum, NoMinimum> {
    let width = problem.matrix.width;
    if width > FEW {
        return lbfgs(problem, width + 1, stop);
    }
    let mut normal = gram(problem.matrix, |_| 1.0);
    for i in 0..width {
        normal.add(i, i, problem.l2);
    }
    if problem.l2 == 0.0 {
        // Along these directions nothing changes, and nothing pulls: this takes the answer whose sum is zero.
        for group in problem.groups {
            let share = problem.matrix.rows as f64 / group.len() as f64;
            for i in group.clone() {
                (group.start..=i).for_each(|j| normal.add(i, j, share));
            }
        }
    }
    if stop() {
        return Err(NoMinimum::Stopped);
    }
    let factored = normal.cholesky().map_err(NoMinimum::Flat)?;
    let right = problem.sum(|row| problem.target[row]);
    let mut at = factored.solve(&right);
    // Once more on what is left, which wins back digits that a bad condition took.
    let rest = problem.slope(&at);
    for (value, correction) in at.iter_mut().zip(factored.solve(&rest)) {
        *value += correction;
    }
    Ok(Minimum { at, iterations: 1 })
}

impl Problem<'_> {
    /// `sum of factor(row) * row` over rows with a 1 behind them.
    fn sum(&self, factor: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
        let Self { matrix, .. } = self;
        sum_over_rows(matrix.rows, matrix.width + 1, |rows, sum| {
            let (bias, weights) = sum.split_last_mut().expect("the bias is last");
            for row in rows {
                let factor = factor(row);
                matrix.add_to(row, factor, weights);
                *bias += factor;
            }
        })
    }

    fn error(&self, at: &[f64], row: usize) -> f64 {
        let width = self.matrix.width;
        self.target[row] - self.matrix.score(row, &at[..width], at[width])
    }

    /// Minus half the gradient.
    fn slope(&self, at: &[f64]) -> Vec<f64> {
        let mut slope = self.sum(|row| self.error(at, row));
        let weights = self.matrix.width;
        for (slope, weight) in slope[..weights].iter_mut().zip(at) {
            *slope -= self.l2 * weight;
        }
        slope
    }
}

impl Objective for Problem<'_> {
    fn gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let errors = sum_over_rows(self.matrix.rows, 1, |rows, sum| {
            sum[0] += rows.map(|row| self.error(at, row).powi(2)).sum::<f64>();
        });
        let weights = &at[..self.matrix.width];
        let penalty: f64 = weights.iter().map(|weight| weight * weight).sum();
        let gradient = self.slope(at).into_iter().map(|slope| -2.0 * slope);
        (errors[0] + self.l2 * penalty, gradient.collect())
    }
}
