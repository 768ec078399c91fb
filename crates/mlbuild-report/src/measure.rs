//! From evidence to figures: everything that a report states, computed once and rendered three times.

use mlbuild_action::{Evaluate, Metric, MetricName};

use crate::estimate::Estimate;
use crate::evidence::{Evidence, InputRead};
use crate::gate::GateOutcome;
use crate::metrics::row_value;
use crate::slices::{Slice, slices};

/// Everything that a report states.
pub(crate) struct Report {
    /// Its heading.
    pub title: String,
    /// Number of rows measured on.
    pub rows: u64,
    /// Number of items in the catalog, if a metric needed it.
    pub catalog_items: Option<u64>,
    /// What was read.
    pub inputs: Vec<InputRead>,
    /// What was measured, in the order shown.
    pub metrics: Vec<Metric>,
    /// The models, in the order shown.
    pub models: Vec<ModelResult>,
    /// The first model against each other one, row by row.
    pub differences: Vec<Difference>,
    /// The metric of the slices; `None` if no metric is a mean over rows.
    pub slice_metric: Option<Metric>,
    /// The slices.
    pub slices: Vec<Slice>,
    /// The gates, judged, in the order declared.
    pub gates: Vec<GateOutcome>,
}

/// The figures of one model.
pub(crate) struct ModelResult {
    /// Its name.
    pub name: String,
    /// One figure a metric, in the order of [`Report::metrics`].
    pub estimates: Vec<Estimate>,
    /// Number of rows whose first relevant item stands at rank 1, 2, ... up to the largest k.
    pub ranks: Vec<u64>,
    /// Number of rows whose list holds no relevant item up to the largest k.
    pub missed: u64,
}

/// How much better one model does than another on the same rows.
pub(crate) struct Difference {
    /// The model.
    pub model: String,
    /// The other model.
    pub other: String,
    /// The metric.
    pub metric: Metric,
    /// Mean over rows of the model's value less the other's.
    pub estimate: Estimate,
}

impl Report {
    /// Whether every gate holds.
    pub(crate) fn passed(&self) -> bool {
        self.gates.iter().all(|outcome| outcome.passed)
    }

    /// The figure of `metric` for the model `name`.
    pub(crate) fn figure(&self, name: &str, metric: Metric) -> Option<Estimate> {
        let model = self.models.iter().find(|model| model.name == name)?;
        let index = self.metrics.iter().position(|m| *m == metric)?;
        model.estimates.get(index).copied()
    }

    /// The highest figure of the metric at `index`, over all models.
    pub(crate) fn best(&self, index: usize) -> f64 {
        self.models
            .iter()
            .map(|model| model.estimates[index].value)
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Computes the report. The models, metrics and gates of `work` have been checked.
pub(crate) fn measure(work: &Evaluate, evidence: Evidence) -> Report {
    let rows = evidence.relevant.len();
    let slice_metric = work
        .metrics
        .iter()
        .find(|metric| metric.name == MetricName::HitRate)
        .or_else(|| {
            work.metrics
                .iter()
                .find(|metric| metric.name != MetricName::Coverage)
        })
        .copied();
    let mut report = Report {
        title: work.title.clone(),
        rows: rows as u64,
        catalog_items: evidence.catalog_items,
        metrics: work.metrics.clone(),
        models: (0..work.models.len())
            .map(|index| model_result(work, &evidence, index))
            .collect(),
        differences: differences(work, &evidence),
        slice_metric,
        slices: slice_metric.map_or_else(Vec::new, |metric| slices(metric, &evidence)),
        gates: Vec::new(),
        inputs: evidence.inputs,
    };
    report.gates = work
        .gates
        .iter()
        .map(|gate| {
            let value = |model: &str| {
                report
                    .figure(model, gate.metric)
                    .map(|estimate| estimate.value)
            };
            let other = match &gate.bound {
                mlbuild_action::Bound::Above(other) => value(other),
                _ => None,
            };
            GateOutcome::new(gate, value(&gate.model).unwrap_or(f64::NAN), other)
        })
        .collect();
    report
}

fn model_result(work: &Evaluate, evidence: &Evidence, index: usize) -> ModelResult {
    let predictions = &evidence.predictions[index];
    let rows = evidence.relevant.len();
    let estimates = work.metrics.iter().map(|metric| match metric.name {
        MetricName::Coverage => {
            let items = evidence.catalog_items.unwrap_or(0) as f64;
            let covered = predictions
                .covered
                .get(&metric.k.get())
                .copied()
                .unwrap_or(0);
            Estimate::exact(covered as f64 / items)
        }
        _ => Estimate::mean((0..rows).filter_map(|row| row_value(*metric, predictions.hits(row)))),
    });
    let k_max = work
        .metrics
        .iter()
        .map(|metric| metric.k.get())
        .max()
        .unwrap_or(0);
    let mut ranks = vec![0; k_max as usize];
    let mut missed = 0;
    for row in 0..rows {
        match predictions.hits(row).ranks.first() {
            Some(rank) => ranks[*rank as usize - 1] += 1,
            None => missed += 1,
        }
    }
    ModelResult {
        name: work.models[index].clone(),
        estimates: estimates.collect(),
        ranks,
        missed,
    }
}

fn differences(work: &Evaluate, evidence: &Evidence) -> Vec<Difference> {
    let Some((first, others)) = evidence.predictions.split_first() else {
        return Vec::new();
    };
    let mut differences = Vec::new();
    for (other, name) in others.iter().zip(&work.models[1..]) {
        for metric in work
            .metrics
            .iter()
            .filter(|metric| metric.name != MetricName::Coverage)
        {
            let rows = 0..evidence.relevant.len();
            let estimate = Estimate::mean(rows.filter_map(|row| {
                Some(row_value(*metric, first.hits(row))? - row_value(*metric, other.hits(row))?)
            }));
            differences.push(Difference {
                model: work.models[0].clone(),
                other: name.clone(),
                metric: *metric,
                estimate,
            });
        }
    }
    differences
}
