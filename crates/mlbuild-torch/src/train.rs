//! The one training loop: epochs of batches, an optimizer, a schedule, clipping, averaging, early stopping.
//!
//! It is the same for every network; what differs is behind [`Objective`]. Everything random comes from the seed: data
//! order and negatives from a generator here, weights and dropout from libtorch's.
//!
//! Invariants: a training that goes on from a checkpoint yields the bits of one that was never interrupted; a loss or a
//! gradient that is not finite ends training with the step's number, so no weight that saw one is ever kept.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tch::{Device, TchError, Tensor};

use crate::checkpoint::{Checkpoints, Progress};
use crate::objective::{Better, Loss, Objective};
use crate::optimizer::{Optimizer, Rule, gradient_norm, scale_gradients};
use crate::order::Order;
use crate::problem::{Code, Problem};
use crate::schedule::Schedule;
use crate::weights::Weights;

/// How many batches are put together ahead of the step that takes them.
const AHEAD: usize = 2;

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
    /// Steps taken in all.
    pub steps: u64,
    /// How long steps waited for their data, in this process.
    pub waiting: Duration,
}

/// What is heard of a training.
#[derive(Debug)]
pub enum News<'a> {
    /// It goes on from a checkpoint; the epochs before follow, then those that are new.
    Resumed {
        /// Steps that had been taken.
        steps: u64,
    },
    /// An epoch that ended before the checkpoint.
    Past(&'a Epoch),
    /// An epoch that ended now.
    Epoch(&'a Epoch),
}

/// Fits a network; `report` hears of every epoch. With `checkpoints` it goes on where an earlier attempt was, to the same
/// bits.
///
/// # Errors
/// [`Code::Diverged`] when a loss, a gradient or a score is not finite; [`Code::Params`] when `monitor` names no figure;
/// [`Code::Io`] when a checkpoint cannot be written; those of libtorch.
pub fn train<O: Objective>(
    objective: &O,
    training: &Training,
    device: Device,
    mut checkpoints: Option<Checkpoints>,
    mut report: impl FnMut(News<'_>),
) -> Result<Fitted, Problem> {
    let monitor = Monitor::new(objective, training)?;
    tch::manual_seed(training.seed);
    let start = Weights::random(objective.specs(), device)?;
    let mut run = Run::new(start, training)?;
    if let Some((progress, tensors)) = checkpoints.as_ref().and_then(Checkpoints::latest) {
        run.restore(&progress, tensors)?;
        report(News::Resumed {
            steps: run.fit.steps,
        });
        run.history
            .iter()
            .for_each(|epoch| report(News::Past(epoch)));
    }
    let mut waiting = Duration::ZERO;
    while !run.is_over(training) {
        let mut order = run.order.clone();
        let examples = objective.examples(&mut order);
        waiting += run.epoch(objective, training, &examples, &mut checkpoints)?;
        let current = run.fit.average.as_ref().unwrap_or(&run.fit.weights);
        let now = Epoch {
            epoch: run.epoch,
            loss: run.sum / run.count as f64,
            valid: objective.validate(current)?,
        };
        report(News::Epoch(&now));
        let best = run.best.as_ref().map(|(place, _)| &run.history[*place]);
        if best.is_none_or(|best| monitor.better(&now, best)) {
            run.best = Some((run.history.len(), current.duplicate()?));
        }
        run.end_epoch(now, order);
    }
    let (place, weights) = run
        .best
        .ok_or_else(|| Problem::new(Code::Bug, "no epoch ran"))?;
    Ok(Fitted {
        weights,
        epochs: run.history.len() as u32,
        best: run.history[place].clone(),
        steps: run.fit.steps,
        waiting,
    })
}

/// A training under way.
struct Run {
    fit: Fit,
    /// The epoch under way, from 1.
    epoch: u32,
    /// How many of its batches are done.
    batches: usize,
    /// The generator of data order as it was when the epoch began.
    order: Order,
    /// Sum of losses over what was predicted in the epoch, and how many things were.
    sum: f64,
    count: usize,
    /// The epochs that have ended.
    history: Vec<Epoch>,
    /// The place in `history` of the best, and its weights.
    best: Option<(usize, Weights)>,
}

impl Run {
    fn new(start: Weights, training: &Training) -> Result<Run, Problem> {
        Ok(Run {
            fit: Fit::new(start, training)?,
            epoch: 1,
            batches: 0,
            order: Order::new(training.seed),
            sum: 0.0,
            count: 0,
            history: Vec::new(),
            best: None,
        })
    }

    /// Whether all epochs have run, or patience is over.
    fn is_over(&self, training: &Training) -> bool {
        let best = self.best.as_ref().map_or(0, |(place, _)| place + 1);
        let waited = self.history.len() - best;
        self.epoch > training.epochs
            || (training.patience > 0 && waited >= training.patience as usize)
    }

    /// Takes the steps of the epoch that are left. Batches are put together on another thread, two ahead. Returns how long
    /// steps waited for theirs.
    fn epoch<O: Objective>(
        &mut self,
        objective: &O,
        training: &Training,
        examples: &[O::Example],
        checkpoints: &mut Option<Checkpoints>,
    ) -> Result<Duration, Problem> {
        let (seed, first) = (training.seed, self.fit.steps);
        let left = examples.chunks(training.batch).skip(self.batches);
        let mut waiting = Duration::ZERO;
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(AHEAD);
            scope.spawn(move || {
                for (step, examples) in (first..).zip(left) {
                    let mut dice = Order::of_step(seed, step);
                    let batch = objective.batch(examples, &mut dice);
                    // A step has failed when nobody listens.
                    if sender.send(batch).is_err() {
                        break;
                    }
                }
            });
            loop {
                let begin = Instant::now();
                let Ok(batch) = receiver.recv() else { break };
                waiting += begin.elapsed();
                let loss = self.fit.step(objective, batch?, training, self.epoch)?;
                self.batches += 1;
                self.sum += loss.mean * loss.count as f64;
                self.count += loss.count;
                if let Some(checkpoints) = checkpoints.as_mut().filter(|c| c.is_due()) {
                    let (progress, tensors) = self.checkpoint()?;
                    checkpoints.write(progress, tensors)?;
                }
            }
            Ok(waiting)
        })
    }

    fn end_epoch(&mut self, now: Epoch, order: Order) {
        self.history.push(now);
        self.order = order;
        self.epoch += 1;
        self.batches = 0;
        self.sum = 0.0;
        self.count = 0;
    }

    fn checkpoint(&self) -> Result<(Progress, Vec<(String, Tensor)>), Problem> {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect();
        let past = |e: &Epoch| (e.epoch, e.loss.to_bits(), bits(&e.valid));
        let progress = Progress {
            steps: self.fit.steps,
            epoch: self.epoch,
            batches: self.batches,
            order: self.order.state(),
            sum: self.sum.to_bits(),
            count: self.count,
            history: self.history.iter().map(past).collect(),
            best: self.best.as_ref().map(|(place, _)| *place),
            ..Progress::default()
        };
        let mut tensors = self.fit.weights.prefixed("weights")?;
        tensors.extend(self.fit.optimizer.to_tensors(&self.fit.weights)?);
        if let Some(average) = &self.fit.average {
            tensors.extend(average.prefixed("average")?);
        }
        if let Some((_, best)) = &self.best {
            tensors.extend(best.prefixed("best")?);
        }
        Ok((progress, tensors))
    }

    /// Takes on the state of a checkpoint, which is of this training.
    fn restore(
        &mut self,
        progress: &Progress,
        tensors: Vec<(String, Tensor)>,
    ) -> Result<(), Problem> {
        let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let mut take = |name: &str| {
            let tensor = tensors.remove(name);
            tensor.ok_or_else(|| TchError::Shape(format!("the checkpoint lacks `{name}`")))
        };
        let mut fill = |weights: &mut Weights, prefix: &str| {
            tch::no_grad(|| {
                for weight in weights.iter_mut() {
                    let value = take(&format!("{prefix}.{}", weight.name))?;
                    weight.tensor.f_copy_(&value)?;
                }
                Ok::<_, TchError>(())
            })
        };
        fill(&mut self.fit.weights, "weights")?;
        if let Some(average) = &mut self.fit.average {
            fill(average, "average")?;
        }
        self.best = match progress.best {
            Some(place) => {
                let mut best = self.fit.weights.duplicate()?;
                fill(&mut best, "best")?;
                Some((place, best))
            }
            None => None,
        };
        self.fit.steps = progress.steps;
        let weights = &self.fit.weights;
        self.fit.optimizer.restore(weights, progress.steps, take)?;
        self.epoch = progress.epoch;
        self.batches = progress.batches;
        self.order = Order::from_state(progress.order);
        self.sum = f64::from_bits(progress.sum);
        self.count = progress.count;
        let floats = |bits: &[u64]| bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        let past = |(epoch, loss, valid): &(u32, u64, Vec<u64>)| Epoch {
            epoch: *epoch,
            loss: f64::from_bits(*loss),
            valid: floats(valid),
        };
        self.history = progress.history.iter().map(past).collect();
        Ok(())
    }
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
        // Dropout then depends on the step alone and not on those before it, so a checkpoint need not hold a generator.
        tch::manual_seed(Order::of_step(training.seed, self.steps).bits() as i64);
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
