//! Logistic regression: `p(class | row) = softmax(weights row + bias)`, for two classes `1 / (1 + exp(-score))`.
//!
//! What is least at the end is `sum of weight(row) * log loss(row) + l2/2 * sum of squared weights`; the bias is free. That
//! is scikit-learn's `LogisticRegression` with `C = 1/l2`. With few variables Newton's method finds it, with many L-BFGS.
//!
//! Two directions leave the loss as it is: the same bias, or (without a penalty) the same weights, added to all classes.
//! Of equally good answers the one whose sums over classes are zero is taken.

use super::matrix::{Matrix, gram, sum_over_rows};
use super::solve::{Curved, Minimum, NoMinimum, Objective, Square, lbfgs, newton};

/// Up to so many variables Newton's method is used: a step costs their cube.
const FEW: usize = 512;

/// What is to be fitted.
pub(crate) struct Problem<'a> {
    pub(crate) matrix: &'a Matrix,
    /// Each row's class.
    pub(crate) classes: &'a [u32],
    /// How many classes there are; of two, the second one is scored.
    pub(crate) outputs: Outputs,
    /// What each row counts.
    pub(crate) weights: &'a [f64],
    pub(crate) l2: f64,
    /// Columns of the matrix of which each row has one, so that their sum is the bias once more: without a penalty their
    /// weights are made to add up to nothing.
    pub(crate) groups: &'a [std::ops::Range<usize>],
}

/// How many scores a row has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outputs {
    /// One, of the second of two classes.
    One,
    /// One a class.
    Each(usize),
}

impl Outputs {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Each(classes) => classes,
        }
    }

    /// Scores to probabilities, one a class.
    pub(crate) fn probabilities(self, scores: &[f64]) -> Vec<f64> {
        match self {
            Self::One => {
                let second = sigmoid(scores[0]);
                vec![sigmoid(-scores[0]), second]
            }
            Self::Each(_) => {
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let parts: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let sum: f64 = parts.iter().sum();
                parts.into_iter().map(|part| part / sum).collect()
            }
        }
    }
}

fn sigmoid(score: f64) -> f64 {
    match score >= 0.0 {
        true => 1.0 / (1.0 + (-score).exp()),
        false => {
            let e = score.exp();
            e / (1.0 + e)
        }
    }
}

/// Finds the variables `[outputs, width + 1]`: of each output the weights and behind them the bias.
pub(crate) fn fit(problem: &Problem<'_>, stop: &dyn Fn() -> bool) -> Result<Minimum, NoMinimum> {
    let variables = problem.outputs.count() * (problem.matrix.width + 1);
    match variables <= FEW {
        true => newton(problem, variables, stop),
        false => lbfgs(problem, variables, stop),
    }
}

impl Problem<'_> {
    fn scores(&self, at: &[f64], row: usize, scores: &mut [f64]) {
        let width = self.matrix.width;
        for (score, variables) in scores.iter_mut().zip(at.chunks_exact(width + 1)) {
            *score = self
                .matrix
                .score(row, &variables[..width], variables[width]);
        }
    }

    /// A row's log loss, and its derivative by each score.
    fn loss(&self, row: usize, scores: &mut [f64]) -> f64 {
        let class = self.classes[row] as usize;
        match self.outputs {
            Outputs::One => {
                let score = scores[0];
                // log(1 + exp(score)) - y score, without overflow.
                let loss = score.max(0.0) + (-score.abs()).exp().ln_1p() - class as f64 * score;
                scores[0] = sigmoid(score) - class as f64;
                loss
            }
            Outputs::Each(_) => {
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
                let loss = most + sum.ln() - scores[class];
                for score in scores.iter_mut() {
                    *score = (*score - most).exp() / sum;
                }
                scores[class] -= 1.0;
                loss
            }
        }
    }
}

impl Objective for Problem<'_> {
    fn gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let Self { matrix, l2, .. } = self;
        let (outputs, width) = (self.outputs.count(), matrix.width);
        let mut sums = sum_over_rows(matrix.rows, at.len() + 1, |rows, sums| {
            let (loss, gradient) = sums.split_last_mut().expect("the loss is last");
            let mut scores = vec![0.0; outputs];
            for row in rows {
                self.scores(at, row, &mut scores);
                *loss += self.weights[row] * self.loss(row, &mut scores);
                for (slope, gradient) in scores.iter().zip(gradient.chunks_exact_mut(width + 1)) {
                    let slope = self.weights[row] * slope;
                    matrix.add_to(row, slope, &mut gradient[..width]);
                    gradient[width] += slope;
                }
            }
        });
        let mut loss = sums.pop().expect("the loss is last");
        for (gradient, variables) in sums.chunks_exact_mut(width + 1).zip(at.chunks(width + 1)) {
            for (slope, weight) in gradient[..width].iter_mut().zip(variables) {
                *slope += l2 * weight;
                loss += l2 / 2.0 * weight * weight;
            }
        }
        (loss, sums)
    }
}

impl Curved for Problem<'_> {
    fn hessian(&self, at: &[f64]) -> Square {
        let mut hessian = match self.outputs {
            Outputs::One => gram(self.matrix, |row| {
                let mut score = [0.0];
                self.scores(at, row, &mut score);
                self.weights[row] * sigmoid(score[0]) * sigmoid(-score[0])
            }),
            Outputs::Each(classes) => self.multinomial(at, classes),
        };
        self.penalise(&mut hessian);
        hessian
    }
}

impl Problem<'_> {
    fn multinomial(&self, at: &[f64], classes: usize) -> Square {
        let Self { matrix, .. } = self;
        let block = matrix.width + 1;
        let size = classes * block;
        let values = sum_over_rows(matrix.rows, size * size, |rows, sum| {
            let mut scores = vec![0.0; classes];
            let mut entries = Vec::new();
            for row in rows {
                self.scores(at, row, &mut scores);
                let shares = self.outputs.probabilities(&scores);
                matrix.entries(row, &mut entries);
                for (k, share) in shares.iter().enumerate() {
                    for (l, other) in shares[..=k].iter().enumerate() {
                        let own = if k == l { 1.0 } else { 0.0 };
                        let factor = self.weights[row] * share * (own - other);
                        for (i, x) in &entries {
                            let line = &mut sum[(k * block + i) * size + l * block..];
                            let factor = factor * x;
                            for (j, y) in &entries {
                                // Of a block on the diagonal only the lower half counts.
                                if k == l && j > i {
                                    break;
                                }
                                line[*j] += factor * y;
                            }
                        }
                    }
                }
            }
        });
        Square { size, values }
    }

    /// Adds the curvature of the penalty, and some along directions that leave everything as it is.
    fn penalise(&self, hessian: &mut Square) {
        let block = self.matrix.width + 1;
        let outputs = self.outputs.count();
        let scale = self.matrix.rows as f64;
        for k in 0..outputs {
            for i in 0..self.matrix.width {
                hessian.add(k * block + i, k * block + i, self.l2);
            }
        }
        let free = match self.l2 > 0.0 {
            true => block - 1..block,
            false => 0..block,
        };
        if outputs > 1 {
            for i in free {
                for k in 0..outputs {
                    for l in 0..=k {
                        let share = scale / outputs as f64;
                        hessian.add(k * block + i, l * block + i, share);
                    }
                }
            }
        }
        if self.l2 == 0.0 {
            for group in self.groups {
                let share = scale / group.len() as f64;
                for k in 0..outputs {
                    for i in group.clone() {
                        for j in group.start..=i {
                            hessian.add(k * block + i, k * block + j, share);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::matrix::tests::matrix;
    use crate::table::solve::dot;

    /// Numbers from 0 to 1 that look random, the same ones every time.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// With a penalty there is always one minimum: both methods find it, whatever the rows, to the end of their digits.
    #[test]
    fn both_methods_find_the_one_minimum_of_any_rows() {
        let never = || false;
        for seed in 1..40 {
            let mut next = noise(seed);
            let classes = 2 + (seed % 3) as usize;
            let dense: Vec<f64> = (0..3 * 60).map(|_| 4.0 * next() - 2.0).collect();
            let slots: Vec<u32> = (0..60).map(|_| (3.0 * next()) as u32).collect();
            let matrix = matrix(3, &dense, 3, &slots);
            let label = |row: usize| {
                let pull = dense[3 * row] + f64::from(slots[row]) + 1.5 * next();
                (pull.abs() as u32).min(classes as u32 - 1)
            };
            let labels: Vec<u32> = (0..60).map(label).collect();
            let problem = Problem {
                matrix: &matrix,
                classes: &labels,
                outputs: match classes {
                    2 => Outputs::One,
                    classes => Outputs::Each(classes),
                },
                weights: &[1.0; 60],
                l2: 10.0_f64.powi(seed as i32 % 5 - 3),
                groups: &[],
            };
            let variables = problem.outputs.count() * 7;
            let exact = newton(&problem, variables, &never).ok().unwrap();
            let (_, gradient) = problem.gradient(&exact.at);
            assert!(dot(&gradient, &gradient).sqrt() < 1e-10, "{seed}");
            assert!(exact.iterations < 20, "{seed}: {}", exact.iterations);
            let close = lbfgs(&problem, variables, &never).ok().unwrap();
            for (a, b) in exact.at.iter().zip(&close.at) {
                assert!((a - b).abs() < 1e-5, "{seed}: {a} {b}");
            }
        }
    }

    /// Where classes fall apart and nothing holds the weights, there is no answer.
    #[test]
    fn classes_without_a_doubt_have_no_minimum_without_a_penalty() {
        let matrix = matrix(1, &[-2.0, -1.0, 1.0, 2.0], 0, &[]);
        let problem = Problem {
            matrix: &matrix,
            classes: &[0, 0, 1, 1],
            outputs: Outputs::One,
            weights: &[1.0; 4],
            l2: 0.0,
            groups: &[],
        };
        let found = newton(&problem, 2, &|| false);
        assert_eq!(found.err(), Some(NoMinimum::Endless));
    }
}
