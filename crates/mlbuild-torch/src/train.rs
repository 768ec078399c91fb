//! The one training loop: epochs of batches, an optimizer, a schedule, clipping, averaging, early stopping.
//!
//! It is the same for every network; what differs is behind [`Objective`]. Everything random comes from the seed: data
//! order and negatives from a generator here, weights and dropout from libtorch's.
//!
//! Invariant: a loss or a gradient that is not finite ends training with the step's number, so no weight that saw one is
//! ever kept.

use tch::Device;

use crate::objective::{Better, Loss, Objective};
use crate::optimizer::{Optimizer, Rule, gradient_norm, scale_gradients};
use crate::order::Order;
use crate::problem::{Code, Problem};
use crate::schedule::Schedule;
use crate::weights::Weights;

/// How to train, whatever is trained.
#[derive(Clone, PartialEq, Debug)]
pub struct Training {
    /// Passes over the examples at most.
    pub epochs: u32,
    /// Examples in one step.
    pub batch: usize,
    /// The rule by which weights move.
    pub rule: Rule,
    /// Learning rate after the warm-up.
    pub lr: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// Steps over which the learning rate rises from 0.
    pub warmup: u64,
    /// Weight decay of matrices and embeddings.
    pub weight_decay: f64,
    /// Greatest norm of the gradients taken together; 0 for no bound.
    pub clip: f64,
    /// Decay of the weights' moving average, a step; 0 for none.
    pub ema: f64,
    /// Epochs without improvement before training stops; 0 never stops early.
    pub patience: u32,
    /// The figure by which epochs are compared, of [`Objective::measures`]; none for the first.
    pub monitor: Option<String>,
    /// Seed of everything random.
    pub seed: i64,
}

impl Training {
    /// Rises to `lr` over the warm-up and falls as the schedule says, from epoch to epoch.
    fn learning_rate(&self, step: u64, epoch: u32) -> f64 {
        let risen = (step as f64 / self.warmup.max(1) as f64).min(1.0);
        let done = f64::from(epoch - 1) / f64::from(self.epochs);
        self.lr * risen * self.schedule.factor(done)
    }

    /// The decay of the moving average at a step: early on the average would be that of the random start.
    fn decay(&self, step: u64) -> f64 {
        self.ema.min((1.0 + step as f64) / (10.0 + step as f64))
    }
}

/// What is known after an epoch.
#[derive(Clone, PartialEq, Debug)]
pub struct Epoch {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Mean loss over what was predicted in the epoch.
    pub loss: f64,
    /// Figures on the validation data, those of [`Objective::measures`]; none without such data.
    pub valid: Vec<f64>,
}

/// A fitted model.
#[derive(Debug)]
pub struct Fitted {
    /// The best weights; without validation data, the last.
    pub weights: Weights,
    /// How many epochs ran.
    pub epochs: u32,
    /// The epoch that the weights are from.
    pub best: Epoch,
}

/// Fits a network; `report` hears of every epoch.
///
/// # Errors
/// [`Code::Diverged`] when a loss, a gradient or a score is not finite; [`Code::Params`] when `monitor` names no figure;
/// those of libtorch.
pub fn train<O: Objective>(
    objective: &O,
    training: &Training,
    device: Device,
    mut report: impl FnMut(&Epoch),
) -> Result<Fitted, Problem> {
    let monitor = Monitor::new(objective, training)?;
    tch::manual_seed(training.seed);
    let mut order = Order::new(training.seed);
    let mut fit = Fit::new(Weights::random(objective.specs(), device)?, training)?;
    let mut best: Option<(Epoch, Weights)> = None;
    let mut epoch = 0;
    while epoch < training.epochs {
        epoch += 1;
        let mut sum = 0.0;
        let mut count = 0;
        let examples = objective.examples(&mut order);
        for batch in examples.chunks(training.batch) {
            let mut dice = Order::of_step(training.seed, fit.steps);
            let batch = objective.batch(batch, &mut dice)?;
            let loss = fit.step(objective, batch, training, epoch)?;
            sum += loss.mean * loss.count as f64;
            count += loss.count;
        }
        let current = fit.average.as_ref().unwrap_or(&fit.weights);
        let now = Epoch {
            epoch,
            loss: sum / count as f64,
            valid: objective.validate(current)?,
        };
        report(&now);
        let better = |(best, _): &(Epoch, Weights)| monitor.better(&now, best);
        if best.as_ref().is_none_or(better) {
            best = Some((now, current.duplicate()?));
        }
        let waited = best.as_ref().map_or(0, |(best, _)| epoch - best.epoch);
        if training.patience > 0 && waited >= training.patience {
            break;
        }
    }
    let (best, weights) = best.ok_or_else(|| Problem::new(Code::Bug, "no epoch ran"))?;
    Ok(Fitted {
        weights,
        epochs: epoch,
        best,
    })
}

/// What changes with every step.
struct Fit {
    weights: Weights,
    optimizer: Optimizer,
    average: Option<Weights>,
    /// Steps taken.
    steps: u64,
}

impl Fit {
    fn new(weights: Weights, training: &Training) -> Result<Fit, Problem> {
        weights.require_gradients()?;
        let average = (training.ema > 0.0).then(|| weights.duplicate());
        Ok(Fit {
            optimizer: Optimizer::new(training.rule, training.weight_decay, &weights)?,
            average: average.transpose()?,
            weights,
            steps: 0,
        })
    }

    fn step<O: Objective>(
        &mut self,
        objective: &O,
        batch: O::Batch,
        training: &Training,
        epoch: u32,
    ) -> Result<Loss, Problem> {
        self.steps += 1;
        let lr = training.learning_rate(self.steps, epoch);
        let loss = objective.learn(&self.weights, batch)?;
        let diverged = |what| diverged(what, self.steps, epoch, lr);
        if !loss.mean.is_finite() {
            return Err(diverged("the loss is"));
        }
        if training.clip > 0.0 {
            let norm = gradient_norm(&self.weights)?;
            if !norm.is_finite() {
                return Err(diverged("the gradients are"));
            }
            if norm > training.clip {
                scale_gradients(&mut self.weights, training.clip / norm)?;
            }
        }
        self.optimizer.step(&mut self.weights, lr)?;
        if let Some(average) = &mut self.average {
            average.follow(&self.weights, 1.0 - training.decay(self.steps))?;
        }
        Ok(loss)
    }
}

fn diverged(what: &str, step: u64, epoch: u32, lr: f64) -> Problem {
    let message = format!(
        "{what} no longer finite at step {step}, in epoch {epoch}, with a learning rate of {lr}"
    );
    Problem::new(Code::Diverged, message)
        .help("a smaller `lr`, a longer `warmup` or `clip = 1.0` often helps")
}

/// Compares epochs.
struct Monitor {
    /// The place of the figure among those of an epoch.
    place: usize,
    better: Better,
}

impl Monitor {
    fn new(objective: &impl Objective, training: &Training) -> Result<Monitor, Problem> {
        let measures = objective.measures();
        let wanted = training.monitor.as_deref();
        let place = measures
            .iter()
            .position(|measure| wanted.is_none_or(|wanted| measure.name == wanted));
        let place = place.ok_or_else(|| {
            let names: Vec<_> = measures.iter().map(|m| format!("`{}`", m.name)).collect();
            let message = format!("`monitor` is `{}`", wanted.unwrap_or_default());
            Problem::new(Code::Params, message + ", which is not measured")
                .help(format!("measured are {}", names.join(", ")))
        })?;
        Ok(Monitor {
            place,
            better: measures[place].better,
        })
    }

    /// Whether `a` is better than the earlier `b`; without validation the later epoch is.
    fn better(&self, a: &Epoch, b: &Epoch) -> bool {
        match (a.valid.get(self.place), b.valid.get(self.place)) {
            (Some(a), Some(b)) => self.better.holds(*a, *b),
            _ => true,
        }
    }
}
