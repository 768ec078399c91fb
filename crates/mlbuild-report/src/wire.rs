//! `report.json`, format version 1 (`spec/report.md`).
//!
//! These types are the format; a change to one that a reader could notice is a new version.

use mlbuild_action::Bound;
use serde::Serialize;

use crate::estimate::Estimate;
use crate::measure::Report;
use crate::metrics::definition;

const FORMAT: &str = "mlbuild report";
const VERSION: u32 = 1;

#[derive(Serialize)]
struct ReportFile<'a> {
    format: &'static str,
    version: u32,
    title: &'a str,
    passed: bool,
    rows: u64,
    catalog_items: Option<u64>,
    inputs: Vec<Input<'a>>,
    metrics: Vec<MetricDefinition>,
    models: Vec<Model<'a>>,
    differences: Vec<Difference<'a>>,
    slices: Vec<Slice<'a>>,
    gates: Vec<Gate<'a>>,
}

#[derive(Serialize)]
struct Input<'a> {
    name: &'a str,
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
}

#[derive(Serialize)]
struct Slice<'a> {
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
    metric: String,
    bound: &'static str,
    other: Option<&'a str>,
    reference: f64,
    value: f64,
    margin: f64,
    passed: bool,
}

impl From<Estimate> for EstimateFields {
    fn from(estimate: Estimate) -> Self {
        Self {
            value: estimate.value,
            standard_error: estimate.standard_error,
            low: estimate.interval().map(|(low, _)| low),
            high: estimate.interval().map(|(_, high)| high),
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
        passed: report.passed(),
        rows: report.rows,
        catalog_items: report.catalog_items,
        inputs: inputs(report),
        metrics: metrics(report),
        models: models(report),
        differences: differences(report),
        slices: slices(report),
        gates: gates(report),
    }
}

fn inputs(report: &Report) -> Vec<Input<'_>> {
    let column = |column: &'_ mlbuild_action::Column| column.digest.to_string();
    report
        .inputs
        .iter()
        .map(|input| Input {
            name: &input.name,
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
        })
        .collect()
}

fn slices(report: &Report) -> Vec<Slice<'_>> {
    let metric = report
        .slice_metric
        .map_or_else(String::new, |metric| metric.to_string());
    let slices = report.slices.iter().map(|slice| Slice {
        by: slice.by,
        metric: metric.clone(),
        groups: slice
            .groups
            .iter()
            .map(|group| Group {
                name: group.name,
                rows: group.rows,
                figures: report
                    .models
                    .iter()
                    .zip(&group.estimates)
                    .map(|(model, estimate)| GroupFigure {
                        model: &model.name,
                        estimate: (*estimate).into(),
                    })
                    .collect(),
            })
            .collect(),
    });
    slices.collect()
}

fn gates(report: &Report) -> Vec<Gate<'_>> {
    report
        .gates
        .iter()
        .map(|outcome| {
            let (bound, other) = match &outcome.gate.bound {
                Bound::Min(_) => ("min", None),
                Bound::Max(_) => ("max", None),
                Bound::Above(other) => ("above", Some(other.as_str())),
            };
            Gate {
                model: &outcome.gate.model,
                metric: outcome.gate.metric.to_string(),
                bound,
                other,
                reference: outcome.reference,
                value: outcome.value,
                margin: outcome.margin,
                passed: outcome.passed,
            }
        })
        .collect()
}
