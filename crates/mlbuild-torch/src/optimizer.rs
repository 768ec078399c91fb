//! What moves weights along their gradients: SGD with momentum, Adam (Kingma and Ba, "Adam: A Method for Stochastic
//! Optimization", 2015) and AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
//!
//! Our own rather than libtorch's, whose state cannot be read or saved from here. The conventions are PyTorch's: momentum
//! without dampening, bias-corrected moments, and weight decay that is part of the gradient for `sgd` and `adam` and apart
//! from it for `adamw`.

use tch::{Kind, TchError, Tensor};

use crate::weights::{Weight, Weights};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// The rule by which weights move.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the last step's velocity that is kept.
        momentum: f64,
    },
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

/// The optimizer's state for one model.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    weight_decay: f64,
    /// Steps taken.
    steps: u64,
    /// Of each weight: for `sgd` its velocity, else its first and second moment. In the model's order.
    state: Vec<Vec<Tensor>>,
}

impl Optimizer {
    /// State before the first step.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn new(rule: Rule, weight_decay: f64, weights: &Weights) -> Result<Optimizer, TchError> {
        let zeros = |weight: &Weight| -> Result<Vec<Tensor>, TchError> {
            let weight = weight.tensor.f_detach()?;
            (0..names(rule).len())
                .map(|_| weight.f_zeros_like())
                .collect()
        };
        let state: Result<_, TchError> = weights.iter().map(zeros).collect();
        Ok(Optimizer {
            rule,
            weight_decay,
            steps: 0,
            state: state?,
        })
    }

    /// Its tensors on the CPU: `optimizer.first.NAME`.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn to_tensors(&self, weights: &Weights) -> Result<Vec<(String, Tensor)>, TchError> {
        let mut tensors = Vec::new();
        for (weight, state) in weights.iter().zip(&self.state) {
            for (part, tensor) in names(self.rule).iter().zip(state) {
                let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
                tensors.push((format!("optimizer.{part}.{}", weight.name), tensor));
            }
        }
        Ok(tensors)
    }

    /// Takes on what [`Optimizer::to_tensors`] gave after `steps` steps; `take` hands out a tensor by its name.
    ///
    /// # Errors
    /// Those of `take` and of libtorch.
    pub fn restore(
        &mut self,
        weights: &Weights,
        steps: u64,
        mut take: impl FnMut(&str) -> Result<Tensor, TchError>,
    ) -> Result<(), TchError> {
        self.steps = steps;
        for (weight, state) in weights.iter().zip(&mut self.state) {
            for (part, tensor) in names(self.rule).iter().zip(state) {
                tensor.f_copy_(&take(&format!("optimizer.{part}.{}", weight.name))?)?;
            }
        }
        Ok(())
    }

    /// Moves every weight by its gradient and forgets the gradient.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn step(&mut self, weights: &mut Weights, lr: f64) -> Result<(), TchError> {
        self.steps += 1;
        tch::no_grad(|| {
            for (weight, state) in weights.iter_mut().zip(&mut self.state) {
                let mut gradient = weight.tensor.f_grad()?;
                if !gradient.defined() {
                    continue;
                }
                let decay = if weight.decays {
                    self.weight_decay
                } else {
                    0.0
                };
                match (self.rule, &mut state[..]) {
                    (Rule::Sgd { momentum }, state) => {
                        coupled(&mut gradient, weight, decay)?;
                        descend(weight, &gradient, state.first_mut(), momentum, lr)?;
                    }
                    (Rule::Adam, [first, second]) => {
                        coupled(&mut gradient, weight, decay)?;
                        adapt(weight, &gradient, first, second, self.steps, lr)?;
                    }
                    (Rule::AdamW, [first, second]) => {
                        if decay > 0.0 {
                            let _ = weight.tensor.f_mul_scalar_(1.0 - lr * decay)?;
                        }
                        adapt(weight, &gradient, first, second, self.steps, lr)?;
                    }
                    (Rule::Adam | Rule::AdamW, _) => {
                        return Err(TchError::Shape("Adam keeps two moments".into()));
                    }
                }
                let _ = gradient.f_zero_()?;
            }
            Ok(())
        })
    }
}

/// What is kept of each weight.
fn names(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::Sgd { momentum } if momentum > 0.0 => &["velocity"],
        Rule::Sgd { .. } => &[],
        Rule::Adam | Rule::AdamW => &["first", "second"],
    }
}

/// Adds weight decay to a gradient.
fn coupled(gradient: &mut Tensor, weight: &Weight, decay: f64) -> Result<(), TchError> {
    if decay > 0.0 {
        let _ = gradient.f_add_(&weight.tensor.f_mul_scalar(decay)?)?;
    }
    Ok(())
}

fn descend(
    weight: &mut Weight,
    gradient: &Tensor,
    velocity: Option<&mut Tensor>,
    momentum: f64,
    lr: f64,
) -> Result<(), TchError> {
    let change = match velocity {
        // The first velocity is the gradient, as the state starts from 0.
        Some(velocity) => velocity
            .f_mul_scalar_(momentum)?
            .f_add_(gradient)?
            .f_mul_scalar(-lr)?,
        None => gradient.f_mul_scalar(-lr)?,
    };
    let _ = weight.tensor.f_add_(&change)?;
    Ok(())
}

fn adapt(
    weight: &mut Weight,
    gradient: &Tensor,
    first: &mut Tensor,
    second: &mut Tensor,
    step: u64,
    lr: f64,
) -> Result<(), TchError> {
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    let bias1 = 1.0 - BETA1.powi(step);
    let bias2 = 1.0 - BETA2.powi(step);
    let _ = first.f_lerp_(gradient, 1.0 - BETA1)?;
    let squared = gradient.f_square()?.f_mul_scalar_(1.0 - BETA2)?;
    let _ = second.f_mul_scalar_(BETA2)?.f_add_(&squared)?;
    let mut divisor = second.f_sqrt()?;
    let _ = divisor
        .f_mul_scalar_(bias2.sqrt().recip())?
        .f_add_scalar_(EPS)?;
    let change = first.f_div(&divisor)?.f_mul_scalar_(-lr / bias1)?;
    let _ = weight.tensor.f_add_(&change)?;
    Ok(())
}

/// The norm of all gradients taken together. The squares of a row are added up by libtorch and the rows here, in order,
/// so that the number of threads does not show.
///
/// # Errors
/// Those of libtorch.
pub fn gradient_norm(weights: &Weights) -> Result<f64, TchError> {
    tch::no_grad(|| {
        let mut sum = 0.0;
        for weight in weights.iter() {
            let gradient = weight.tensor.f_grad()?;
            if !gradient.defined() {
                continue;
            }
            let mut squares = gradient.f_square()?;
            if squares.dim() > 1 {
                squares = squares
                    .f_flatten(1, -1)?
                    .f_sum_dim_intlist(1_i64, false, Kind::Float)?;
            }
            let mut rows = vec![0_f32; squares.numel()];
            let squares = squares.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
            squares.f_copy_data(&mut rows, squares.numel())?;
            sum += rows.iter().map(|row| f64::from(*row)).sum::<f64>();
        }
        Ok(sum.sqrt())
    })
}

/// Multiplies every gradient by `factor`.
///
/// # Errors
/// Those of libtorch.
pub fn scale_gradients(weights: &mut Weights, factor: f64) -> Result<(), TchError> {
    tch::no_grad(|| {
        for weight in weights.iter_mut() {
            let mut gradient = weight.tensor.f_grad()?;
            if gradient.defined() {
                let _ = gradient.f_mul_scalar_(factor)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Spec;
    use tch::Device;

    /// Three steps down `sum(w^2) / 2`, whose gradient is `w`, from 1; what `torch.optim` gives from there.
    fn walk(rule: Rule, weight_decay: f64) -> [f64; 3] {
        let specs = vec![Spec {
            decays: true,
            ..Spec::scale("w", 1)
        }];
        let mut weights = Weights::random(specs, Device::Cpu).unwrap();
        weights.require_gradients().unwrap();
        let mut optimizer = Optimizer::new(rule, weight_decay, &weights).unwrap();
        [(); 3].map(|()| {
            let w = weights.at(0).unwrap();
            (w.square() / 2.0).sum(Kind::Float).backward();
            optimizer.step(&mut weights, 0.1).unwrap();
            weights.at(0).unwrap().double_value(&[0])
        })
    }

    fn assert_close(found: [f64; 3], expected: [f64; 3]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn sgd_steps_down_the_gradient() {
        assert_close(walk(Rule::Sgd { momentum: 0.0 }, 0.0), [0.9, 0.81, 0.729]);
        // The gradient is w + 0.5 w.
        assert_close(
            walk(Rule::Sgd { momentum: 0.0 }, 0.5),
            [0.85, 0.7225, 0.614_125],
        );
        // Velocities 1, 0.9 + 0.9, 0.9 * 1.8 + 0.72.
        assert_close(walk(Rule::Sgd { momentum: 0.9 }, 0.0), [0.9, 0.72, 0.486]);
    }

    #[test]
    fn decay_is_coupled_in_adam_and_decoupled_in_adamw() {
        // The first step of Adam is `lr` whatever the size of the gradient.
        assert_close_first(walk(Rule::Adam, 0.5), 0.9);
        assert_close_first(walk(Rule::AdamW, 0.5), 0.95 - 0.1);
    }

    fn assert_close_first(found: [f64; 3], expected: f64) {
        assert!((found[0] - expected).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn the_norm_is_over_all_weights() {
        let specs = vec![Spec::scale("a", 3), Spec::normal("b", &[2, 2], 0.0)];
        let mut weights = Weights::random(specs, Device::Cpu).unwrap();
        weights.require_gradients().unwrap();
        let loss =
            weights.at(0).unwrap().sum(Kind::Float) * 2.0 + weights.at(1).unwrap().sum(Kind::Float);
        loss.backward();
        assert_eq!(gradient_norm(&weights).unwrap(), 4.0);
        scale_gradients(&mut weights, 0.25).unwrap();
        assert_eq!(gradient_norm(&weights).unwrap(), 1.0);
    }
}
