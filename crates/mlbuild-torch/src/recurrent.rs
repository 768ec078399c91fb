//! Recurrent networks over item sequences: GRU4Rec (Hidasi, Karatzoglou, Baltrunas and Tikk, "Session-based
//! Recommendations with Recurrent Neural Networks", 2016) and the plain next-item LSTM (Hochreiter and Schmidhuber, "Long
//! Short-Term Memory", 1997).
//!
//! Shapes: `b` sequences, `t` positions, `d` = `dim`, `h` = `hidden`, `n` items of the catalog. Item embeddings `[b, t, d]` go
//! through `layers` recurrent layers to states `[b, t, h]`, and a state scores every item. Padding on the right is harmless,
//! for a state depends on no later item.
//!
//! - **gru4rec** scores item `i` by the state's dot product with the embedding that stands for `i` at the input, so `h` is
//!   `d` (the authors' own later choice, "constrained embeddings"). It learns from whole windows by backpropagation through
//!   time, where the paper cuts after every item, and from the softmax of Hidasi and Karatzoglou ("Recurrent Neural Networks
//!   with Top-k Gains", 2018), where it has TOP1.
//! - **lstm** scores with a matrix of its own.

use tch::{Kind, TchError, Tensor};

use crate::layers::drop;
use crate::next_item::Encoder;
use crate::weights::{Spec, Weights};

/// Standard deviation of initial embeddings, before they are scaled by the root of `dim`.
const INITIAL_STD: f64 = 0.02;

/// The kind of recurrent layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// Gated recurrent unit: three gates, reset, update, new.
    Gru,
    /// Long short-term memory: four gates, input, forget, cell, output.
    Lstm,
}

impl Cell {
    const fn gates(self) -> i64 {
        match self {
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }
}

/// The network, a function of its [`Weights`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recurrent {
    /// The kind of its layers.
    pub cell: Cell,
    /// Items of the catalog.
    pub items: i64,
    /// Width of the embeddings.
    pub dim: i64,
    /// Width of the states.
    pub hidden: i64,
    /// Recurrent layers, at least 1.
    pub layers: i64,
    /// How many of a sequence's last items it sees.
    pub max_length: usize,
    /// Whether the embeddings score, too; `hidden` is then `dim`.
    pub tied: bool,
}

impl Encoder for Recurrent {
    fn specs(&self) -> Vec<Spec> {
        let Recurrent {
            items, dim, hidden, ..
        } = *self;
        let bound = (hidden as f64).sqrt().recip();
        let mut specs = vec![
            Spec::normal("item.weight", &[items, dim], INITIAL_STD),
            Spec::bias("item.bias", items),
        ];
        let rows = self.cell.gates() * hidden;
        for layer in 0..self.layers {
            let name = |name: &str| format!("layers.{layer}.{name}");
            let from = if layer == 0 { dim } else { hidden };
            specs.extend([
                Spec::uniform(name("in.weight"), &[rows, from], bound),
                Spec::uniform(name("state.weight"), &[rows, hidden], bound),
                Spec::bias(name("in.bias"), rows),
                Spec::bias(name("state.bias"), rows),
            ]);
        }
        if !self.tied {
            specs.push(Spec::uniform("out.weight", &[items, hidden], bound));
        }
        specs
    }

    fn items(&self) -> i64 {
        self.items
    }

    fn max_length(&self) -> usize {
        self.max_length
    }

    fn hidden(&self, weights: &Weights, items: &Tensor, dropout: f64) -> Result<Tensor, TchError> {
        let (b, _) = items.size2()?;
        let mut walk = weights.walk(0);
        let (item, _) = (walk.weight()?, walk.weight()?);
        let embedded = Tensor::f_embedding(item, items, -1, false, false)?;
        let mut x = drop(&embedded.f_mul_scalar((self.dim as f64).sqrt())?, dropout)?;
        let zeros = Tensor::f_zeros([1, b, self.hidden], (Kind::Float, items.device()))?;
        for _ in 0..self.layers {
            let layer = [
                walk.weight()?,
                walk.weight()?,
                walk.weight()?,
                walk.weight()?,
            ];
            let states = match self.cell {
                Cell::Gru => x.f_gru(&zeros, &layer, true, 1, 0.0, false, false, true)?.0,
                Cell::Lstm => {
                    let start = [&zeros, &zeros];
                    x.f_lstm(&start, &layer, true, 1, 0.0, false, false, true)?
                        .0
                }
            };
            x = drop(&states, dropout)?;
        }
        // The layers put time first.
        x.f_contiguous()
    }

    fn output<'w>(&self, weights: &'w Weights) -> Result<(&'w Tensor, &'w Tensor), TchError> {
        let matrix = match self.tied {
            true => weights.at(0)?,
            false => weights.at(2 + 4 * self.layers as usize)?,
        };
        Ok((matrix, weights.at(1)?))
    }
}
