//! Figures as functions of how often each row counts: what a bootstrap draws again and again.
//!
//! Rows are drawn in blocks of consecutive rows ([`Sample`]): up to [`ROWS_APART`] rows every row is a block of its own,
//! more rows share [`BLOCKS`] blocks. A [`Statistic`] takes one weight a block. Most metrics are functions of sums over
//! rows, so of sums over blocks ([`Sums`]); those that go by the order of scores, or by which items were recommended,
//! keep what they need of each row.
//!
//! Sums run over the rows of a block in order, then over the blocks in order: the same bits everywhere.

use crate::lists::BlockItems;

/// So many rows are drawn one by one.
const ROWS_APART: usize = 2000;
/// Into so many blocks more rows are parted.
const BLOCKS: usize = 1000;

/// The rows that a figure is about, in rising order, and their blocks.
pub(crate) struct Sample {
    rows: Vec<u32>,
    blocks: usize,
}

impl Sample {
    /// All of `rows` rows.
    pub(crate) fn all(rows: usize) -> Self {
        Self::of((0..rows as u32).collect())
    }

    /// These rows.
    pub(crate) fn of(rows: Vec<u32>) -> Self {
        let blocks = blocks(rows.len());
        Self { rows, blocks }
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The rows, each with its block.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let start = |block: usize| (block * self.rows.len()).div_ceil(self.blocks);
        (0..self.blocks).flat_map(move |block| {
            let rows = self.rows[start(block)..start(block + 1)].iter();
            rows.map(move |row| (*row as usize, block))
        })
    }
}

/// Into how many blocks so many rows are parted.
pub(crate) fn blocks(rows: usize) -> usize {
    if rows <= ROWS_APART { rows } else { BLOCKS }
}

/// The block of the row at `index` of `rows`.
pub(crate) fn block(index: usize, rows: usize, blocks: usize) -> usize {
    (index as u64 * blocks as u64 / rows as u64) as usize
}

/// A figure that can be worked out anew with every block counted so often.
pub(crate) trait Statistic: Send + Sync {
    /// The figure; NaN if it has no meaning for these weights.
    fn value(&self, weights: &[u32]) -> f64;

    /// How many numbers one call looks at, about.
    fn cost(&self) -> usize;

    /// Whether resamples are off to one side because drawing rows again repeats some and leaves out others; their spread is
    /// then taken around the figure itself.
    fn is_shifted(&self) -> bool {
        false
    }
}

/// A function of sums over rows.
pub(crate) struct Sums<F> {
    columns: usize,
    /// The columns' sums of one block after the other.
    sums: Vec<f64>,
    combine: F,
    shifted: bool,
}

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Sums<F> {
    /// Sums `columns` columns: `add` adds a row to the sums of its block.
    pub(crate) fn new(
        sample: &Sample,
        columns: usize,
        add: impl Fn(usize, &mut [f64]),
        combine: F,
    ) -> Self {
        let mut sums = vec![0.0; sample.blocks * columns];
        for (row, block) in sample.iter() {
            add(row, &mut sums[block * columns..][..columns]);
        }
        Self {
            columns,
            sums,
            combine,
            shifted: false,
        }
    }

    /// The same, where resamples are off to one side.
    pub(crate) fn shifted(self) -> Self {
        Self {
            shifted: true,
            ..self
        }
    }
}

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Statistic for Sums<F> {
    fn value(&self, weights: &[u32]) -> f64 {
        let mut totals = vec![0.0; self.columns];
        for (block, weight) in self.sums.chunks_exact(self.columns).zip(weights) {
            if *weight > 0 {
                let weight = f64::from(*weight);
                for (total, sum) in totals.iter_mut().zip(block) {
                    *total += weight * sum;
                }
            }
        }
        (self.combine)(&totals)
    }

    fn cost(&self) -> usize {
        self.sums.len()
    }

    fn is_shifted(&self) -> bool {
        self.shifted
    }
}

/// The mean of what `value` says of each row; rows of which it says NaN do not count.
pub(crate) fn mean(sample: &Sample, value: impl Fn(usize) -> f64) -> Box<dyn Statistic> {
    let add = |row: usize, sums: &mut [f64]| {
        let value = value(row);
        if !value.is_nan() {
            sums[0] += value;
            sums[1] += 1.0;
        }
    };
    Box::new(Sums::new(sample, 2, add, |sums| sums[0] / sums[1]))
}

/// One row among others that are ordered by a score.
#[derive(Clone, Copy)]
struct Scored {
    block: u32,
    positive: bool,
    /// Whether the next row has another score.
    last_of_its_score: bool,
}

/// Rows in falling order of a score, some of them positive.
pub(crate) struct Ranking {
    rows: Vec<Scored>,
}

impl Ranking {
    /// Orders the rows by `score`, the highest first. Scores are no NaN.
    pub(crate) fn new(
        sample: &Sample,
        score: impl Fn(usize) -> f64,
        is_positive: impl Fn(usize) -> bool,
    ) -> Self {
        let mut scored: Vec<_> = sample
            .iter()
            .map(|(row, block)| (score(row), block as u32, is_positive(row)))
            .collect();
        // Stable: rows of one score stay in the order of the table, which no figure depends on.
        scored.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
        let scores: Vec<_> = scored.iter().map(|(score, ..)| *score).collect();
        let rows = scored
            .into_iter()
            .enumerate()
            .map(|(i, (score, block, positive))| Scored {
                block,
                positive,
                last_of_its_score: scores.get(i + 1).is_none_or(|next| *next != score),
            });
        Self {
            rows: rows.collect(),
        }
    }

    /// Walks the distinct scores from the highest: how many positive and negative rows have at least that score.
    pub(crate) fn walk(&self, weights: &[u32], mut step: impl FnMut(u64, u64)) {
        let (mut positive, mut negative) = (0u64, 0u64);
        for row in &self.rows {
            let weight = u64::from(weights[row.block as usize]);
            if row.positive {
                positive += weight;
            } else {
                negative += weight;
            }
            if row.last_of_its_score {
                step(positive, negative);
            }
        }
    }
}

/// The area under the ROC curve: the share of pairs of a positive and a negative row in which the positive one has the
/// higher score, pairs of equal score counted half.
pub(crate) struct RocAuc(pub(crate) Vec<Ranking>);

impl Statistic for RocAuc {
    fn value(&self, weights: &[u32]) -> f64 {
        mean_of_rankings(&self.0, |ranking| {
            // Twice the pairs won, so that ties stay whole numbers.
            let (mut won_twice, mut before, mut total) = (0u128, (0u64, 0u64), (0u64, 0u64));
            ranking.walk(weights, |positive, negative| {
                let (p, n) = (positive - before.0, negative - before.1);
                won_twice += u128::from(n) * u128::from(2 * before.0 + p);
                before = (positive, negative);
                total = before;
            });
            won_twice as f64 / (2.0 * total.0 as f64 * total.1 as f64)
        })
    }

    fn cost(&self) -> usize {
        self.0.iter().map(|ranking| ranking.rows.len()).sum()
    }
}

/// Average precision: the sum over the distinct scores of the precision there times the recall that it adds.
pub(crate) struct PrAuc(pub(crate) Vec<Ranking>);

impl Statistic for PrAuc {
    fn value(&self, weights: &[u32]) -> f64 {
        mean_of_rankings(&self.0, |ranking| {
            let (mut area, mut before) = (0.0, 0u64);
            ranking.walk(weights, |positive, negative| {
                if positive > before {
                    let precision = positive as f64 / (positive + negative) as f64;
                    area += precision * (positive - before) as f64;
                    before = positive;
                }
            });
            area / before as f64
        })
    }

    fn cost(&self) -> usize {
        self.0.iter().map(|ranking| ranking.rows.len()).sum()
    }
}

fn mean_of_rankings(rankings: &[Ranking], value: impl Fn(&Ranking) -> f64) -> f64 {
    let sum: f64 = rankings.iter().map(value).sum();
    sum / rankings.len() as f64
}

/// A quantile of values, between neighbours on the line from one to the other.
pub(crate) struct Quantiles {
    /// Rising, each with its block.
    values: Vec<(f64, u32)>,
    share: f64,
}

impl Quantiles {
    /// The quantile `share` of what `value` says of each row.
    pub(crate) fn new(sample: &Sample, share: f64, value: impl Fn(usize) -> f64) -> Self {
        let mut values: Vec<_> = sample
            .iter()
            .map(|(row, block)| (value(row), block as u32))
            .collect();
        values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Self { values, share }
    }
}

impl Statistic for Quantiles {
    fn value(&self, weights: &[u32]) -> f64 {
        let weight = |block: u32| u64::from(weights[block as usize]);
        let total: u64 = self.values.iter().map(|(_, block)| weight(*block)).sum();
        if total == 0 {
            return f64::NAN;
        }
        let place = self.share * (total - 1) as f64;
        let (below, part) = (place.floor(), place.fract());
        let (mut seen, mut low) = (0u64, None);
        for (value, block) in &self.values {
            seen += weight(*block);
            if seen as f64 > below && low.is_none() {
                low = Some(*value);
            }
            if let Some(low) = low
                && (part == 0.0 || seen as f64 > below + 1.0)
            {
                return low + part * (value - low);
            }
        }
        low.unwrap_or(f64::NAN)
    }

    fn cost(&self) -> usize {
        2 * self.values.len()
    }
}

/// Share of the catalog's items that any list holds.
pub(crate) struct Coverage {
    /// The blocks of each item that few blocks hold; an item of many is left out by no resample.
    rare: BlockItems,
    certain: u64,
    catalog: u64,
}

/// An item of so many blocks is in every resample, as good as surely: of n blocks all are left out with a probability
/// below e^-40.
const CERTAIN_BLOCKS: u32 = 40;

impl Coverage {
    /// Of a catalog of `catalog` items.
    pub(crate) fn new(items: &BlockItems, catalog: u64) -> Self {
        let mut blocks = vec![0u32; catalog as usize];
        for (item, _) in items.iter() {
            blocks[item as usize] += 1;
        }
        let certain = blocks.iter().filter(|blocks| **blocks >= CERTAIN_BLOCKS);
        Self {
            certain: certain.count() as u64,
            rare: items.filtered(|item| blocks[item as usize] < CERTAIN_BLOCKS),
            catalog,
        }
    }
}

impl Statistic for Coverage {
    fn value(&self, weights: &[u32]) -> f64 {
        let mut seen = vec![false; self.catalog as usize];
        let mut covered = self.certain;
        for (block, weight) in weights.iter().enumerate() {
            if *weight > 0 {
                for (item, _) in self.rare.of(block) {
                    covered += u64::from(!seen[*item as usize]);
                    seen[*item as usize] = true;
                }
            }
        }
        covered as f64 / self.catalog as f64
    }

    fn cost(&self) -> usize {
        self.rare.len()
    }

    fn is_shifted(&self) -> bool {
        true
    }
}

/// The Gini coefficient of how often each item of the catalog is recommended.
pub(crate) struct Gini {
    items: BlockItems,
    catalog: u64,
}

impl Gini {
    /// Of a catalog of `catalog` items.
    pub(crate) fn new(items: BlockItems, catalog: u64) -> Self {
        Self { items, catalog }
    }
}

impl Statistic for Gini {
    fn value(&self, weights: &[u32]) -> f64 {
        let mut counts = vec![0u64; self.catalog as usize];
        for (block, weight) in weights.iter().enumerate() {
            if *weight > 0 {
                for (item, count) in self.items.of(block) {
                    counts[*item as usize] += u64::from(*weight) * u64::from(*count);
                }
            }
        }
        gini(&mut counts)
    }

    fn cost(&self) -> usize {
        self.items.len() + 10 * self.catalog as usize
    }

    fn is_shifted(&self) -> bool {
        true
    }
}

/// 0 if all counts are equal, near 1 if one has everything: Σ (2 i − n − 1) x_i / (n Σ x_i), x rising.
fn gini(counts: &mut [u64]) -> f64 {
    counts.sort_unstable();
    let n = counts.len() as i128;
    let total: u64 = counts.iter().sum();
    let weighted: i128 = (1i128..)
        .zip(counts.iter())
        .map(|(i, count)| (2 * i - n - 1) * i128::from(*count))
        .sum();
    weighted as f64 / (n as f64 * total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ones(sample: &Sample) -> Vec<u32> {
        vec![1; sample.blocks()]
    }

    #[test]
    fn more_rows_than_are_drawn_apart_share_blocks_of_equal_size() {
        let sample = Sample::all(2000);
        assert_eq!(sample.blocks(), 2000);
        assert!(sample.iter().all(|(row, block)| row == block));
        let sample = Sample::all(2500);
        let mut sizes = vec![0; sample.blocks()];
        for (row, of) in sample.iter() {
            sizes[of] += 1;
            assert_eq!(of, block(row, 2500, 1000));
        }
        assert_eq!(sizes.len(), 1000);
        assert!(sizes.iter().all(|size| [2, 3].contains(size)));
    }

    #[test]
    fn weights_stand_for_rows_that_are_there_so_often() {
        // Scores 3, 2, 2, 1; the first and the third are positive.
        let (scores, positive) = ([3.0, 2.0, 2.0, 1.0], [true, false, true, false]);
        let sample = Sample::all(4);
        let ranking = || Ranking::new(&sample, |row| scores[row], |row| positive[row]);
        // Of four pairs three are won, and one is a tie.
        assert_eq!(RocAuc(vec![ranking()]).value(&ones(&sample)), 3.5 / 4.0);
        // Precision 1 at recall 1/2, then 2/3 at recall 1.
        let area = PrAuc(vec![ranking()]).value(&ones(&sample));
        assert!((area - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
        // The tied negative twice, the last row not at all: two pairs won, two ties.
        assert_eq!(RocAuc(vec![ranking()]).value(&[1, 2, 1, 0]), 3.0 / 4.0);
        let no_negative = RocAuc(vec![ranking()]).value(&[1, 0, 1, 0]);
        assert!(no_negative.is_nan());
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        let sample = Sample::all(4);
        let quantile = |share, weights: &[u32]| {
            Quantiles::new(&sample, share, |row| values[row]).value(weights)
        };
        assert_eq!(quantile(0.5, &[1; 4]), 2.5);
        assert_eq!(quantile(0.9, &[1; 4]), 3.7);
        // 1, 1, 1, 4.
        assert_eq!(quantile(0.5, &[1, 3, 0, 0]), 1.0);
        assert_eq!(quantile(0.75, &[1, 3, 0, 0]), 1.75);
        assert_eq!(quantile(0.5, &[1, 0, 0, 0]), 4.0);
        assert!(quantile(0.5, &[0; 4]).is_nan());
    }

    #[test]
    fn gini_of_equal_counts_is_zero_and_of_one_item_nearly_one() {
        assert_eq!(gini(&mut [2, 2, 2, 2]), 0.0);
        assert_eq!(gini(&mut [0, 8, 0, 0]), 0.75);
        assert_eq!(gini(&mut [1, 3]), 0.25);
    }
}
