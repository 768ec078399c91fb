//! Ranking: scores of the whole catalog for the last position of each sequence, and what is best among them.
//!
//! The order of a ranking is total: by score, best first, then by item index, lowest first. So it does not depend on how
//! a library breaks ties. It is done here, not by libtorch, whose `topk` leaves the order of ties open.

use std::cmp::Ordering;

use tch::Tensor;

use crate::objective::{Better, Measure};
use crate::problem::{Code, Problem};
use crate::sequences::Sequences;
use crate::weights::Weights;

/// How many scores are held at a time: 64 MiB of them.
const SCORES: usize = 1 << 24;
/// How many rows go through the model at a time, at most.
const ROWS: usize = 256;

/// What scores the whole catalog for a row: a sequence, a user.
pub trait Scorer {
    /// Items of the catalog.
    fn items(&self) -> i64;

    /// How many of a row's last entries it sees.
    fn max_length(&self) -> usize;

    /// Scores `[rows, items]`; those of an empty row mean nothing. At least one row is not empty.
    ///
    /// # Errors
    /// Those of libtorch.
    fn score(&self, weights: &Weights, rows: &[&[i64]]) -> Result<Tensor, Problem>;
}

/// Calls `visit(row, scores)` with the scores `[items]` of every row of `sequences`, in order. A row without items has
/// no scores: an empty slice.
///
/// # Errors
/// [`Code::Diverged`] for scores that are not finite; those of libtorch.
pub fn for_each_row(
    scorer: &dyn Scorer,
    weights: &Weights,
    sequences: &Sequences,
    mut visit: impl FnMut(usize, &mut [f32]),
) -> Result<(), Problem> {
    let items = scorer.items() as usize;
    let step = (SCORES / items.max(1)).clamp(1, ROWS);
    let rows: Vec<usize> = (0..sequences.rows()).collect();
    let mut scores: Vec<f32> = Vec::new();
    for rows in rows.chunks(step) {
        let seen: Vec<&[i64]> = rows
            .iter()
            .map(|row| tail(sequences.row(*row), scorer.max_length()))
            .collect();
        if seen.iter().any(|row| !row.is_empty()) {
            scores.resize(rows.len() * items, 0.0);
            tch::no_grad(|| scorer.score(weights, &seen))?
                .f_to_device(tch::Device::Cpu)?
                .f_contiguous()?
                .f_copy_data(&mut scores, rows.len() * items)?;
        }
        for (i, row) in rows.iter().enumerate() {
            if seen[i].is_empty() {
                visit(*row, &mut []);
                continue;
            }
            let scores = &mut scores[i * items..(i + 1) * items];
            if scores.iter().any(|score| !score.is_finite()) {
                return Err(Problem::new(
                    Code::Diverged,
                    format!("the scores of row {row} are not finite"),
                ));
            }
            visit(*row, scores);
        }
    }
    Ok(())
}

/// The last `length` items of a row.
fn tail(row: &[i64], length: usize) -> &[i64] {
    &row[row.len().saturating_sub(length)..]
}

/// The `k` best of `scores` that are not in `seen`, best first.
pub fn best(scores: &[f32], k: usize, seen: &[i64]) -> Vec<i64> {
    let mut out = vec![false; scores.len()];
    for item in seen {
        out[*item as usize] = true;
    }
    let mut left: Vec<usize> = (0..scores.len()).filter(|item| !out[*item]).collect();
    let order = |a: &usize, b: &usize| before(scores, *a, *b);
    if k < left.len() {
        left.select_nth_unstable_by(k, order);
        left.truncate(k);
    }
    left.sort_unstable_by(order);
    left.into_iter().map(|item| item as i64).collect()
}

/// The rank of `item`, from 1, among all that are not in `seen`; none if it is itself in `seen`.
pub fn rank(scores: &mut [f32], item: i64, seen: &[i64]) -> Option<usize> {
    if seen.contains(&item) {
        return None;
    }
    for item in seen {
        scores[*item as usize] = f32::NEG_INFINITY;
    }
    let (item, score) = (item as usize, scores[item as usize]);
    let better = scores
        .iter()
        .enumerate()
        .filter(|(i, s)| **s > score || (**s == score && *i < item));
    Some(better.count() + 1)
}

fn before(scores: &[f32], a: usize, b: usize) -> Ordering {
    // Scores are finite; `total_cmp` would tell 0 from -0.
    scores[b]
        .partial_cmp(&scores[a])
        .unwrap_or(Ordering::Equal)
        .then(a.cmp(&b))
}

/// What [`validate`] measures over the first ten places, means over rows: `1 / log2(rank + 1)`, the share of rows whose
/// label is among them, `1 / rank`.
pub const MEASURES: &[Measure] = &[
    measure("valid_ndcg@10"),
    measure("valid_hit_rate@10"),
    measure("valid_mrr@10"),
];

const fn measure(name: &'static str) -> Measure {
    Measure {
        name,
        better: Better::Greater,
    }
}

/// Ranks the label of every row in the whole catalog, the row's own items left out: the figures of [`MEASURES`].
///
/// # Errors
/// As [`for_each_row`].
pub fn validate(
    scorer: &dyn Scorer,
    weights: &Weights,
    sequences: &Sequences,
) -> Result<Vec<f64>, Problem> {
    let [mut ndcg, mut hits, mut mrr] = [0.0; 3];
    for_each_row(scorer, weights, sequences, |row, scores| {
        if scores.is_empty() {
            return;
        }
        if let Some(rank @ ..=10) = rank(scores, sequences.labels()[row], sequences.row(row)) {
            ndcg += (rank as f64 + 1.0).log2().recip();
            hits += 1.0;
            mrr += (rank as f64).recip();
        }
    })?;
    let rows = sequences.rows().max(1) as f64;
    Ok([ndcg, hits, mrr].map(|sum| sum / rows).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_index() {
        assert_eq!(best(&[1.0, 2.0, 2.0, 1.0, 3.0], 4, &[]), [4, 1, 2, 0]);
    }

    #[test]
    fn seen_items_are_left_out_even_when_too_few_remain() {
        assert_eq!(best(&[3.0, 2.0, 1.0], 3, &[0, 0, 2]), [1]);
    }

    #[test]
    fn a_rank_is_the_place_in_the_list() {
        let scores = [0.5, -1.0, 2.0, 0.5, 0.5, 7.0];
        let list = best(&scores, 6, &[5]);
        for (place, item) in list.iter().enumerate() {
            assert_eq!(rank(&mut scores.clone(), *item, &[5]), Some(place + 1));
        }
        assert_eq!(rank(&mut scores.clone(), 5, &[5]), None);
    }
}
