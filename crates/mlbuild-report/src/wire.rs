//! `report.json`, format version 2 (`spec/report.md`).
//!
//! These types are the format; a change to one that a reader could notice is a new version.

use mlbuild_action::Bound;
use serde::Serialize;

use crate::estimate::Estimate;
use crate::measure::{Report, Test};
use crate::metrics::{Task, definition};
use crate::stability;

const FORMAT: &str = "mlbuild report";
const VERSION: u32 = 2;

#[derive(Serialize)]
struct ReportFile<'a> {
    format: &'static str,
    version: u32,
    title: &'a str,
    owner: Option<&'a str>,
    of: &'static str,
    passed: bool,
    rows: u64,
    catalog_items: Option<u64>,
    classes: &'a [String],
    positive: Option<&'a str>,
    resampling: Resampling,
    inputs: Vec<Input<'a>>,
    metrics: Vec<MetricDefinition>,
    models: Vec<Model<'a>>,
    differences: Vec<Difference<'a>>,
    slices: Vec<Slice<'a>>,
    stability: Vec<Stability<'a>>,
    gates: Vec<Gate<'a>>,
}

#[derive(Serialize)]
struct Resampling {
    confidence: f64,
    resamples: u32,
    seed: u32,
}

#[derive(Serialize)]
struct Stability<'a> {
    name: &'a str,
    metric: String,
    definition: String,
    source: &'static str,
    baseline: &'a str,
    perturbed: &'a str,
    #[serde(flatten)]
    estimate: EstimateFields,
}

#[derive(Serialize)]
struct Input<'a> {
    name: &'a str,
    target: Option<&'a str>,
    rows: u64,
    columns: Vec<Column<'a>>,
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    data_type: &'a str,
    digest: String,
}

#[derive(Serialize)]
struct MetricDefinition {
    name: String,
    definition: String,
    source: &'static str,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    figures: Vec<Figure>,
    ranks: &'a [u64],
    missed: u64,
    training: Option<Training<'a>>,
}

#[derive(Serialize)]
struct Training<'a> {
    architecture: &'a str,
    library: &'a str,
    params: &'a std::collections::BTreeMap<String, serde_json::Value>,
    epochs: usize,
}

#[derive(Serialize)]
struct Figure {
    metric: String,
    #[serde(flatten)]
    estimate: EstimateFields,
}

#[derive(Serialize)]
struct EstimateFields {
    value: f64,
    standard_error: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Serialize)]
struct Difference<'a> {
    model: &'a str,
    other: &'a str,
    metric: String,
    #[serde(flatten)]
    estimate: EstimateFields,
    test: &'static str,
    p: f64,
    p_holm: f64,
}

#[derive(Serialize)]
struct Slice<'a> {
    key: &'a str,
    by: &'a str,
    metric: String,
    groups: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    rows: u64,
    figures: Vec<GroupFigure<'a>>,
}

#[derive(Serialize)]
struct GroupFigure<'a> {
    model: &'a str,
    #[serde(flatten)]
    estimate: EstimateFields,
}

#[derive(Serialize)]
struct Gate<'a> {
    model: &'a str,
    metric: &'a str,
    slice: Option<&'a str>,
    bound: &'static str,
    other: Option<&'a str>,
    by: f64,
    confidence: Option<f64>,
    reference: f64,
    value: f64,
    margin: f64,
    sure_margin: Option<f64>,
    passed: bool,
}

impl From<Estimate> for EstimateFields {
    fn from(estimate: Estimate) -> Self {
        Self {
            value: estimate.value,
            standard_error: estimate.standard_error,
            low: estimate.interval.map(|(low, _)| low),
            high: estimate.interval.map(|(_, high)| high),
        }
    }
}

/// The bytes of `report.json`. A figure that is not finite is `null`.
///
/// # Errors
/// Those of the serializer, which for these types has none.
pub(crate) fn to_json(report: &Report) -> serde_json::Result<String> {
    let mut json = serde_json::to_string_pretty(&file(report))?;
    json.push('\n');
    Ok(json)
}

fn file(report: &Report) -> ReportFile<'_> {
    ReportFile {
        format: FORMAT,
        version: VERSION,
        title: &report.title,
        owner: report.owner.as_deref(),
        of: match report.task {
            Task::Ranking => "ranked lists",
            Task::Classes => "classes",
            Task::Labels => "labels",
            Task::Numbers => "numbers",
        },
        passed: report.passed(),
        rows: report.rows,
        catalog_items: report.catalog_items,
        classes: &report.classes,
        positive: report.positive.map(|class| &*report.classes[class]),
        resampling: Resampling {
            confidence: report.draws.resampling.confidence,
            resamples: report.draws.resampling.resamples,
            seed: report.draws.resampling.seed,
        },
        inputs: inputs(report),
        metrics: metrics(report),
        models: models(report),
        differences: differences(report),
        slices: slices(report),
        stability: stabilities(report),
        gates: gates(report),
    }
}

fn stabilities(report: &Report) -> Vec<Stability<'_>> {
    let results = report.stability.iter().map(|result| {
        let (definition, source) = stability::definition(&result.declared);
        Stability {
            name: &result.declared.name,
            metric: result.declared.metric.to_string(),
            definition,
            source,
            baseline: &result.declared.baseline,
            perturbed: &result.declared.perturbed,
            estimate: result.estimate.into(),
        }
    });
    results.collect()
}

fn inputs(report: &Report) -> Vec<Input<'_>> {
    let column = |column: &'_ mlbuild_action::Column| column.digest.to_string();
    report
        .inputs
        .iter()
        .map(|(input, target)| Input {
            name: &input.name,
            target: target.as_deref(),
            rows: input.rows,
            columns: input
                .columns
                .iter()
                .map(|c| Column {
                    name: &c.name,
                    data_type: &c.data_type,
                    digest: column(c),
                })
                .collect(),
        })
        .collect()
}

fn metrics(report: &Report) -> Vec<MetricDefinition> {
    report
        .metrics
        .iter()
        .map(|metric| {
            let definition = definition(*metric);
            MetricDefinition {
                name: metric.to_string(),
                definition: definition.text,
                source: definition.source,
            }
        })
        .collect()
}

fn models(report: &Report) -> Vec<Model<'_>> {
    report
        .models
        .iter()
        .map(|model| Model {
            name: &model.name,
            figures: report
                .metrics
                .iter()
                .zip(&model.estimates)
                .map(|(metric, estimate)| Figure {
                    metric: metric.to_string(),
                    estimate: (*estimate).into(),
                })
                .collect(),
            ranks: &model.ranks,
            missed: model.missed,
            training: model.trained.as_ref().map(|trained| Training {
                architecture: &trained.architecture,
                library: &trained.library,
                params: &trained.params,
                epochs: trained.curve.len(),
            }),
        })
        .collect()
}

fn differences(report: &Report) -> Vec<Difference<'_>> {
    report
        .differences
        .iter()
        .map(|difference| Difference {
            model: &difference.model,
            other: &difference.other,
            metric: difference.metric.to_string(),
            estimate: difference.estimate.into(),
            test: match difference.test {
                Test::SignFlips => "random signs",
                Test::McNemar => "mcnemar",
                Test::Bootstrap => "bootstrap",
            },
            p: difference.p,
            p_holm: difference.p_adjusted,
        })
        .collect()
}

fn slices(report: &Report) -> Vec<Slice<'_>> {
    let slices = report.slices.iter().flat_map(|slice| {
        let metrics = report.slice_metrics.iter().enumerate();
        metrics.map(move |(index, metric)| Slice {
            key: &slice.key,
            by: &slice.by,
            metric: metric.to_string(),
            groups: (slice.groups.iter())
                .map(|group| Group {
                    name: &group.name,
                    rows: group.measured.rows,
                    figures: (report.models.iter().zip(&group.measured.estimates))
                        .map(|(model, estimates)| GroupFigure {
                            model: &model.name,
                            estimate: estimates[index].into(),
                        })
                        .collect(),
                })
                .collect(),
        })
    });
    slices.collect()
}

fn gates(report: &Report) -> Vec<Gate<'_>> {
    report
        .gates
        .iter()
        .map(|outcome| {
            let (bound, other) = match &outcome.bound {
                Bound::Min(_) => ("min", None),
                Bound::Max(_) => ("max", None),
                Bound::Above(other) => ("above", Some(other.as_str())),
                Bound::Below(other) => ("below", Some(other.as_str())),
            };
            Gate {
                model: &outcome.model,
                metric: &outcome.metric,
                slice: outcome.group.as_deref(),
                bound,
                other,
                by: outcome.by,
                confidence: outcome.confidence,
                reference: outcome.reference,
                value: outcome.value,
                margin: outcome.margin,
                sure_margin: outcome.sure_margin,
                passed: outcome.passed,
            }
        })
        .collect()
}
