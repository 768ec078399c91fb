//! The named weights of a network: how they start, and what is done to all of them alike.
//!
//! A network is a function of its weights and holds none: so the weights that are fitted, their moving average and the
//! best so far are three values of one type, and a checkpoint is what it takes to write them down.

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use crate::problem::{Code, Problem};

/// What a weight starts as.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Start {
    /// Normally distributed around 0 with this standard deviation.
    Normal(f64),
    /// Uniformly distributed between the negative and this bound.
    Uniform(f64),
    /// All the same.
    Constant(f64),
}

/// What a weight is before it has a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    /// Its name in the safetensors file: `layers.0.attention.out.weight`.
    pub name: String,
    /// Its size.
    pub size: Vec<i64>,
    /// How it starts.
    pub start: Start,
    /// Whether weight decay applies to it: to matrices and embeddings, not to biases and scales.
    pub decays: bool,
}

impl Spec {
    /// A matrix or embedding, normally distributed and decayed.
    pub fn normal(name: impl Into<String>, size: &[i64], std: f64) -> Spec {
        Spec::new(name, size, Start::Normal(std), true)
    }

    /// A matrix, uniformly distributed and decayed.
    pub fn uniform(name: impl Into<String>, size: &[i64], bound: f64) -> Spec {
        Spec::new(name, size, Start::Uniform(bound), true)
    }

    /// A bias: 0, not decayed.
    pub fn bias(name: impl Into<String>, size: i64) -> Spec {
        Spec::new(name, &[size], Start::Constant(0.0), false)
    }

    /// The scale of a layer norm: 1, not decayed.
    pub fn scale(name: impl Into<String>, size: i64) -> Spec {
        Spec::new(name, &[size], Start::Constant(1.0), false)
    }

    fn new(name: impl Into<String>, size: &[i64], start: Start, decays: bool) -> Spec {
        Spec {
            name: name.into(),
            size: size.to_vec(),
            start,
            decays,
        }
    }
}

/// One weight with its value.
#[derive(Debug)]
pub struct Weight {
    /// Its name.
    pub name: String,
    /// Whether weight decay applies to it.
    pub decays: bool,
    /// Its value, f32.
    pub tensor: Tensor,
}

/// All weights of a network, in the order of its specification.
#[derive(Debug)]
pub struct Weights(Vec<Weight>);

impl Weights {
    /// Random weights, from libtorch's generator as it was seeded. They are drawn on the CPU, so that a seed means the
    /// same weights on every device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn random(specs: Vec<Spec>, device: Device) -> Result<Weights, TchError> {
        let build = |spec: Spec| {
            let mut tensor = Tensor::f_zeros(&spec.size, (Kind::Float, Device::Cpu))?;
            let tensor = match spec.start {
                Start::Normal(std) => tensor.f_normal_(0.0, std)?,
                Start::Uniform(bound) => tensor.f_uniform_(-bound, bound)?,
                Start::Constant(value) => tensor.f_fill_(value)?,
            };
            Ok(Weight {
                name: spec.name,
                decays: spec.decays,
                tensor: tensor.f_to_device(device)?,
            })
        };
        let weights: Result<_, TchError> = specs.into_iter().map(build).collect();
        Ok(Weights(weights?))
    }

    /// Given weights, by name.
    ///
    /// # Errors
    /// [`Code::Weights`] when they are not those of `specs`.
    pub fn named(
        specs: Vec<Spec>,
        mut given: BTreeMap<String, Tensor>,
        device: Device,
    ) -> Result<Weights, Problem> {
        let wrong = |message| Problem::new(Code::Weights, message);
        let mut weights = Vec::new();
        for Spec {
            name, size, decays, ..
        } in specs
        {
            let tensor = given.remove(&name);
            let tensor = tensor.ok_or_else(|| wrong(format!("the weights lack `{name}`")))?;
            if tensor.size() != size || tensor.kind() != Kind::Float {
                let (found, kind) = (tensor.size(), tensor.kind());
                return Err(wrong(format!(
                    "the weight `{name}` is {kind:?} {found:?}, not Float {size:?}"
                )));
            }
            weights.push(Weight {
                name,
                decays,
                tensor: tensor.f_to_device(device)?,
            });
        }
        if let Some(name) = given.keys().next() {
            return Err(wrong(format!(
                "the weights have `{name}`, which this model lacks"
            )));
        }
        Ok(Weights(weights))
    }

    /// A copy that shares no memory and has no gradients.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn duplicate(&self) -> Result<Weights, TchError> {
        let copy = |weight: &Weight| {
            let from = weight.tensor.f_detach()?;
            let mut tensor = from.f_zeros_like()?;
            tensor.f_copy_(&from)?;
            Ok(Weight {
                name: weight.name.clone(),
                decays: weight.decays,
                tensor,
            })
        };
        let weights: Result<_, TchError> = self.0.iter().map(copy).collect();
        Ok(Weights(weights?))
    }

    /// Asks for gradients.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn require_gradients(&self) -> Result<(), TchError> {
        for weight in &self.0 {
            let _ = weight.tensor.f_set_requires_grad(true)?;
        }
        Ok(())
    }

    /// Moves these weights towards `others` by the share `weight`.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn follow(&mut self, others: &Weights, weight: f64) -> Result<(), TchError> {
        tch::no_grad(|| {
            for (mine, other) in self.0.iter_mut().zip(&others.0) {
                let _ = mine.tensor.f_lerp_(&other.tensor, weight)?;
            }
            Ok(())
        })
    }

    /// The weights, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Weight> {
        self.0.iter()
    }

    /// The weights, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Weight> {
        self.0.iter_mut()
    }

    /// The weight at a place of the specification.
    ///
    /// # Errors
    /// When there are fewer: a network that asks for what it did not specify.
    pub fn at(&self, place: usize) -> Result<&Tensor, TchError> {
        let weight = self.0.get(place).map(|weight| &weight.tensor);
        weight.ok_or_else(|| TchError::Shape(format!("there is no weight {place}")))
    }

    /// A walk over the weights from a place of the specification on.
    pub fn walk(&self, place: usize) -> Walk<'_> {
        Walk {
            weights: self,
            place,
        }
    }

    /// Names and values on the CPU, as they are written to a file.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn to_tensors(&self) -> Result<Vec<(String, Tensor)>, TchError> {
        let copy = |weight: &Weight| {
            let tensor = weight.tensor.f_detach()?.f_to_device(Device::Cpu)?;
            Ok((weight.name.clone(), tensor.f_contiguous()?))
        };
        self.0.iter().map(copy).collect()
    }

    /// As [`Weights::to_tensors`], each name after a prefix.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn prefixed(&self, prefix: &str) -> Result<Vec<(String, Tensor)>, TchError> {
        let tensors = self.to_tensors()?.into_iter();
        Ok(tensors
            .map(|(name, tensor)| (format!("{prefix}.{name}"), tensor))
            .collect())
    }

    /// The device that they are on.
    pub fn device(&self) -> Device {
        self.0.first().map_or(Device::Cpu, |w| w.tensor.device())
    }
}

/// Hands out weights in the order of the specification.
#[derive(Debug)]
pub struct Walk<'a> {
    weights: &'a Weights,
    place: usize,
}

impl<'a> Walk<'a> {
    /// The next weight.
    ///
    /// # Errors
    /// As [`Weights::at`].
    pub fn weight(&mut self) -> Result<&'a Tensor, TchError> {
        self.place += 1;
        self.weights.at(self.place - 1)
    }
}
