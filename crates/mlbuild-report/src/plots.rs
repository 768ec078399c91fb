//! What is drawn beside the figures: curves of classifiers, calibration, residuals.
//!
//! Points are worked out here and thinned to what a picture can show; the charts only draw them.

use crate::classes::{Answers, CALIBRATION_BINS, calibration_bin};
use crate::evidence::{Evidence, Truth};
use crate::statistic::Sample;

/// Points of a curve, each `(x, y)`.
pub(crate) type Points = Vec<(f64, f64)>;

/// The most points of a curve.
const MOST_POINTS: usize = 200;

/// Bins of residuals.
const RESIDUAL_BINS: usize = 30;

/// What is drawn, one entry a model; empty where it does not apply.
#[derive(Default)]
pub(crate) struct Plots {
    /// Share of false positives, share of true positives: of two classes with scores.
    pub roc: Vec<Points>,
    /// Recall, precision: of two classes with scores.
    pub precision_recall: Vec<Points>,
    /// Share of rows that are positive.
    pub prevalence: f64,
    /// Mean score, share of rows that are right: of classes with scores, by bin of the score.
    pub calibration: Vec<Points>,
    /// Rows by prediction less truth: the middle of each bin and the share of rows in it.
    pub residuals: Vec<Points>,
    /// Truth, prediction: means over equal parts of the rows by prediction.
    pub fit: Vec<Points>,
    /// Rows by true class and predicted class; of at most [`MOST_CLASSES`] classes.
    pub confusion: Vec<Vec<Vec<u64>>>,
}

/// The most classes of which a table of confusions is shown.
const MOST_CLASSES: usize = 12;

/// Works out all that applies.
pub(crate) fn plots(evidence: &Evidence) -> Plots {
    let mut plots = Plots::default();
    match &evidence.truth {
        Truth::Items(_) => {}
        Truth::Numbers(_) => numbers(evidence, &mut plots),
        Truth::Classes(truth) => {
            let sample = Sample::all(evidence.rows);
            let ones = vec![1; sample.blocks()];
            for model in 0..evidence.models.len() {
                let Some(decisions) = evidence.decisions(model) else {
                    continue;
                };
                if let Answers::One(of) = &truth.answers
                    && truth.names.len() <= MOST_CLASSES
                    && let Answers::One(predicted) = &decisions.model.answers
                {
                    let mut counts = vec![vec![0; truth.names.len()]; truth.names.len()];
                    for (truth, predicted) in of.iter().zip(predicted) {
                        counts[*truth as usize][*predicted as usize] += 1;
                    }
                    plots.confusion.push(counts);
                }
                let one_each = matches!(truth.answers, Answers::One(_));
                if decisions.model.scores.is_none() || !one_each {
                    continue;
                }
                plots.calibration.push(calibration(evidence, model));
                if truth.positive.is_some() {
                    for ranking in decisions.rankings(&sample) {
                        let mut steps = vec![(0, 0)];
                        ranking.walk(&ones, |positive, negative| steps.push((positive, negative)));
                        curves(&steps, &mut plots);
                    }
                }
            }
        }
    }
    plots
}

fn curves(steps: &[(u64, u64)], plots: &mut Plots) {
    let (positive, negative) = steps.last().copied().unwrap_or((0, 0));
    let rate = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let roc = steps
        .iter()
        .map(|(p, n)| (rate(*n, negative), rate(*p, positive)));
    plots.roc.push(thinned(roc.collect()));
    let found = steps.iter().skip(1);
    let points = found.map(|(p, n)| (rate(*p, positive), rate(*p, p + n)));
    plots.precision_recall.push(thinned(points.collect()));
    plots.prevalence = rate(positive, positive + negative);
}

/// Every n-th point, and the last one.
fn thinned(points: Points) -> Points {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.into_iter().enumerate();
    kept.filter(|(index, _)| index % every == 0 || *index == last)
        .map(|(_, point)| point)
        .collect()
}

fn calibration(evidence: &Evidence, model: usize) -> Points {
    let mut bins = [(0.0, 0.0, 0.0); CALIBRATION_BINS];
    let (Some(decisions), Truth::Classes(truth)) = (evidence.decisions(model), &evidence.truth)
    else {
        return Vec::new();
    };
    for row in 0..evidence.rows {
        // Of two classes the positive one's score, which shows both ends; of more that of the surest class.
        let (class, score) = match truth.positive {
            Some(positive) => (positive, decisions.score(row, positive)),
            None => decisions.surest(row),
        };
        let bin = &mut bins[calibration_bin(score)];
        bin.0 += 1.0;
        bin.1 += score;
        bin.2 += f64::from(u8::from(decisions.is_true(row, class)));
    }
    let filled = bins.iter().filter(|(rows, ..)| *rows > 0.0);
    filled
        .map(|(rows, score, right)| (score / rows, right / rows))
        .collect()
}

fn numbers(evidence: &Evidence, plots: &mut Plots) {
    let models: Vec<_> = (0..evidence.models.len())
        .filter_map(|model| evidence.numbers(model))
        .collect();
    // One scale for all models: what 99 % of the absolute residuals do not exceed.
    let mut sizes: Vec<f64> = models
        .iter()
        .flat_map(|numbers| (0..evidence.rows).map(|row| numbers.error(row).abs()))
        .collect();
    sizes.sort_by(f64::total_cmp);
    let reach = sizes.get((sizes.len() * 99 / 100).min(sizes.len().saturating_sub(1)));
    let reach = reach.copied().filter(|reach| *reach > 0.0).unwrap_or(1.0);
    let width = 2.0 * reach / RESIDUAL_BINS as f64;
    for numbers in models {
        let mut bins = [0u64; RESIDUAL_BINS];
        for row in 0..evidence.rows {
            let bin = ((numbers.error(row) + reach) / width).floor();
            bins[bin.clamp(0.0, (RESIDUAL_BINS - 1) as f64) as usize] += 1;
        }
        let points = bins.iter().enumerate().map(|(bin, rows)| {
            let middle = -reach + (bin as f64 + 0.5) * width;
            (middle, *rows as f64 / evidence.rows as f64)
        });
        plots.residuals.push(points.collect());
        plots.fit.push(fit(numbers.truth, numbers.model));
    }
}

/// Rows in order of the prediction, in parts of equal size: mean prediction and mean truth of each.
fn fit(truth: &[f64], model: &[f64]) -> Points {
    let mut order: Vec<usize> = (0..truth.len()).collect();
    order.sort_by(|a, b| model[*a].total_cmp(&model[*b]).then(a.cmp(b)));
    let parts = order.chunks(order.len().div_ceil(20).max(1));
    let mean = |rows: &[usize], of: &[f64]| {
        rows.iter().map(|row| of[*row]).sum::<f64>() / rows.len() as f64
    };
    parts
        .map(|rows| (mean(rows, model), mean(rows, truth)))
        .collect()
}
