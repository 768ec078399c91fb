//! SASRec: a causal transformer over item sequences (Kang and McAuley, "Self-Attentive Sequential Recommendation", 2018).
//!
//! Shapes: `b` sequences, `t` positions, `d` = `dim`, `n` items of the catalog. Sequences are padded on the *right*: under
//! the causal mask no real position sees the padding, so there is no padding item and no second mask. A position's hidden
//! state scores item `i` by its dot product with the same embedding that stands for `i` at the input (tied weights).
//!
//! Differences from the paper, all common since: layer norm before each sublayer and once at the end (pre-norm), queries
//! normalised like keys and values, GELU, a feed-forward layer of width `4 d`, and a bias for each item.

use tch::{Kind, TchError, Tensor};

use crate::layers::{attend, drop, norm};
use crate::next_item::Encoder;
use crate::weights::{Spec, Weights};

/// Standard deviation of initial embeddings and matrices.
const INITIAL_STD: f64 = 0.02;
/// Width of the feed-forward layer in units of `dim`.
const FEED_FORWARD: i64 = 1;

/// The sizes of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Items of the catalog.
    pub items: i64,
    /// Width of embeddings and layers.
    pub dim: i64,
    /// Attention blocks.
    pub layers: i64,
    /// Attention heads; divides `dim`.
    pub heads: i64,
    /// Positions that have an embedding.
    pub max_length: i64,
}

/// The network, a function of its [`Weights`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sasrec {
    /// Its sizes.
    pub shape: Shape,
}

impl Encoder for Sasrec {
    fn specs(&self) -> Vec<Spec> {
        let Shape {
            items,
            dim,
            layers,
            max_length,
            ..
        } = self.shape;
        let matrix = |name: &str, size: &[i64]| Spec::normal(name, size, INITIAL_STD);
        let mut specs = vec![
            matrix("item.weight", &[items, dim]),
            Spec::bias("item.bias", items),
            matrix("position.weight", &[max_length, dim]),
        ];
        for layer in 0..layers {
            let name = |name: &str| format!("layers.{layer}.{name}");
            let matrix = |part: &str, size: &[i64]| matrix(&name(part), size);
            specs.extend([
                Spec::scale(name("attention.norm.weight"), dim),
                Spec::bias(name("attention.norm.bias"), dim),
                matrix("attention.in.weight", &[3 * dim, dim]),
                Spec::bias(name("attention.in.bias"), 3 * dim),
                matrix("attention.out.weight", &[dim, dim]),
                Spec::bias(name("attention.out.bias"), dim),
                Spec::scale(name("feed.norm.weight"), dim),
                Spec::bias(name("feed.norm.bias"), dim),
                matrix("feed.in.weight", &[FEED_FORWARD * dim, dim]),
                Spec::bias(name("feed.in.bias"), FEED_FORWARD * dim),
                matrix("feed.out.weight", &[dim, FEED_FORWARD * dim]),
                Spec::bias(name("feed.out.bias"), dim),
            ]);
        }
        specs.push(Spec::scale("norm.weight", dim));
        specs.push(Spec::bias("norm.bias", dim));
        specs
    }

    fn items(&self) -> i64 {
        self.shape.items
    }

    fn max_length(&self) -> usize {
        self.shape.max_length as usize
    }

    fn hidden(&self, weights: &Weights, items: &Tensor, dropout: f64) -> Result<Tensor, TchError> {
        let (_, t) = items.size2()?;
        // In the order of `specs`.
        let mut walk = weights.walk(0);
        let mut next = || walk.weight();
        let (item, _, position) = (next()?, next()?, next()?);
        let embedded = Tensor::f_embedding(item, items, -1, false, false)?;
        // Dot products with embeddings of unit variance are too large; embeddings of small variance too quiet here.
        let embedded = embedded.f_mul_scalar((self.shape.dim as f64).sqrt())?;
        let mut x = drop(&embedded.f_add(&position.f_narrow(0, 0, t)?)?, dropout)?;
        // Added to attention scores: -inf for what lies in the future, 0 for the rest.
        let future =
            Tensor::f_full([t, t], f64::NEG_INFINITY, (Kind::Float, items.device()))?.f_triu(1)?;
        for _ in 0..self.shape.layers {
            let y = norm(&x, next()?, next()?)?;
            let y = attend(
                &y,
                self.shape.heads,
                &future,
                [next()?, next()?, next()?, next()?],
            )?;
            x = x.f_add(&drop(&y, dropout)?)?;
            let y = norm(&x, next()?, next()?)?;
            let y = y.f_linear(next()?, Some(next()?))?.f_relu()?;
            let y = y.f_linear(next()?, Some(next()?))?;
            x = x.f_add(&drop(&y, dropout)?)?;
        }
        norm(&x, next()?, next()?)
    }

    fn output<'w>(&self, weights: &'w Weights) -> Result<(&'w Tensor, &'w Tensor), TchError> {
        Ok((weights.at(0)?, weights.at(1)?))
    }
}
