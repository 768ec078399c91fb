//! SASRec: a causal transformer over item sequences (Kang and McAuley, "Self-Attentive Sequential Recommendation", 2018).
//!
//! Shapes: `b` sequences, `t` positions, `d` = `dim`, `n` items of the catalog. Sequences are padded on the *right*: under
//! the causal mask no real position sees the padding, so there is no padding item and no second mask. A position's hidden
//! state scores item `i` by its dot product with the same embedding that stands for `i` at the input (tied weights).
//!
//! Differences from the paper, all common since: layer norm before each sublayer and once at the end (pre-norm), queries
//! normalised like keys and values, GELU, a feed-forward layer of width `4 d`, and a bias for each item.

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use crate::params::Params;
use crate::problem::{Code, Problem};

/// The `eps` of every layer norm.
const NORM_EPS: f64 = 1e-5;
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

impl Shape {
    /// The sizes that parameters ask for.
    pub fn new(params: &Params, items: i64) -> Shape {
        let Params {
            dim,
            layers,
            heads,
            max_length,
            ..
        } = *params;
        Shape {
            items,
            dim,
            layers,
            heads,
            max_length: max_length as i64,
        }
    }
}

/// What a weight starts as, and whether weight decay applies to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Embeddings and matrices: normally distributed, decayed.
    Matrix,
    /// Biases: 0, not decayed.
    Bias,
    /// Scales of layer norms: 1, not decayed.
    Scale,
}

/// One named weight.
#[derive(Debug)]
pub struct Weight {
    /// Its name in the safetensors file: `layers.0.attention.out.weight`.
    pub name: String,
    /// How it starts and decays.
    pub role: Role,
    /// Its value, f32.
    pub tensor: Tensor,
}

/// Names, sizes and roles of all weights, in the order of creation.
pub fn weights_of(shape: &Shape) -> Vec<(String, Vec<i64>, Role)> {
    let Shape {
        items,
        dim,
        layers,
        max_length,
        ..
    } = *shape;
    let mut weights = vec![
        ("item.weight".to_owned(), vec![items, dim], Role::Matrix),
        ("item.bias".to_owned(), vec![items], Role::Bias),
        (
            "position.weight".to_owned(),
            vec![max_length, dim],
            Role::Matrix,
        ),
    ];
    for layer in 0..layers {
        for (name, size, role) in [
            ("attention.norm.weight", vec![dim], Role::Scale),
            ("attention.norm.bias", vec![dim], Role::Bias),
            ("attention.in.weight", vec![3 * dim, dim], Role::Matrix),
            ("attention.in.bias", vec![3 * dim], Role::Bias),
            ("attention.out.weight", vec![dim, dim], Role::Matrix),
            ("attention.out.bias", vec![dim], Role::Bias),
            ("feed.norm.weight", vec![dim], Role::Scale),
            ("feed.norm.bias", vec![dim], Role::Bias),
            (
                "feed.in.weight",
                vec![FEED_FORWARD * dim, dim],
                Role::Matrix,
            ),
            ("feed.in.bias", vec![FEED_FORWARD * dim], Role::Bias),
            (
                "feed.out.weight",
                vec![dim, FEED_FORWARD * dim],
                Role::Matrix,
            ),
            ("feed.out.bias", vec![dim], Role::Bias),
        ] {
            weights.push((format!("layers.{layer}.{name}"), size, role));
        }
    }
    weights.push(("norm.weight".to_owned(), vec![dim], Role::Scale));
    weights.push(("norm.bias".to_owned(), vec![dim], Role::Bias));
    weights
}

/// A model: sizes and weights.
#[derive(Debug)]
pub struct Sasrec {
    shape: Shape,
    weights: Vec<Weight>,
}

impl Sasrec {
    /// A model with random weights, from libtorch's generator as it was seeded. They are drawn on the CPU, so that a
    /// seed means the same weights on every device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn random(shape: Shape, device: Device) -> Result<Sasrec, Problem> {
        let build = |(name, size, role): (String, Vec<i64>, Role)| {
            let cpu = (Kind::Float, Device::Cpu);
            let tensor = match role {
                Role::Matrix => Tensor::f_zeros(&size, cpu)?.f_normal_(0.0, INITIAL_STD)?,
                Role::Bias => Tensor::f_zeros(&size, cpu)?,
                Role::Scale => Tensor::f_ones(&size, cpu)?,
            };
            Ok(Weight {
                name,
                role,
                tensor: tensor.f_to_device(device)?,
            })
        };
        let weights: Result<_, TchError> = weights_of(&shape).into_iter().map(build).collect();
        Ok(Sasrec {
            shape,
            weights: weights?,
        })
    }

    /// A model with the given weights.
    ///
    /// # Errors
    /// [`Code::Weights`] when they are not those of `shape`.
    pub fn from_weights(
        shape: Shape,
        mut given: BTreeMap<String, Tensor>,
        device: Device,
    ) -> Result<Sasrec, Problem> {
        let mut weights = Vec::new();
        for (name, size, role) in weights_of(&shape) {
            let tensor = given.remove(&name);
            let tensor = tensor
                .ok_or_else(|| Problem::new(Code::Weights, format!("the weights lack `{name}`")))?;
            if tensor.size() != size || tensor.kind() != Kind::Float {
                let (found, kind) = (tensor.size(), tensor.kind());
                let message =
                    format!("the weight `{name}` is {kind:?} {found:?}, not Float {size:?}");
                return Err(Problem::new(Code::Weights, message));
            }
            weights.push(Weight {
                name,
                role,
                tensor: tensor.f_to_device(device)?,
            });
        }
        if let Some(name) = given.keys().next() {
            return Err(Problem::new(
                Code::Weights,
                format!("the weights have `{name}`, which this model lacks"),
            ));
        }
        Ok(Sasrec { shape, weights })
    }

    /// A copy with weights of its own.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn duplicate(&self) -> Result<Sasrec, Problem> {
        let copy = |w: &Weight| {
            let mut tensor = w.tensor.f_detach()?.f_zeros_like()?;
            tensor.f_copy_(&w.tensor.f_detach()?)?;
            Ok(Weight {
                name: w.name.clone(),
                role: w.role,
                tensor,
            })
        };
        let weights: Result<_, TchError> = self.weights.iter().map(copy).collect();
        Ok(Sasrec {
            shape: self.shape,
            weights: weights?,
        })
    }

    /// Its sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Its weights, in the order of creation.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Its weights, to be changed in place.
    pub fn weights_mut(&mut self) -> &mut [Weight] {
        &mut self.weights
    }

    /// The hidden states `[b, t, d]` of `items` (i64 `[b, t]`, `t` at most `max_length`). A `dropout` above 0 is for
    /// training and draws from libtorch's generator.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn hidden(&self, items: &Tensor, dropout: f64) -> Result<Tensor, TchError> {
        let (_, t) = items.size2()?;
        let mut weights = self.weights.iter().map(|w| &w.tensor);
        // The order is that of `weights_of`.
        let mut next = || {
            weights
                .next()
                .ok_or_else(|| TchError::Shape("a weight is missing".into()))
        };
        let (item, _, position) = (next()?, next()?, next()?);
        let embedded = Tensor::f_embedding(item, items, -1, false, false)?;
        // Dot products with embeddings of unit variance are too large; embeddings of small variance too quiet here.
        let embedded = embedded.f_mul_scalar((self.shape.dim as f64).sqrt())?;
        let mut x = drop(&embedded.f_add(&position.f_narrow(0, 0, t)?)?, dropout)?;
        // Added to attention scores: -inf for what lies in the future, 0 for the rest.
        let future =
            Tensor::f_full([t, t], f64::NEG_INFINITY, (Kind::Float, items.device()))?.f_triu(1)?;
        for _ in 0..self.shape.layers {
            let y = self.norm(&x, next()?, next()?)?;
            let y = self.attend(&y, &future, [next()?, next()?, next()?, next()?])?;
            x = x.f_add(&drop(&y, dropout)?)?;
            let y = self.norm(&x, next()?, next()?)?;
            let y = y.f_linear(next()?, Some(next()?))?.f_relu()?;
            let y = y.f_linear(next()?, Some(next()?))?;
            x = x.f_add(&drop(&y, dropout)?)?;
        }
        self.norm(&x, next()?, next()?)
    }

    /// The scores `[m, n]` of every item after hidden states `[m, d]`.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn scores(&self, hidden: &Tensor) -> Result<Tensor, TchError> {
        hidden.f_linear(&self.weights[0].tensor, Some(&self.weights[1].tensor))
    }

    /// Layer norm. Scale and bias are applied outside of libtorch's kernel, which adds up their gradients by thread, so
    /// that the bits would depend on the number of threads.
    fn norm(&self, x: &Tensor, scale: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
        let normal = x.f_layer_norm::<Tensor>([self.shape.dim], None, None, NORM_EPS, false)?;
        normal.f_mul(scale)?.f_add(bias)
    }

    /// Multi-head attention of every position to itself and those before it.
    fn attend(
        &self,
        x: &Tensor,
        future: &Tensor,
        weights: [&Tensor; 4],
    ) -> Result<Tensor, TchError> {
        let (b, t, d) = x.size3()?;
        let (heads, width) = (self.shape.heads, d / self.shape.heads);
        let [in_weight, in_bias, out_weight, out_bias] = weights;
        let projected = x
            .f_linear(in_weight, Some(in_bias))?
            .f_view([b, t, 3, heads, width])?;
        // Three tensors [b, heads, t, width].
        let projected = projected.f_permute([2, 0, 3, 1, 4])?;
        let (query, key, value) = (
            projected.f_get(0)?,
            projected.f_get(1)?,
            projected.f_get(2)?,
        );
        let query = query.f_mul_scalar((width as f64).sqrt().recip())?;
        let scores = query.f_matmul(&key.f_transpose(2, 3)?)?.f_add(future)?;
        let shares = scores.f_softmax(-1, Kind::Float)?;
        let mixed = shares.f_matmul(&value)?;
        let mixed = mixed.f_transpose(1, 2)?.f_reshape([b, t, d])?;
        mixed.f_linear(out_weight, Some(out_bias))
    }
}

fn drop(x: &Tensor, dropout: f64) -> Result<Tensor, TchError> {
    if dropout > 0.0 {
        x.f_dropout(dropout, true)
    } else {
        Ok(x.shallow_clone())
    }
}
