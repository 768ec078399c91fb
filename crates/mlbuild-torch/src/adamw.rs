//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
//!
//! Our own rather than libtorch's, whose moments cannot be read or saved from here.

use tch::{TchError, Tensor};

use crate::sasrec::{Role, Sasrec};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// The optimizer's state for one model.
#[derive(Debug)]
pub struct AdamW {
    /// First and second moment of every weight, in the model's order.
    moments: Vec<(Tensor, Tensor)>,
    weight_decay: f64,
    step: i32,
}

impl AdamW {
    /// State before the first step.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn new(model: &Sasrec, weight_decay: f64) -> Result<AdamW, TchError> {
        let zeros =
            |w: &crate::sasrec::Weight| Ok((w.tensor.f_zeros_like()?, w.tensor.f_zeros_like()?));
        let moments: Result<_, TchError> = model.weights().iter().map(zeros).collect();
        Ok(AdamW {
            moments: moments?,
            weight_decay,
            step: 0,
        })
    }

    /// Moves every weight by its gradient and forgets the gradient.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn step(&mut self, model: &mut Sasrec, lr: f64) -> Result<(), TchError> {
        self.step += 1;
        let bias1 = 1.0 - BETA1.powi(self.step);
        let bias2 = 1.0 - BETA2.powi(self.step);
        tch::no_grad(|| {
            for (weight, (first, second)) in model.weights_mut().iter_mut().zip(&mut self.moments) {
                let mut gradient = weight.tensor.f_grad()?;
                if !gradient.defined() {
                    continue;
                }
                if weight.role == Role::Matrix && self.weight_decay > 0.0 {
                    let _ = weight.tensor.f_mul_scalar_(1.0 - lr * self.weight_decay)?;
                }
                let _ = first.f_lerp_(&gradient, 1.0 - BETA1)?;
                let squared = gradient.f_square()?.f_mul_scalar_(1.0 - BETA2)?;
                let _ = second.f_mul_scalar_(BETA2)?.f_add_(&squared)?;
                let mut divisor = second.f_sqrt()?;
                let _ = divisor
                    .f_mul_scalar_(bias2.sqrt().recip())?
                    .f_add_scalar_(EPS)?;
                let change = first.f_div(&divisor)?.f_mul_scalar_(-lr / bias1)?;
                let _ = weight.tensor.f_add_(&change)?;
                let _ = gradient.f_zero_()?;
            }
            Ok(())
        })
    }
}
