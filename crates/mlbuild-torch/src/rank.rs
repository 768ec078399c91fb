//! Ranking: scores of the whole catalog for the last position of each sequence, and what is best among them.
//!
//! The order of a ranking is total: by score, best first, then by item index, lowest first. So it does not depend on how
//! a library breaks ties. It is done here, not by libtorch, whose `topk` leaves the order of ties open.

use std::cmp::Ordering;

use tch::Tensor;

use crate::problem::{Code, Problem};
use crate::sasrec::Sasrec;
use crate::sequences::{Sequences, pad};

/// How many scores are held at a time: 64 MiB of them.
const SCORES: usize = 1 << 24;
/// How many rows go through the model at a time, at most.
const ROWS: usize = 256;

/// Calls `visit(row, scores)` with the scores `[items]` of every row of `sequences`, in order. A row without items has
/// no scores: an empty slice.
///
/// # Errors
/// [`Code::Diverged`] for scores that are not finite; those of libtorch.
pub fn for_each_row(
    model: &Sasrec,
    sequences: &Sequences,
    mut visit: impl FnMut(usize, &mut [f32]),
) -> Result<(), Problem> {
    let shape = *model.shape();
    let device = model.weights()[0].tensor.device();
    let items = shape.items as usize;
    let step = (SCORES / items.max(1)).clamp(1, ROWS);
    let rows: Vec<usize> = (0..sequences.rows()).collect();
    let mut scores: Vec<f32> = Vec::new();
    for rows in rows.chunks(step) {
        let seen: Vec<&[i64]> = rows
            .iter()
            .map(|row| tail(sequences.row(*row), shape.max_length as usize))
            .collect();
        let last: Vec<i64> = seen.iter().map(|row| row.len() as i64 - 1).collect();
        if last.iter().any(|last| *last >= 0) {
            scores.resize(rows.len() * items, 0.0);
            let tensor = tch::no_grad(|| last_scores(model, &pad(&seen, device)?, &last))?;
            tensor
                .f_to_device(tch::Device::Cpu)?
                .f_copy_data(&mut scores, rows.len() * items)?;
        }
        for (i, row) in rows.iter().enumerate() {
            if last[i] < 0 {
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

/// Scores `[rows, items]` after position `last[row]` of each row; those of an empty row mean nothing.
fn last_scores(model: &Sasrec, items: &Tensor, last: &[i64]) -> Result<Tensor, Problem> {
    let (rows, length) = items.size2()?;
    let hidden = model.hidden(items, 0.0)?.f_view([rows * length, -1])?;
    let places: Vec<i64> = (0..rows)
        .zip(last)
        .map(|(row, last)| row * length + last.max(&0))
        .collect();
    let places = Tensor::f_from_slice(&places)?.f_to_device(items.device())?;
    Ok(model
        .scores(&hidden.f_index_select(0, &places)?)?
        .f_contiguous()?)
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

/// Figures over the first ten places, means over rows.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Figures {
    /// Share of rows whose label is among the first ten.
    pub hit_rate: f64,
    /// Mean of `1 / log2(rank + 1)`, 0 beyond ten.
    pub ndcg: f64,
    /// Mean of `1 / rank`, 0 beyond ten.
    pub mrr: f64,
}

/// Ranks the label of every row in the whole catalog, the row's own items left out.
///
/// # Errors
/// As [`for_each_row`].
pub fn validate(model: &Sasrec, sequences: &Sequences) -> Result<Figures, Problem> {
    let mut sum = Figures::default();
    for_each_row(model, sequences, |row, scores| {
        if scores.is_empty() {
            return;
        }
        if let Some(rank @ ..=10) = rank(scores, sequences.labels()[row], sequences.row(row)) {
            sum.hit_rate += 1.0;
            sum.ndcg += (rank as f64 + 1.0).log2().recip();
            sum.mrr += (rank as f64).recip();
        }
    })?;
    let rows = sequences.rows().max(1) as f64;
    Ok(Figures {
        hit_rate: sum.hit_rate / rows,
        ndcg: sum.ndcg / rows,
        mrr: sum.mrr / rows,
    })
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
