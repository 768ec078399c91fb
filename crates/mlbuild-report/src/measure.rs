//! From evidence to figures: everything that a report states, computed once and rendered three times.

use std::path::Path;

use mlbuild_action::{Bound, Direction, Evaluate, Failure, Metric, RankedMetric, Stability};

use crate::estimate::Estimate;
use crate::evidence::{Evidence, InputRead, Predicted, Truth, invalid};
use crate::gate::{Evidence as GateEvidence, GateOutcome};
use crate::metrics::{Task, rank_value};
use crate::models::{Trained, trained};
use crate::plots::{Plots, plots};
use crate::resample::{Draws, Resampled, bootstrap_p, holm, mcnemar};
use crate::slices::{Parting, partings};
use crate::statistic::{Coverage, Gini, Sample, Statistic, mean};

/// Everything that a report states.
pub(crate) struct Report {
    /// Its heading.
    pub title: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is of.
    pub task: Task,
    /// Number of rows measured on.
    pub rows: u64,
    /// Number of items in the catalog, if a metric needed it.
    pub catalog_items: Option<u64>,
    /// The classes or labels; empty if it is of neither.
    pub classes: Vec<String>,
    /// The class that F1 and the like are about, if there are two.
    pub positive: Option<usize>,
    /// What was read, each with the target that it is, if known.
    pub inputs: Vec<(InputRead, Option<String>)>,
    /// How intervals were made.
    pub draws: Draws,
    /// What was measured, in the order shown.
    pub metrics: Vec<Metric>,
    /// The models, in the order shown.
    pub models: Vec<ModelResult>,
    /// The first model against each other one, row by row.
    pub differences: Vec<Difference>,
    /// The metrics of the slices: those that go by rows.
    pub slice_metrics: Vec<Metric>,
    /// The one of them that is shown to people; `None` if there is none.
    pub slice_metric: Option<usize>,
    /// The slices.
    pub slices: Vec<Slice>,
    /// Predictions for changed inputs against those for inputs as they are.
    pub stability: Vec<StabilityResult>,
    /// The gates, judged, in the order declared; those of stability after them.
    pub gates: Vec<GateOutcome>,
    /// What is drawn beside the figures.
    pub plots: Plots,
}

/// The figures of one model.
pub(crate) struct ModelResult {
    /// Its name.
    pub name: String,
    /// One figure a metric, in the order of [`Report::metrics`].
    pub estimates: Vec<Estimate>,
    /// Number of rows whose first relevant item stands at rank 1, 2, ... up to the largest k; empty if not of lists.
    pub ranks: Vec<u64>,
    /// Number of rows whose list holds no relevant item up to the largest k.
    pub missed: u64,
    /// How it was trained, if that is known.
    pub trained: Option<Trained>,
}

/// How much better one model does than another on the same rows.
pub(crate) struct Difference {
    /// The model.
    pub model: String,
    /// The other model.
    pub other: String,
    /// The metric.
    pub metric: Metric,
    /// The model's figure less the other's.
    pub estimate: Estimate,
    /// The two-sided p-value of there being no difference.
    pub p: f64,
    /// The same after Holm's correction for all differences of the report.
    pub p_adjusted: f64,
    /// How it was tested.
    pub test: Test,
}

/// How a difference was tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Test {
    /// Signs of the rows' differences drawn again and again.
    SignFlips,
    /// McNemar's exact test, where a row is right or wrong.
    McNemar,
    /// The draws of the bootstrap.
    Bootstrap,
}

/// The rows in parts, and the figures of each.
pub(crate) struct Slice {
    /// What gates call it.
    pub key: String,
    /// By what, as a heading.
    pub by: String,
    /// How the parts are drawn, in one sentence.
    pub text: String,
    /// The parts that have rows, in order.
    pub groups: Vec<Group>,
}

/// One part of the rows.
pub(crate) struct Group {
    /// Its name.
    pub name: String,
    /// Its figures, in the order of [`Report::slice_metrics`].
    pub measured: Measured,
}

/// A comparison of two tables of predictions.
pub(crate) struct StabilityResult {
    /// As declared.
    pub declared: Stability,
    /// The mean over rows.
    pub estimate: Estimate,
}

/// The figures of all models on some rows.
pub(crate) struct Measured {
    /// Number of rows.
    pub rows: u64,
    /// One a metric, for each model.
    pub estimates: Vec<Vec<Estimate>>,
    resampled: Vec<Vec<Resampled>>,
    shifted: Vec<bool>,
}

impl Measured {
    /// The figure of a model, at another confidence.
    pub(crate) fn at(&self, model: usize, metric: usize, confidence: f64) -> Estimate {
        let value = self.estimates[model][metric].value;
        let resampled = &self.resampled[model][metric];
        Estimate::of(value, resampled, confidence, self.shifted[metric])
    }

    /// A model's figure less another's.
    pub(crate) fn difference(
        &self,
        (model, other): (usize, usize),
        metric: usize,
        confidence: f64,
    ) -> Estimate {
        let value = self.estimates[model][metric].value - self.estimates[other][metric].value;
        let resampled = self.resampled_difference((model, other), metric);
        Estimate::of(value, &resampled, confidence, self.shifted[metric])
    }

    fn resampled_difference(&self, (model, other): (usize, usize), metric: usize) -> Resampled {
        let pairs = self.resampled[model][metric]
            .iter()
            .zip(&self.resampled[other][metric]);
        pairs.map(|(a, b)| a - b).collect()
    }
}

impl Report {
    /// Whether every gate holds.
    pub(crate) fn passed(&self) -> bool {
        self.gates.iter().all(|outcome| outcome.passed)
    }

    /// The best figure of the metric at `index` over all models; NaN if no direction is the good one.
    pub(crate) fn best(&self, index: usize) -> f64 {
        let values = self.models.iter().map(|model| model.estimates[index].value);
        match self.metrics[index].direction() {
            Direction::Higher => values.fold(f64::NEG_INFINITY, f64::max),
            Direction::Lower => values.fold(f64::INFINITY, f64::min),
            Direction::Neither => f64::NAN,
        }
    }
}

/// Computes the report. The models, metrics and gates of `work` have been checked.
///
/// # Errors
/// A gate about a part of the rows that there is none of; a model's folder that cannot be read.
pub(crate) fn measure(
    work: &Evaluate,
    task: Task,
    evidence: Evidence,
    threads: usize,
    model_folder: impl Fn(&str) -> Option<std::path::PathBuf>,
) -> Result<Report, Failure> {
    let draws = Draws {
        resampling: work.resampling,
        threads,
    };
    let all = measured(&evidence, &work.metrics, &Sample::all(evidence.rows), draws);
    let slice_metrics: Vec<Metric> = work.metrics.iter().copied().filter(goes_by_rows).collect();
    let slices = slices(work, &evidence, &slice_metrics, draws);
    let stability = stability(work, &evidence, draws);
    let mut gates = Vec::new();
    for gate in &work.gates {
        let evidence = GateEvidence {
            work,
            all: &all,
            slice_metrics: &slice_metrics,
            slices: &slices,
        };
        gates.extend(evidence.judge(gate)?);
    }
    gates.extend(stability.iter().filter_map(GateOutcome::of_stability));
    let models = (work.models.iter().enumerate()).map(|(index, name)| {
        let folder = model_folder(name);
        model_result(&evidence, &all, index, name, folder.as_deref())
    });
    let models = models.collect::<Result<_, _>>()?;
    let (classes, positive) = match &evidence.truth {
        Truth::Classes(truth) => (truth.names.clone(), truth.positive),
        _ => (Vec::new(), None),
    };
    Ok(Report {
        title: work.title.clone(),
        owner: work.owner.clone(),
        task,
        rows: evidence.rows as u64,
        catalog_items: evidence.facts.catalog,
        classes,
        positive,
        draws,
        metrics: work.metrics.clone(),
        models,
        differences: differences(work, &evidence, &all, draws),
        slice_metric: shown_on_slices(&slice_metrics),
        slice_metrics,
        slices,
        stability,
        gates,
        plots: plots(&evidence),
        inputs: (evidence.inputs.into_iter())
            .map(|input| {
                let target = work.lineage.get(&input.name).cloned();
                (input, target)
            })
            .collect(),
    })
}

/// Whether the metric can be measured on a part of the rows: what is recommended to anybody cannot.
fn goes_by_rows(metric: &Metric) -> bool {
    !matches!(
        metric,
        Metric::Ranked {
            name: RankedMetric::Coverage | RankedMetric::Gini,
            ..
        }
    )
}

fn shown_on_slices(metrics: &[Metric]) -> Option<usize> {
    let hit_rate = metrics.iter().position(|metric| {
        matches!(
            metric,
            Metric::Ranked {
                name: RankedMetric::HitRate,
                ..
            }
        )
    });
    hit_rate.or((!metrics.is_empty()).then_some(0))
}

/// The figures of all models on the rows of `sample`.
fn measured(evidence: &Evidence, metrics: &[Metric], sample: &Sample, draws: Draws) -> Measured {
    let figures = evidence.models.len() * metrics.len();
    let statistics = draws.each(figures, |figure| {
        let (model, metric) = (figure / metrics.len(), metrics[figure % metrics.len()]);
        statistic(evidence, model, metric, sample)
    });
    let shared: Vec<&dyn Statistic> = statistics.iter().map(|it| &**it).collect();
    let ones = vec![1; sample.blocks()];
    let mut resampled = draws.resample(&shared, sample.blocks()).into_iter();
    let confidence = draws.resampling.confidence;
    let mut made = Measured {
        rows: sample.len() as u64,
        estimates: Vec::new(),
        resampled: Vec::new(),
        shifted: shared[..metrics.len()]
            .iter()
            .map(|it| it.is_shifted())
            .collect(),
    };
    for of_model in shared.chunks(metrics.len().max(1)) {
        let drawn: Vec<_> = resampled.by_ref().take(of_model.len()).collect();
        let estimates = of_model.iter().zip(&drawn).map(|(statistic, drawn)| {
            let value = statistic.value(&ones);
            Estimate::of(value, drawn, confidence, statistic.is_shifted())
        });
        made.estimates.push(estimates.collect());
        made.resampled.push(drawn);
    }
    made
}

fn statistic<'a>(
    evidence: &'a Evidence,
    model: usize,
    metric: Metric,
    sample: &Sample,
) -> Box<dyn Statistic + 'a> {
    let lists = match &evidence.models[model] {
        Predicted::Lists(lists) => Some(lists),
        _ => None,
    };
    let catalog = evidence.facts.catalog.unwrap_or(0);
    let items = lists.and_then(|lists| lists.items(metric));
    match (
        metric,
        items,
        evidence.decisions(model),
        evidence.numbers(model),
    ) {
        (
            Metric::Ranked {
                name: RankedMetric::Coverage,
                ..
            },
            Some(items),
            ..,
        ) => Box::new(Coverage::new(items, catalog)),
        (Metric::Ranked { .. }, Some(items), ..) => Box::new(Gini::new(items.clone(), catalog)),
        (Metric::Classes(name), _, Some(decisions), _) => decisions.statistic(name, sample),
        (Metric::Numbers(name), _, _, Some(numbers)) => numbers.statistic(name, sample),
        _ => {
            let value = |row| row_value(evidence, model, metric, row).unwrap_or(f64::NAN);
            mean(sample, value)
        }
    }
}

/// The value on one row of a metric that is a mean over rows: NaN if it does not apply to the row.
fn row_value(evidence: &Evidence, model: usize, metric: Metric, row: usize) -> Option<f64> {
    match metric {
        Metric::Ranked { name, k } => {
            let hits = evidence.hits(model, row)?;
            rank_value(name, k.get(), hits).or_else(|| match &evidence.models[model] {
                Predicted::Lists(lists) => lists.values(metric).map(|it| it[row]),
                _ => None,
            })
        }
        Metric::Classes(name) => evidence.decisions(model)?.row_value(name, row),
        Metric::Numbers(name) => evidence.numbers(model)?.row_value(name, row),
    }
}

fn model_result(
    evidence: &Evidence,
    all: &Measured,
    index: usize,
    name: &str,
    folder: Option<&Path>,
) -> Result<ModelResult, Failure> {
    let mut ranks: Vec<u64> = Vec::new();
    let mut missed = 0;
    if let Predicted::Lists(lists) = &evidence.models[index] {
        ranks = vec![0; lists.k_max()];
        for row in 0..evidence.rows {
            match evidence
                .hits(index, row)
                .and_then(|hits| hits.ranks.first().copied())
            {
                Some(rank) => ranks[rank as usize - 1] += 1,
                None => missed += 1,
            }
        }
    }
    Ok(ModelResult {
        name: name.to_owned(),
        estimates: all.estimates[index].clone(),
        ranks,
        missed,
        trained: folder.map(trained).transpose()?,
    })
}

fn differences(
    work: &Evaluate,
    evidence: &Evidence,
    all: &Measured,
    draws: Draws,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (other, name) in work.models.iter().enumerate().skip(1) {
        for (index, metric) in work.metrics.iter().enumerate() {
            let estimate = all.difference((0, other), index, draws.resampling.confidence);
            let (p, test) = test(evidence, all, other, (index, *metric), draws);
            differences.push(Difference {
                model: work.models[0].clone(),
                other: name.clone(),
                metric: *metric,
                estimate,
                p,
                p_adjusted: f64::NAN,
                test,
            });
        }
    }
    let p_values: Vec<_> = differences.iter().map(|it| it.p).collect();
    for (difference, adjusted) in differences.iter_mut().zip(holm(&p_values)) {
        difference.p_adjusted = adjusted;
    }
    differences
}

/// The p-value of the first model and another one being alike.
fn test(
    evidence: &Evidence,
    all: &Measured,
    other: usize,
    (index, metric): (usize, Metric),
    draws: Draws,
) -> (f64, Test) {
    let value = |model, row| row_value(evidence, model, metric, row);
    let pairs: Option<Vec<(f64, f64)>> = (0..evidence.rows)
        .map(|row| Some((value(0, row)?, value(other, row)?)))
        .collect();
    // A metric that applies to other rows of the one model than of the other has no pairs.
    let applies_alike = |(a, b): &(f64, f64)| a.is_nan() == b.is_nan();
    let Some(pairs) = pairs.filter(|pairs| pairs.iter().all(applies_alike)) else {
        let resampled = all.resampled_difference((0, other), index);
        let found = all.estimates[0][index].value - all.estimates[other][index].value;
        let p = if found.is_finite() {
            bootstrap_p(found, &resampled)
        } else {
            f64::NAN
        };
        return (p, Test::Bootstrap);
    };
    let is_verdict = |value: f64| value == 0.0 || value == 1.0;
    if pairs.iter().all(|(a, b)| is_verdict(*a) && is_verdict(*b)) {
        let first = pairs.iter().filter(|(a, b)| a > b).count() as u64;
        let second = pairs.iter().filter(|(a, b)| a < b).count() as u64;
        return (mcnemar(first, second), Test::McNemar);
    }
    let sample = Sample::all(evidence.rows);
    let mut sums = vec![0.0; sample.blocks()];
    for (row, block) in sample.iter() {
        let (a, b) = pairs[row];
        if !a.is_nan() {
            sums[block] += a - b;
        }
    }
    (draws.sign_flips(&sums), Test::SignFlips)
}

fn slices(work: &Evaluate, evidence: &Evidence, metrics: &[Metric], draws: Draws) -> Vec<Slice> {
    if metrics.is_empty() {
        return Vec::new();
    }
    let slice = |parting: Parting| {
        let mut rows_of_part = vec![Vec::new(); parting.names.len()];
        for (row, part) in (0u32..).zip(&parting.part_of_row) {
            rows_of_part[*part as usize].push(row);
        }
        let parts = parting.names.into_iter().zip(rows_of_part);
        let groups = parts
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(name, rows)| Group {
                name,
                measured: measured(evidence, metrics, &Sample::of(rows), draws),
            });
        Slice {
            groups: groups.collect(),
            key: parting.key,
            by: parting.by,
            text: parting.text,
        }
    };
    partings(work, evidence).into_iter().map(slice).collect()
}

fn stability(work: &Evaluate, evidence: &Evidence, draws: Draws) -> Vec<StabilityResult> {
    let compared = work.stability.iter().zip(&evidence.stability);
    compared
        .map(|(declared, values)| {
            let sample = Sample::all(values.len());
            let statistic = mean(&sample, |row| values[row]);
            let resampled = draws.resample(&[&*statistic], sample.blocks());
            let value = statistic.value(&vec![1; sample.blocks()]);
            let confidence = draws.resampling.confidence;
            StabilityResult {
                declared: declared.clone(),
                estimate: Estimate::of(value, &resampled[0], confidence, false),
            }
        })
        .collect()
}

/// Complains about a gate that compares in the direction in which the metric is worse.
pub(crate) fn sensible(gate: &mlbuild_action::Gate) -> Result<(), Failure> {
    let wrong = |demand: &str, other: &str| {
        let metric = gate.metric;
        let message = format!(
            "a gate demands `{demand}` another model of `{metric}`, of which a better figure is {other}"
        );
        Err(invalid("report::bad-gate", message, |d| {
            d.help(format!("write `{other}`"))
        }))
    };
    match (&gate.bound, gate.metric.direction()) {
        (Bound::Above(_), Direction::Lower) => wrong("above", "below"),
        (Bound::Below(_), Direction::Higher) => wrong("below", "above"),
        _ => Ok(()),
    }
}
