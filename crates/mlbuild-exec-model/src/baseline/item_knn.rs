//! Item-KNN: items are similar when the same sequences hold them.
//!
//! The similarity of two items is the cosine of their columns in the binary matrix of sequences by items: sequences
//! that hold both, over the geometric mean of those that hold each. Every candidate keeps its `neighbours` most similar
//! items, ties to the lower index; its score is the sum of its similarities to those of the sequence's `last` items
//! that are among them. After Sarwar, Karypis, Konstan and Riedl, *Item-based collaborative filtering recommendation
//! algorithms*, WWW 2001, and Deshpande and Karypis, *Item-based top-N recommendation algorithms*, TOIS 2004.

use mlbuild_action::{Cancel, Failure};
use rayon::prelude::*;

use super::Baseline;
use crate::rank::{Scored, better_first};
use crate::sequences::Sequences;
use crate::stop_if_cancelled;
use crate::tensors::{Tensor, TensorFile, broken};

pub(super) struct ItemKnn {
    /// The length that a candidate's list is filled up to in the file.
    neighbours: usize,
    /// How many items at the end of a sequence count.
    last: usize,
    /// Each candidate's neighbours, most similar first.
    lists: Vec<Vec<Scored>>,
    /// For each item the candidates that have it as a neighbour, with its similarity: the lists, turned round.
    candidates: Vec<Vec<Scored>>,
}

impl ItemKnn {
    pub(super) fn train(
        sequences: &Sequences,
        items: usize,
        neighbours: usize,
        last: usize,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        let distinct: Vec<Vec<u32>> = sequences
            .iter()
            .map(|sequence| {
                let mut items = sequence.to_vec();
                items.sort_unstable();
                items.dedup();
                items
            })
            .collect();
        let mut rows_with = vec![Vec::new(); items];
        for (row, sequence) in distinct.iter().enumerate() {
            for item in sequence {
                rows_with[*item as usize].push(row);
            }
        }
        let neighbours = neighbours.min(items);
        let lists = (0..items).into_par_iter().map_init(
            || vec![0_u64; items],
            |together, item| {
                stop_if_cancelled(cancel)?;
                Ok(most_similar(
                    item, neighbours, &distinct, &rows_with, together,
                ))
            },
        );
        let lists = lists.collect::<Result<Vec<_>, Failure>>()?;
        Ok(Self::new(neighbours, last, lists))
    }

    fn new(neighbours: usize, last: usize, lists: Vec<Vec<Scored>>) -> Self {
        let mut candidates = vec![Vec::new(); lists.len()];
        for (candidate, list) in lists.iter().enumerate() {
            for (item, similarity) in list {
                candidates[*item as usize].push((candidate as u32, *similarity));
            }
        }
        Self {
            neighbours,
            last,
            lists,
            candidates,
        }
    }

    pub(super) fn read(file: &TensorFile, items: usize, last: usize) -> Result<Self, Failure> {
        let (shape, neighbours) = file.i64("neighbours")?;
        let (other_shape, similarities) = file.f64("similarities")?;
        let bad = || broken("the model", "does not hold lists of neighbours");
        let [rows, width] = shape[..] else {
            return Err(bad());
        };
        let in_range = |item: &i64| (-1..items as i64).contains(item);
        if rows != items || shape != other_shape || !neighbours.iter().all(in_range) {
            return Err(bad());
        }
        let lists = (0..items).map(|item| {
            let range = item * width..(item + 1) * width;
            neighbours[range.clone()]
                .iter()
                .zip(&similarities[range])
                .take_while(|(item, _)| **item >= 0)
                .map(|(item, similarity)| (*item as u32, *similarity))
                .collect()
        });
        Ok(Self::new(width, last, lists.collect()))
    }
}

/// The list of one item. `together` is all zeros before and after.
fn most_similar(
    item: usize,
    neighbours: usize,
    distinct: &[Vec<u32>],
    rows_with: &[Vec<usize>],
    together: &mut [u64],
) -> Vec<Scored> {
    let mut others = Vec::new();
    for row in &rows_with[item] {
        for other in &distinct[*row] {
            let count = &mut together[*other as usize];
            if *count == 0 && *other as usize != item {
                others.push(*other);
            }
            *count += 1;
        }
    }
    let occurs = |item: usize| rows_with[item].len() as f64;
    let mut list: Vec<Scored> = others
        .iter()
        .map(|other| {
            let index = *other as usize;
            let both = together[index] as f64;
            (*other, both / (occurs(item) * occurs(index)).sqrt())
        })
        .collect();
    together[item] = 0;
    others
        .iter()
        .for_each(|other| together[*other as usize] = 0);
    if neighbours < list.len() {
        list.select_nth_unstable_by(neighbours, better_first);
        list.truncate(neighbours);
    }
    list.sort_unstable_by(better_first);
    list
}

impl Baseline for ItemKnn {
    fn tensors(&self) -> Vec<Tensor> {
        let shape = [self.lists.len(), self.neighbours];
        let slots = || {
            let all = 0..self.neighbours;
            self.lists
                .iter()
                .flat_map(move |list| all.clone().map(|slot| list.get(slot)))
        };
        let items = slots().map(|slot| slot.map_or(-1, |(item, _)| i64::from(*item)));
        let similarities = slots().map(|slot| slot.map_or(0.0, |(_, similarity)| *similarity));
        vec![
            Tensor::i64("neighbours", &shape, items),
            Tensor::f64("similarities", &shape, similarities),
        ]
    }

    fn score(&self, sequence: &[u32], scores: &mut [f64]) {
        scores.fill(0.0);
        let recent = &sequence[sequence.len().saturating_sub(self.last)..];
        for item in recent {
            for (candidate, similarity) in &self.candidates[*item as usize] {
                scores[*candidate as usize] += similarity;
            }
        }
    }
}
