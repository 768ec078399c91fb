//! Reports: metrics, slices and gates over tables of predictions, as HTML, Markdown and JSON.
//!
//! The way of a report is `evidence` (read and join the tables) to `measure` (compute every figure once) to three
//! renderers that only write down what was measured: `report.html` for people, `report.md` for a pull request,
//! `report.json` (`spec/report.md`) for machines. A figure that one of them shows is the figure that a gate judged.
//!
//! Invariants: input that would make a figure mean something else than its definition (a row twice, a list too short)
//! is an error, never a silently different figure; sums run in the order of the rows of `truth`; no output holds a
//! time, a path or a host, so equal inputs give equal bytes.
//!
//! Absent here: the cache, labels, and what a failing gate stops. The engine decides that.

mod charts;
mod estimate;
mod evidence;
mod gate;
mod html;
mod keys;
mod lists;
mod markdown;
mod measure;
mod metrics;
mod slices;
mod table;
mod wire;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use mlbuild_action::{
    Analysis, Bound, Diagnostic, Evaluate, Executor, Failure, Metric, MetricName, Output, Progress,
    Request, Schema, Work,
};

use crate::measure::Report;

/// Raise this when equal inputs may give other bytes than before: another definition or order of a sum, another
/// wording, layout or chart, a new version of `report.json` or of the chart library. Finished reports are then made
/// anew.
const EPOCH: u32 = 1;

/// The column of predictions that holds a row's ranked items.
const ITEMS: &str = "items";

/// Performs [`Work::Evaluate`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportExecutor;

impl ReportExecutor {
    /// The executor; it has no state.
    pub fn new() -> Self {
        Self
    }
}

impl Executor for ReportExecutor {
    fn toolchain(&self, _work: &Work) -> Result<String, Failure> {
        Ok(format!("report {EPOCH}"))
    }

    fn analyze(&self, work: &Work, inputs: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
        let Work::Evaluate(work) = work else {
            return Ok(Analysis::default());
        };
        let key = || work.key.iter().map(String::as_str);
        let measures_coverage = work.metrics.iter().any(|m| m.name == MetricName::Coverage);
        let catalog = inputs.get("catalog").and_then(Schema::item_column);
        let analysis = Analysis::default()
            .reading("truth", key().chain([work.label.as_str(), &work.sequence]))
            .reading("catalog", catalog.filter(|_| measures_coverage));
        let models = work.models.iter();
        Ok(models.fold(analysis, |analysis, model| {
            analysis.reading(format!("predictions.{model}"), key().chain([ITEMS]))
        }))
    }

    /// Measures the predictions and writes `report.html`, `report.md` and `report.json` to the output folder, also
    /// when a gate fails.
    ///
    /// # Errors
    /// [`Failure::Rejected`] if a gate fails; [`Failure::Invalid`] if the tables cannot be joined or do not hold what
    /// the metrics need; [`Failure::Environment`] if a file cannot be read or written.
    ///
    /// # Panics
    /// On any other work: the engine chooses the executor by the work.
    fn execute(&self, request: &Request<'_>) -> Result<Output, Failure> {
        let Work::Evaluate(work) = request.work else {
            panic!("the engine gives only `Work::Evaluate` to the report executor");
        };
        validate(work)?;
        let evidence = evidence::read(work, request)?;
        (request.progress)(Progress::Rows {
            rows: evidence.relevant.len() as u64,
        });
        let report = measure::measure(work, evidence);
        write_files(&report, request.output)?;
        if let Some(rejection) = rejection(&report) {
            return Err(Failure::Rejected(rejection));
        }
        Ok(Output {
            metrics: lineage_metrics(&report),
            ..Output::default()
        })
    }
}

/// Checks what can be checked before any table is opened.
fn validate(work: &Evaluate) -> Result<(), Failure> {
    let invalid = |code, message| Err(Failure::Invalid(Diagnostic::error(code, message)));
    let Evaluate {
        models,
        metrics,
        key,
        gates,
        ..
    } = work;
    if models.is_empty() {
        return invalid(
            "report::no-models",
            "a report compares at least one model".to_owned(),
        );
    }
    if metrics.is_empty() {
        return invalid(
            "report::no-metrics",
            "a report measures at least one metric".to_owned(),
        );
    }
    if key.is_empty() {
        let message = "predictions are joined to `truth` by at least one key column";
        return invalid("report::no-key", message.to_owned());
    }
    for gate in gates {
        let other = match &gate.bound {
            Bound::Above(other) => Some(other),
            Bound::Min(_) | Bound::Max(_) => None,
        };
        for model in [Some(&gate.model), other].into_iter().flatten() {
            if !models.contains(model) {
                return Err(unknown("model", model, models.iter().map(String::as_str)));
            }
        }
        if !metrics.contains(&gate.metric) {
            let names: Vec<_> = metrics.iter().map(Metric::to_string).collect();
            let metric = gate.metric.to_string();
            return Err(unknown("metric", &metric, names.iter().map(String::as_str)));
        }
    }
    Ok(())
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    let code = if what == "model" {
        "report::unknown-model"
    } else {
        "report::unknown-metric"
    };
    Failure::Invalid(
        Diagnostic::error(
            code,
            format!("a gate is about the {what} `{name}`, which the report does not have"),
        )
        .help(format!("the report has {}", known.join(", "))),
    )
}

fn write_files(report: &Report, folder: &Path) -> Result<(), Failure> {
    let json = wire::to_json(report).map_err(|e| unwritable("report.json", &e))?;
    let html = html::to_html(report).map_err(|e| unwritable("report.html", &e))?;
    let files = [
        ("report.html", html),
        ("report.md", markdown::to_markdown(report)),
        ("report.json", json),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).map_err(|e| unwritable(name, &e))?;
    }
    Ok(())
}

fn unwritable(name: &str, cause: &dyn std::fmt::Display) -> Failure {
    Failure::Environment(
        Diagnostic::error("report::unwritable", format!("`{name}` cannot be written"))
            .detail([cause.to_string()]),
    )
}

fn rejection(report: &Report) -> Option<Diagnostic> {
    let failed: Vec<_> = report
        .gates
        .iter()
        .filter(|outcome| !outcome.passed)
        .collect();
    if failed.is_empty() {
        return None;
    }
    let mut names: Vec<_> = failed
        .iter()
        .map(|o| format!("`{} {}`", o.gate.model, o.gate.metric))
        .collect();
    names.dedup();
    let message = format!(
        "{} of {} report gates failed: {}",
        failed.len(),
        report.gates.len(),
        names.join(", ")
    );
    Some(
        Diagnostic::error("report::gate-failed", message)
            .detail(failed.iter().map(|outcome| outcome.line())),
    )
}

/// Every figure by `MODEL.METRIC@K`. Lineage takes finite figures only.
fn lineage_metrics(report: &Report) -> BTreeMap<String, f64> {
    let figures = report.models.iter().flat_map(|model| {
        report
            .metrics
            .iter()
            .zip(&model.estimates)
            .map(move |(metric, estimate)| (format!("{}.{metric}", model.name), estimate.value))
    });
    figures.filter(|(_, value)| value.is_finite()).collect()
}
