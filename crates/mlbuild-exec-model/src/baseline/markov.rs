//! First-order Markov: an item's score is how often it directly followed the sequence's last item in training. Where
//! that says nothing, popularity decides: it adds a millionth of an item's count.
//!
//! The maximum-likelihood chain of Shani, Brafman and Heckerman, *An MDP-based recommender system*, UAI 2002, without
//! their smoothing.

use mlbuild_action::Failure;

use super::popularity::{counts_tensor, read_counts};
use super::{Baseline, counts};
use crate::sequences::Sequences;
use crate::tensors::{Tensor, TensorFile, broken};

/// The weight of popularity: too small to outvote one observation, unless an item occurs a million times.
const POPULARITY: f64 = 1e-6;

pub(super) struct Markov {
    counts: Vec<u64>,
    /// Where the followers of each item begin, and at last where they end: `[items + 1]`.
    offsets: Vec<usize>,
    /// Followers of all items, of each by index.
    followers: Vec<u32>,
    /// How often each follows.
    follower_counts: Vec<u64>,
}

impl Markov {
    pub(super) fn train(sequences: &Sequences, items: usize) -> Self {
        let pairs = sequences
            .iter()
            .flat_map(|sequence| sequence.windows(2).map(|pair| (pair[0], pair[1])));
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_unstable();
        let mut offsets = vec![0; items + 1];
        let (mut followers, mut follower_counts) = (Vec::new(), Vec::new());
        for run in pairs.chunk_by(|a, b| a == b) {
            let (from, to) = run[0];
            followers.push(to);
            follower_counts.push(run.len() as u64);
            offsets[from as usize + 1] = followers.len();
        }
        // Items that nothing follows end where the item before them ends.
        for item in 0..items {
            offsets[item + 1] = offsets[item + 1].max(offsets[item]);
        }
        Self {
            counts: counts(sequences, items),
            offsets,
            followers,
            follower_counts,
        }
    }

    pub(super) fn read(file: &TensorFile, items: usize) -> Result<Self, Failure> {
        let counts = read_counts(file, items)?;
        let (_, offsets) = file.i64("offsets")?;
        let (_, followers) = file.i64("followers")?;
        let (_, follower_counts) = file.i64("follower_counts")?;
        let whole = offsets.len() == items + 1
            && offsets[0] == 0
            && offsets.is_sorted()
            && offsets[items] == followers.len() as i64
            && followers.len() == follower_counts.len()
            && followers
                .iter()
                .all(|item| (0..items as i64).contains(item))
            && follower_counts.iter().all(|count| *count > 0);
        if !whole {
            return Err(broken(
                "the model",
                "does not hold a sparse matrix of counts",
            ));
        }
        Ok(Self {
            counts,
            offsets: offsets.into_iter().map(|offset| offset as usize).collect(),
            followers: followers.into_iter().map(|item| item as u32).collect(),
            follower_counts: follower_counts
                .into_iter()
                .map(|count| count as u64)
                .collect(),
        })
    }
}

impl Baseline for Markov {
    fn tensors(&self) -> Vec<Tensor> {
        let i64 = |name, values: Vec<i64>| Tensor::i64(name, &[values.len()], values.into_iter());
        vec![
            counts_tensor(&self.counts),
            i64("offsets", self.offsets.iter().map(|i| *i as i64).collect()),
            i64(
                "followers",
                self.followers.iter().map(|i| i64::from(*i)).collect(),
            ),
            i64(
                "follower_counts",
                self.follower_counts.iter().map(|i| *i as i64).collect(),
            ),
        ]
    }

    fn score(&self, sequence: &[u32], scores: &mut [f64]) {
        for (score, count) in scores.iter_mut().zip(&self.counts) {
            *score = *count as f64 * POPULARITY;
        }
        let Some(last) = sequence.last() else { return };
        let last = *last as usize;
        for i in self.offsets[last]..self.offsets[last + 1] {
            scores[self.followers[i] as usize] += self.follower_counts[i] as f64;
        }
    }
}
