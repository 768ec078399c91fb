//! BERT4Rec: a bidirectional transformer that fills in masked items (Sun, Liu, Wu, Pei, Lin, Ou and Jiang, "BERT4Rec:
//! Sequential Recommendation with Bidirectional Encoder Representations from Transformer", 2019).
//!
//! Shapes: `b` sequences, `t` positions, `d` = `dim`, `n` items of the catalog. Item `n` is the mask. Sequences are padded on
//! the right, and no position attends to the padding. In training each item of a window is masked with probability `mask`,
//! and the network predicts what stood there; a share `mask_last` of the windows has only its last item masked, which is
//! what the network is asked afterwards: the mask is put after a sequence, and what it would stand for is predicted.
//!
//! As in the paper: layer norm after each sublayer (post-norm), GELU, a feed-forward layer of width `4 d`, and a head of one
//! layer whose result is compared with the item embeddings.

use tch::{Kind, TchError, Tensor};

use crate::item_loss::{ItemLoss, Targets};
use crate::layers::{attend, drop, norm};
use crate::next_item::windows;
use crate::objective::{Loss, Measure, Objective};
use crate::order::Order;
use crate::problem::Problem;
use crate::rank::{self, Scorer};
use crate::sequences::{Sequences, pad};
use crate::weights::{Spec, Weights};

/// Standard deviation of initial embeddings and matrices, as in the paper.
const INITIAL_STD: f64 = 0.02;
/// Width of the feed-forward layer in units of `dim`.
const FEED_FORWARD: i64 = 4;

/// The network, a function of its [`Weights`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bert4Rec {
    /// Items of the catalog.
    pub items: i64,
    /// Width of embeddings and layers.
    pub dim: i64,
    /// Attention blocks.
    pub layers: i64,
    /// Attention heads; divides `dim`.
    pub heads: i64,
    /// Positions that have an embedding, that of the mask included.
    pub max_length: usize,
}

impl Bert4Rec {
    /// The states `[b, t, d]` at each of `items` (i64 `[b, t]`, `t` at most `max_length`), of which the first `lengths[r]` of
    /// row `r` are no padding.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn hidden(
        &self,
        weights: &Weights,
        items: &Tensor,
        lengths: &Tensor,
        dropout: f64,
    ) -> Result<Tensor, TchError> {
        let (b, t) = items.size2()?;
        let mut walk = weights.walk(0);
        let mut next = || walk.weight();
        let (item, _, mask, position) = (next()?, next()?, next()?, next()?);
        let masked = items.f_eq(self.items)?;
        let embedded =
            Tensor::f_embedding(item, &items.f_masked_fill(&masked, 0)?, -1, false, false)?;
        let embedded = mask.f_where_self(&masked.f_unsqueeze(-1)?, &embedded)?;
        let embedded = embedded.f_add(&position.f_narrow(0, 0, t)?)?;
        let mut x = drop(&norm(&embedded, next()?, next()?)?, dropout)?;
        let padding = padding(lengths, b, t)?;
        for _ in 0..self.layers {
            let y = attend(
                &x,
                self.heads,
                &padding,
                [next()?, next()?, next()?, next()?],
            )?;
            x = norm(&x.f_add(&drop(&y, dropout)?)?, next()?, next()?)?;
            let y = x.f_linear(next()?, Some(next()?))?.f_gelu("none")?;
            let y = y.f_linear(next()?, Some(next()?))?;
            x = norm(&x.f_add(&drop(&y, dropout)?)?, next()?, next()?)?;
        }
        Ok(x)
    }

    /// What the head makes of states `[m, d]`, to be compared with the items.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn head(&self, weights: &Weights, hidden: &Tensor) -> Result<Tensor, TchError> {
        let mut walk = weights.walk(6 + 12 * self.layers as usize);
        let y = hidden.f_linear(walk.weight()?, Some(walk.weight()?))?;
        norm(&y.f_gelu("none")?, walk.weight()?, walk.weight()?)
    }

    /// What scores items: their embeddings and their bias.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn output<'w>(&self, weights: &'w Weights) -> Result<(&'w Tensor, &'w Tensor), TchError> {
        Ok((weights.at(0)?, weights.at(1)?))
    }

    /// Names, sizes and starts of its weights.
    pub fn specs(&self) -> Vec<Spec> {
        let dim = self.dim;
        let matrix = |name: String, size: &[i64]| Spec::normal(name, size, INITIAL_STD);
        let mut specs = vec![
            matrix("item.weight".into(), &[self.items, dim]),
            Spec::bias("item.bias", self.items),
            matrix("mask.weight".into(), &[dim]),
            matrix("position.weight".into(), &[self.max_length as i64, dim]),
            Spec::scale("norm.weight", dim),
            Spec::bias("norm.bias", dim),
        ];
        for layer in 0..self.layers {
            let name = |name: &str| format!("layers.{layer}.{name}");
            let wide = FEED_FORWARD * dim;
            specs.extend([
                matrix(name("attention.in.weight"), &[3 * dim, dim]),
                Spec::bias(name("attention.in.bias"), 3 * dim),
                matrix(name("attention.out.weight"), &[dim, dim]),
                Spec::bias(name("attention.out.bias"), dim),
                Spec::scale(name("attention.norm.weight"), dim),
                Spec::bias(name("attention.norm.bias"), dim),
                matrix(name("feed.in.weight"), &[wide, dim]),
                Spec::bias(name("feed.in.bias"), wide),
                matrix(name("feed.out.weight"), &[dim, wide]),
                Spec::bias(name("feed.out.bias"), dim),
                Spec::scale(name("feed.norm.weight"), dim),
                Spec::bias(name("feed.norm.bias"), dim),
            ]);
        }
        specs.extend([
            matrix("head.weight".into(), &[dim, dim]),
            Spec::bias("head.bias", dim),
            Spec::scale("head.norm.weight", dim),
            Spec::bias("head.norm.bias", dim),
        ]);
        specs
    }
}

/// Added to attention scores, `[b, 1, 1, t]`: -inf for padding, 0 for the rest.
fn padding(lengths: &Tensor, b: i64, t: i64) -> Result<Tensor, TchError> {
    let device = lengths.device();
    let places = Tensor::f_arange(t, (Kind::Int64, device))?.f_view([1, 1, 1, t])?;
    let beyond = places.f_ge_tensor(&lengths.f_view([b, 1, 1, 1])?)?;
    Tensor::f_zeros([b, 1, 1, t], (Kind::Float, device))?.f_masked_fill(&beyond, f64::NEG_INFINITY)
}

impl Scorer for Bert4Rec {
    fn items(&self) -> i64 {
        self.items
    }

    fn max_length(&self) -> usize {
        // The mask comes after them.
        self.max_length - 1
    }

    fn score(&self, weights: &Weights, rows: &[&[i64]]) -> Result<Tensor, Problem> {
        let device = weights.device();
        let masked: Vec<Vec<i64>> = rows
            .iter()
            .map(|row| [row, &[self.items][..]].concat())
            .collect();
        let masked: Vec<&[i64]> = masked.iter().map(Vec::as_slice).collect();
        let lengths: Vec<i64> = masked.iter().map(|row| row.len() as i64).collect();
        let items = pad(&masked)?.f_to_device(device)?;
        let (_, t) = items.size2()?;
        let last: Vec<i64> = (0..)
            .zip(&lengths)
            .map(|(row, n)| row * t + n - 1)
            .collect();
        let lengths = Tensor::f_from_slice(&lengths)?.f_to_device(device)?;
        let last = Tensor::f_from_slice(&last)?.f_to_device(device)?;
        let hidden = self.hidden(weights, &items, &lengths, 0.0)?;
        let hidden = hidden.f_view([-1, self.dim])?.f_index_select(0, &last)?;
        let (matrix, bias) = self.output(weights)?;
        Ok(self.head(weights, &hidden)?.f_linear(matrix, Some(bias))?)
    }
}

/// Filling in masked items.
#[derive(Debug)]
pub struct Cloze<'a> {
    /// The network.
    pub network: Bert4Rec,
    /// What it learns from.
    pub train: &'a Sequences,
    /// What it is measured on, with labels.
    pub valid: Option<&'a Sequences>,
    /// Probability that an item is masked.
    pub mask: f64,
    /// Share of windows whose last item alone is masked.
    pub mask_last: f64,
    /// Share of activations dropped in training.
    pub dropout: f64,
    /// What is minimised.
    pub loss: ItemLoss,
}

/// A batch of windows.
#[derive(Debug)]
pub struct Batch {
    /// The windows' items, some of them masked, i64 `[b, t]`, padded with 0.
    items: Tensor,
    /// How many items of each are no padding, i64 `[b]`.
    lengths: Tensor,
    /// The masked places in `items`, flattened: i64 `[m]`.
    places: Tensor,
    /// What stood there.
    targets: Targets,
}

impl<'a> Objective for Cloze<'a> {
    type Example = &'a [i64];
    type Batch = Batch;

    fn specs(&self) -> Vec<Spec> {
        self.network.specs()
    }

    fn examples(&self, order: &mut Order) -> Vec<&'a [i64]> {
        // Neighbouring windows share an item, which may then be masked in both.
        windows(self.train, self.network.max_length - 1, order)
    }

    fn batch(&self, windows: &[&'a [i64]], order: &mut Order) -> Result<Batch, Problem> {
        let longest = windows.iter().map(|window| window.len()).max().unwrap_or(0);
        let mut rows: Vec<Vec<i64>> = windows.iter().map(|window| window.to_vec()).collect();
        let (mut places, mut targets) = (Vec::new(), Vec::new());
        for (row, items) in rows.iter_mut().enumerate() {
            for place in masked(items.len(), self.mask, self.mask_last, order) {
                places.push((row * longest + place) as i64);
                targets.push(items[place]);
                items[place] = self.network.items;
            }
        }
        let lengths: Vec<i64> = rows.iter().map(|row| row.len() as i64).collect();
        let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        Ok(Batch {
            items: pad(&rows)?,
            lengths: Tensor::f_from_slice(&lengths)?,
            places: Tensor::f_from_slice(&places)?,
            targets: self.loss.targets(&targets, order)?,
        })
    }

    fn learn(&self, weights: &Weights, batch: Batch) -> Result<Loss, Problem> {
        let device = weights.device();
        let items = batch.items.f_to_device(device)?;
        let lengths = batch.lengths.f_to_device(device)?;
        let places = batch.places.f_to_device(device)?;
        let hidden = self
            .network
            .hidden(weights, &items, &lengths, self.dropout)?;
        let hidden = hidden
            .f_view([-1, self.network.dim])?
            .f_index_select(0, &places)?;
        let hidden = self.network.head(weights, &hidden)?;
        let output = self.network.output(weights)?;
        Ok(Loss {
            mean: self.loss.backward(&hidden, output, &batch.targets)?,
            count: batch.targets.len(),
        })
    }

    fn measures(&self) -> &'static [Measure] {
        rank::MEASURES
    }

    fn validate(&self, weights: &Weights) -> Result<Vec<f64>, Problem> {
        match self.valid {
            Some(valid) => rank::validate(&self.network, weights, valid),
            None => Ok(Vec::new()),
        }
    }
}

/// The places of a window that are masked: at least one.
fn masked(length: usize, mask: f64, mask_last: f64, order: &mut Order) -> Vec<usize> {
    if order.unit() < mask_last {
        return vec![length - 1];
    }
    let places: Vec<usize> = (0..length).filter(|_| order.unit() < mask).collect();
    match places.is_empty() {
        true => vec![order.below(length)],
        false => places,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_always_masked() {
        let mut order = Order::new(1);
        for length in 1..20 {
            let places = masked(length, 0.05, 0.0, &mut order);
            assert!(!places.is_empty() && places.iter().all(|place| *place < length));
        }
        assert_eq!(masked(7, 0.5, 1.0, &mut order), [6]);
    }
}
