//! Losses of predicting items: the full softmax, the sampled softmax, and binary cross-entropy with sampled negatives.
//!
//! Shapes: `m` predictions with states `[m, d]`, `n` items with an output matrix `[n, d]` and a bias `[n]`, `s` negatives. The
//! scores are the largest tensor, so they are computed in slices of bounded size: each slice runs backward as far as its
//! inputs, and then these run backward once.
//!
//! - **softmax**: cross-entropy over the *whole* catalog. With it SASRec is as good as BERT4Rec (Klenitskiy and Vasilev,
//!   "Turning Dross Into Gold Loss: is BERT4Rec really better than SASRec?", 2023), and the overconfidence that sampling causes
//!   does not arise (Petrov and Macdonald, "gSASRec", 2023). Time grows with the catalog.
//! - **sampled**: cross-entropy over the target and `s` negatives that all predictions of a step share, drawn with replacement,
//!   uniformly or by popularity. Every score is lowered by the logarithm of how often its item is drawn (Jean, Cho, Memisevic
//!   and Bengio, "On Using Very Large Target Vocabulary for Neural Machine Translation", 2015), and a negative that is the
//!   target does not count.
//! - **bce**: for each prediction, `-log sigmoid(target) - sum over s negatives of log(1 - sigmoid(negative))`, the negatives
//!   drawn for each prediction alone: the loss of the SASRec paper, with `s` = 1.

use tch::{Kind, Reduction, TchError, Tensor};

use crate::order::Order;

/// How many scores are held at a time: 4 MiB of them, so that they stay in the cache.
const SCORES: i64 = 1 << 20;

/// What is minimised.
#[derive(Clone, Debug)]
pub enum ItemLoss {
    /// Cross-entropy over the catalog.
    Softmax {
        /// Share of the target's probability spread over the catalog.
        smoothing: f64,
    },
    /// Cross-entropy over the target and sampled negatives.
    Sampled(Sampler),
    /// Binary cross-entropy with sampled negatives.
    Bce(Sampler),
}

/// Draws negatives.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// How many.
    pub negatives: usize,
    /// The items' cumulative weights; none for equal ones.
    cumulative: Option<Vec<u64>>,
    /// Items of the catalog.
    items: usize,
}

impl Sampler {
    /// A sampler in which every item is as likely.
    pub fn uniform(negatives: usize, items: usize) -> Sampler {
        Sampler {
            negatives,
            cumulative: None,
            items,
        }
    }

    /// A sampler in which an item is as likely as it is frequent in `seen`, where each counts once more than it occurs.
    pub fn by_popularity(negatives: usize, items: usize, seen: &[i64]) -> Sampler {
        let mut weights = vec![1_u64; items];
        for item in seen {
            weights[*item as usize] += 1;
        }
        let mut sum = 0;
        for weight in &mut weights {
            sum += *weight;
            *weight = sum;
        }
        Sampler {
            negatives,
            cumulative: Some(weights),
            items,
        }
    }

    fn draw(&self, count: usize, order: &mut Order) -> Vec<i64> {
        let one = |order: &mut Order| match &self.cumulative {
            None => order.below(self.items),
            Some(cumulative) => {
                let total = cumulative.last().copied().unwrap_or(1);
                let at = order.below(total as usize) as u64;
                cumulative.partition_point(|sum| *sum <= at)
            }
        };
        (0..count).map(|_| one(order) as i64).collect()
    }

    /// The logarithm of the probability of each of `items`.
    pub fn log_probabilities(&self, items: &[i64]) -> Vec<f32> {
        let one = |item: &i64| match &self.cumulative {
            None => -(self.items as f64).ln(),
            Some(cumulative) => {
                let item = *item as usize;
                let below = item.checked_sub(1).map_or(0, |before| cumulative[before]);
                let total = cumulative.last().copied().unwrap_or(1);
                ((cumulative[item] - below) as f64 / total as f64).ln()
            }
        };
        items.iter().map(|item| one(item) as f32).collect()
    }
}

/// What a step's loss needs besides states: targets, and negatives if the loss has any. In the host's memory.
#[derive(Debug)]
pub struct Targets {
    /// i64 `[m]`.
    pub targets: Tensor,
    /// i64 `[s]`, or for binary cross-entropy `[m * s]`, one prediction's after the other.
    pub negatives: Option<Tensor>,
    /// Logarithms of the probabilities of the negatives and then of the targets, f32 `[s + m]`.
    pub log_q: Option<Tensor>,
}

impl Targets {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.targets.numel()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn on(&self, device: tch::Device) -> Result<Targets, TchError> {
        let on =
            |tensor: &Option<Tensor>| tensor.as_ref().map(|t| t.f_to_device(device)).transpose();
        Ok(Targets {
            targets: self.targets.f_to_device(device)?,
            negatives: on(&self.negatives)?,
            log_q: on(&self.log_q)?,
        })
    }
}

impl ItemLoss {
    /// Draws what a step needs for these targets.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn targets(&self, targets: &[i64], order: &mut Order) -> Result<Targets, TchError> {
        let (negatives, log_q) = match self {
            ItemLoss::Softmax { .. } => (None, None),
            ItemLoss::Sampled(sampler) => {
                let negatives = sampler.draw(sampler.negatives, order);
                let all = [&negatives, targets].concat();
                let log_q = Tensor::f_from_slice(&sampler.log_probabilities(&all))?;
                (Some(negatives), Some(log_q))
            }
            ItemLoss::Bce(sampler) => {
                let count = sampler.negatives * targets.len();
                (Some(sampler.draw(count, order)), None)
            }
        };
        Ok(Targets {
            targets: Tensor::f_from_slice(targets)?,
            negatives: negatives.map(|n| Tensor::f_from_slice(&n)).transpose()?,
            log_q,
        })
    }

    /// The mean loss of predictions with states `hidden` (`[m, d]`), whose gradients it adds to all that `hidden` and
    /// `output`, the items' matrix and bias, come from.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn backward(
        &self,
        hidden: &Tensor,
        output: (&Tensor, &Tensor),
        targets: &Targets,
    ) -> Result<f64, TchError> {
        let Targets {
            targets,
            negatives,
            log_q,
        } = targets.on(hidden.device())?;
        match (self, negatives, log_q) {
            (ItemLoss::Sampled(_), Some(negatives), Some(log_q)) => {
                sampled_softmax(hidden, output, &targets, &negatives, &log_q)
            }
            (ItemLoss::Bce(_), Some(negatives), _) => binary(hidden, output, &targets, &negatives),
            (ItemLoss::Softmax { smoothing }, ..) => {
                full_softmax(hidden, output, &targets, *smoothing)
            }
            _ => Err(TchError::Shape("negatives are missing".into())),
        }
    }
}

fn full_softmax(
    hidden: &Tensor,
    (matrix, bias): (&Tensor, &Tensor),
    targets: &Tensor,
    smoothing: f64,
) -> Result<f64, TchError> {
    let items = matrix.size()[0];
    let states = Leaf::new(hidden)?;
    let total = in_slices(targets, items, |start, count, targets| {
        let scores = states.rows(start, count)?.f_linear(matrix, Some(bias))?;
        scores.f_cross_entropy_loss::<Tensor>(targets, None, Reduction::Sum, -100, smoothing)
    })?;
    run_backward(&[states])?;
    Ok(total)
}

fn sampled_softmax(
    hidden: &Tensor,
    (matrix, bias): (&Tensor, &Tensor),
    targets: &Tensor,
    negatives: &Tensor,
    log_q: &Tensor,
) -> Result<f64, TchError> {
    let count = negatives.size1()?;
    let both = Tensor::f_cat(&[negatives, targets], 0)?;
    let states = Leaf::new(hidden)?;
    let vectors = Leaf::new(&matrix.f_index_select(0, &both)?)?;
    let biases = Leaf::new(&bias.f_index_select(0, &both)?.f_sub(log_q)?)?;
    let total = in_slices(targets, count + 1, |start, m, targets| {
        let states = states.rows(start, m)?;
        let of_negatives =
            states.f_linear(&vectors.rows(0, count)?, Some(biases.rows(0, count)?))?;
        // A negative that is the target would count it twice.
        let same = negatives
            .f_view([1, count])?
            .f_eq_tensor(&targets.f_view([m, 1])?)?;
        let of_negatives = of_negatives.f_masked_fill(&same, f64::NEG_INFINITY)?;
        let of_target = row_products(&states, &vectors.rows(count + start, m)?)?
            .f_add(&biases.rows(count + start, m)?)?;
        let scores = Tensor::f_cat(&[of_target.f_view([m, 1])?, of_negatives], 1)?;
        let first = targets.f_zeros_like()?;
        scores.f_cross_entropy_loss::<Tensor>(&first, None, Reduction::Sum, -100, 0.0)
    })?;
    run_backward(&[states, vectors, biases])?;
    Ok(total)
}

fn binary(
    hidden: &Tensor,
    (matrix, bias): (&Tensor, &Tensor),
    targets: &Tensor,
    negatives: &Tensor,
) -> Result<f64, TchError> {
    let (m, dim) = hidden.size2()?;
    let each = negatives.size1()? / m;
    let both = Tensor::f_cat(&[negatives, targets], 0)?;
    let states = Leaf::new(hidden)?;
    let vectors = Leaf::new(&matrix.f_index_select(0, &both)?)?;
    let biases = Leaf::new(&bias.f_index_select(0, &both)?)?;
    let total = in_slices(targets, each * dim + 1, |start, count, _| {
        let states = states.rows(start, count)?;
        let at = m * each + start;
        let of_target =
            row_products(&states, &vectors.rows(at, count)?)?.f_add(&biases.rows(at, count)?)?;
        let (from, drawn) = (start * each, count * each);
        let of_negatives = vectors
            .rows(from, drawn)?
            .f_view([count, each, dim])?
            .f_matmul(&states.f_view([count, dim, 1])?)?
            .f_view([count, each])?
            .f_add(&biases.rows(from, drawn)?.f_view([count, each])?)?;
        // -log sigmoid(x) = softplus(-x).
        let rows = of_negatives
            .f_softplus()?
            .f_sum_dim_intlist(1_i64, false, Kind::Float)?;
        of_target
            .f_neg()?
            .f_softplus()?
            .f_add(&rows)?
            .f_sum(Kind::Float)
    })?;
    run_backward(&[states, vectors, biases])?;
    Ok(total)
}

/// The dot product of each row of `a` with that of `b`.
pub(crate) fn row_products(a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    a.f_mul(b)?.f_sum_dim_intlist(1_i64, false, Kind::Float)
}

/// Calls `loss(start, count, targets)` for slices of the targets, so many that about [`SCORES`] scores are held, `width` a
/// target; runs each backward; and returns the mean.
fn in_slices(
    targets: &Tensor,
    width: i64,
    loss: impl Fn(i64, i64, &Tensor) -> Result<Tensor, TchError>,
) -> Result<f64, TchError> {
    let all = targets.size1()?;
    let step = (SCORES / width).clamp(1, all);
    let mut total = 0.0;
    let mut start = 0;
    while start < all {
        let count = step.min(all - start);
        let loss = loss(start, count, &targets.f_narrow(0, start, count)?)?;
        let loss = loss.f_div_scalar(all as f64)?;
        loss.f_backward()?;
        total += loss.f_double_value(&[])?;
        start += count;
    }
    Ok(total)
}

/// A tensor, and its detached copy in which gradients gather.
pub(crate) struct Leaf {
    whole: Tensor,
    leaf: Tensor,
}

impl Leaf {
    pub(crate) fn new(whole: &Tensor) -> Result<Leaf, TchError> {
        Ok(Leaf {
            leaf: whole.f_detach()?.f_set_requires_grad(true)?,
            whole: whole.shallow_clone(),
        })
    }

    pub(crate) fn rows(&self, start: i64, count: i64) -> Result<Tensor, TchError> {
        self.leaf.f_narrow(0, start, count)
    }
}

/// Goes on backward from whole tensors with the gradients that gathered in their copies.
pub(crate) fn run_backward(leaves: &[Leaf]) -> Result<(), TchError> {
    let product = |leaf: &Leaf| leaf.whole.f_mul(&leaf.leaf.f_grad()?)?.f_sum(Kind::Float);
    let (first, others) = leaves
        .split_first()
        .ok_or_else(|| TchError::Shape("nothing to run backward from".into()))?;
    let mut sum = product(first)?;
    for leaf in others {
        sum = sum.f_add(&product(leaf)?)?;
    }
    sum.f_backward()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_come_as_often_as_their_items() {
        let sampler = Sampler::by_popularity(1, 3, &[1, 1, 1, 2]);
        let drawn = sampler.draw(70_000, &mut Order::new(3));
        let counts = [0, 1, 2].map(|item| drawn.iter().filter(|drawn| **drawn == item).count());
        for (count, expected) in counts.into_iter().zip([10_000.0, 40_000.0, 20_000.0]) {
            assert!((count as f64 / expected - 1.0).abs() < 0.03, "{counts:?}");
        }
        let logs = sampler.log_probabilities(&[0, 1, 2]);
        let sum: f32 = logs.iter().map(|log| log.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6 && (logs[1] - (4_f32 / 7.0).ln()).abs() < 1e-6);
    }

    #[test]
    fn equal_chances_have_equal_logarithms() {
        let sampler = Sampler::uniform(2, 4);
        assert_eq!(sampler.log_probabilities(&[0, 3]), [-(4_f32).ln(); 2]);
    }
}
