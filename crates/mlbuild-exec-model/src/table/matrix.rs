//! Encoded rows: a dense block of numbers, and for every categorical column the one slot that is 1.
//!
//! A row has few entries that are not zero however many categories there are, and every sum here goes over those alone.
//! Sums over rows are made of sums over fixed stretches of them, added in order: threads do not show.

use std::ops::Range;

use rayon::prelude::*;

use super::solve::Square;

/// Encoded rows, `[rows, width]`.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    /// How many columns the dense block has.
    pub(crate) numbers: usize,
    /// `[rows, numbers]`
    pub(crate) dense: Vec<f64>,
    /// How many slots each row has.
    pub(crate) categorical: usize,
    /// `[rows, categorical]`: columns that are 1, from `numbers` on; `None` for a category without a column.
    pub(crate) slots: Vec<Option<u32>>,
    /// The columns of both.
    pub(crate) width: usize,
}

impl Matrix {
    /// The entries of a row that are not in the dense block: columns whose value is 1.
    fn ones(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let slots = &self.slots[row * self.categorical..(row + 1) * self.categorical];
        slots.iter().flatten().map(|slot| *slot as usize)
    }

    fn dense_row(&self, row: usize) -> &[f64] {
        &self.dense[row * self.numbers..(row + 1) * self.numbers]
    }

    /// `bias + weights . row`
    pub(crate) fn score(&self, row: usize, weights: &[f64], bias: f64) -> f64 {
        let dense = self.dense_row(row).iter().zip(weights);
        let dense: f64 = dense.map(|(x, w)| x * w).sum();
        let ones: f64 = self.ones(row).map(|column| weights[column]).sum();
        bias + dense + ones
    }

    /// Adds `factor * row` to `sum`, `[width]`.
    pub(crate) fn add_to(&self, row: usize, factor: f64, sum: &mut [f64]) {
        for (sum, x) in sum.iter_mut().zip(self.dense_row(row)) {
            *sum += factor * x;
        }
        for column in self.ones(row) {
            sum[column] += factor;
        }
    }

    /// The row with a 1 behind it, as columns and values, rising.
    pub(crate) fn entries(&self, row: usize, entries: &mut Vec<(usize, f64)>) {
        entries.clear();
        entries.extend(self.dense_row(row).iter().copied().enumerate());
        entries.extend(self.ones(row).map(|column| (column, 1.0)));
        entries.push((self.width, 1.0));
    }
}

/// Sums what `add` adds for each stretch of rows into arrays of `length`.
///
/// The stretches depend on the number of rows and on `length` alone.
pub(crate) fn sum_over_rows(
    rows: usize,
    length: usize,
    add: impl Fn(Range<usize>, &mut [f64]) + Sync,
) -> Vec<f64> {
    // Partial sums together take at most 128 MB.
    let most = ((1 << 24) / length.max(1)).clamp(1, 64);
    let stretch = rows.div_ceil(most).max(1024);
    let starts: Vec<usize> = (0..rows).step_by(stretch).collect();
    let partial = |start: &usize| {
        let mut sum = vec![0.0; length];
        add(*start..(start + stretch).min(rows), &mut sum);
        sum
    };
    let partials: Vec<Vec<f64>> = starts.par_iter().map(partial).collect();
    let mut total = vec![0.0; length];
    for partial in partials {
        for (total, part) in total.iter_mut().zip(partial) {
            *total += part;
        }
    }
    total
}

/// `sum of weight(row) * row' row` over rows with a 1 behind them: `[width + 1, width + 1]`.
pub(crate) fn gram(matrix: &Matrix, weight: impl Fn(usize) -> f64 + Sync) -> Square {
    let size = matrix.width + 1;
    let values = sum_over_rows(matrix.rows, size * size, |rows, sum| {
        let mut entries = Vec::new();
        for row in rows {
            matrix.entries(row, &mut entries);
            let weight = weight(row);
            for (i, (high, x)) in entries.iter().enumerate() {
                let line = &mut sum[high * size..(high + 1) * size];
                let factor = weight * x;
                for (low, y) in &entries[..=i] {
                    line[*low] += factor * y;
                }
            }
        }
    });
    Square { size, values }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Numbers behind each other, then one slot of `categories` a row.
    pub(crate) fn matrix(numbers: usize, dense: &[f64], categories: u32, slots: &[u32]) -> Matrix {
        let rows = dense.len() / numbers;
        Matrix {
            rows,
            numbers,
            dense: dense.to_vec(),
            categorical: slots.len() / rows,
            slots: slots
                .iter()
                .map(|slot| Some(numbers as u32 + slot))
                .collect(),
            width: numbers + categories as usize,
        }
    }

    #[test]
    fn sparse_sums_are_those_of_the_whole_matrix() {
        let matrix = matrix(2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &[0, 1, 1]);
        let whole = [
            [1.0, 2.0, 1.0, 0.0, 1.0],
            [3.0, 4.0, 0.0, 1.0, 1.0],
            [5.0, 6.0, 0.0, 1.0, 1.0],
        ];
        let found = gram(&matrix, |row| (row + 1) as f64);
        for i in 0..5 {
            for j in 0..=i {
                let rows = whole.iter().enumerate();
                let sum: f64 = rows.map(|(r, row)| (r + 1) as f64 * row[i] * row[j]).sum();
                assert_eq!(found.values[i * 5 + j], sum, "{i} {j}");
            }
        }
        assert_eq!(matrix.score(2, &[1.0, 10.0, 100.0, 1000.0], 0.5), 1065.5);
        let mut sum = vec![0.0; 4];
        matrix.add_to(0, 2.0, &mut sum);
        assert_eq!(sum, [2.0, 4.0, 2.0, 0.0]);
    }

    #[test]
    fn sums_do_not_depend_on_threads() {
        let value = |row: usize| (row as f64).sin() * 1e3;
        let sum = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                sum_over_rows(100_000, 1, |rows, sum| {
                    sum[0] += rows.map(value).sum::<f64>()
                })
            })
        };
        assert_eq!(sum(1), sum(3));
    }
}
