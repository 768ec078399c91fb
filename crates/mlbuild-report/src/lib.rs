//! Reports: metrics, slices and gates over tables of predictions, as HTML, Markdown and JSON.
//!
//! The way of a report is `evidence` (read and join the tables) to `measure` (compute every figure once) to three
//! renderers that only write down what was measured: `report.html` for people, `report.md` for a pull request,
//! `report.json` (`spec/report.md`) for machines. A figure that one of them shows is the figure that a gate judged.
//!
//! A report is of one kind of predictions, which its metrics say: ranked lists (`lists`, `items`), classes or labels
//! (`classes`), numbers (`numbers`). Whatever the kind, a figure is a `Statistic`, which the bootstrap
//! (`resample`) works out again and again.
//!
//! Invariants: input that would make a figure mean something else than its definition (a row twice, a list too short)
//! is an error, never a silently different figure; sums run in the order of the rows of `truth`, and random draws depend on
//! the declared seed alone, so threads do not show; no output holds a time, a path or a host, so equal inputs give equal
//! bytes.
//!
//! Absent here: the cache, labels, and what a failing gate stops. The engine decides that.

mod charts;
mod classes;
mod estimate;
mod evidence;
mod gate;
mod html;
mod items;
mod keys;
mod lists;
mod markdown;
mod measure;
mod metrics;
mod models;
mod numbers;
mod parts;
mod plots;
mod resample;
mod slices;
mod stability;
mod statistic;
mod table;
mod wire;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use mlbuild_action::{
    Analysis, Bound, Diagnostic, Evaluate, Executor, Failure, Metric, Output, Progress,
    RankedMetric, Request, Schema, StabilityMetric, Work,
};

use crate::classes::{CLASSES, PREDICTION, SCORES};
use crate::measure::Report;
use crate::metrics::Task;

/// Raise this when equal inputs may give other bytes than before: another definition or order of a sum, another
/// wording, layout or chart, a new version of `report.json` or of the chart library. Finished reports are then made
/// anew.
const EPOCH: u32 = 2;

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
        Ok(reads(work, inputs))
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
        let task = validate(work)?;
        let evidence = evidence::read(work, task, request)?;
        (request.progress)(Progress::Rows {
            rows: evidence.rows as u64,
        });
        let model_folder = |name: &str| {
            let folder = request.inputs.get(&format!("model.{name}"));
            folder.map(|folder| folder.path.clone())
        };
        let report = measure::measure(work, task, evidence, request.threads, model_folder)?;
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

/// The columns that the report reads of its tables.
fn reads(work: &Evaluate, inputs: &BTreeMap<String, Schema>) -> Analysis {
    let key = || work.key.iter().map(String::as_str);
    let ranked = || {
        work.metrics.iter().filter_map(|metric| match metric {
            Metric::Ranked { name, .. } => Some(*name),
            _ => None,
        })
    };
    let slices = work.slices.iter().map(|slicing| &slicing.column);
    let truth = work.labels.iter().chain(slices).map(String::as_str);
    let mut analysis = Analysis::default().reading("truth", key().chain(truth));
    if ranked().next().is_some() {
        analysis = analysis
            .reading("truth", [&*work.sequence])
            .reading("training", [&*work.sequence]);
    }
    let catalog = inputs.get("catalog").and_then(Schema::item_column);
    let about_items = [
        &work.catalog.category,
        &work.catalog.price,
        &work.catalog.vector,
    ];
    let about_items = about_items.into_iter().flatten().map(String::as_str);
    let needs_catalog = ranked().any(items::needs_catalog);
    analysis = analysis.reading(
        "catalog",
        catalog
            .into_iter()
            .chain(about_items)
            .filter(|_| needs_catalog),
    );
    let scores = work
        .metrics
        .iter()
        .any(|metric| matches!(metric, Metric::Classes(name) if classes::needs_scores(*name)));
    let predicted: &[&str] = match work.metrics.first() {
        Some(Metric::Ranked { .. }) => &[ITEMS],
        Some(Metric::Classes(_)) if scores => &[PREDICTION, CLASSES, SCORES],
        _ => &[PREDICTION],
    };
    for model in &work.models {
        let input = format!("predictions.{model}");
        analysis = analysis.reading(input, key().chain(predicted.iter().copied()));
    }
    let of_classes = matches!(work.metrics.first(), Some(Metric::Classes(_)));
    for compared in &work.stability {
        let columns: &[&str] = match compared.metric {
            StabilityMetric::Overlap(_) | StabilityMetric::Rbo(_) => &[ITEMS],
            StabilityMetric::Changed(_) => &[PREDICTION],
            _ if of_classes => &[CLASSES, SCORES],
            _ => &[PREDICTION],
        };
        for input in [&compared.baseline, &compared.perturbed] {
            analysis = analysis.reading(input, key().chain(columns.iter().copied()));
        }
    }
    for input in inputs.keys().filter(|input| input.starts_with("trained.")) {
        analysis = analysis.reading(input, key());
    }
    analysis
}

/// Checks what can be checked before any table is opened.
fn validate(work: &Evaluate) -> Result<Task, Failure> {
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
    let task = metrics::task(work)?;
    catalog_columns(work)?;
    for gate in gates {
        measure::sensible(gate)?;
        let other = match &gate.bound {
            Bound::Above(other) | Bound::Below(other) => Some(other),
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
    Ok(task)
}

/// Complains about metrics that need a column of the catalog that nobody named, or a longer list.
fn catalog_columns(work: &Evaluate) -> Result<(), Failure> {
    let columns = &work.catalog;
    for metric in &work.metrics {
        let Metric::Ranked { name, k } = metric else {
            continue;
        };
        let wanted = match name {
            RankedMetric::Diversity | RankedMetric::LessWrong if columns.category.is_none() => {
                "category"
            }
            RankedMetric::PriceGap if columns.price.is_none() => "price",
            RankedMetric::QueryDistance
                if columns.category.is_none() && columns.vector.is_none() =>
            {
                "category"
            }
            RankedMetric::Diversity if k.get() < 2 => {
                let message = format!("`{metric}` looks at pairs, and a list of one item has none");
                return Err(Failure::Invalid(Diagnostic::error(
                    "report::short-lists",
                    message,
                )));
            }
            _ => continue,
        };
        let message = format!("`{metric}` needs to know the {wanted} of each item");
        let help = format!("name the column of the catalog that holds it: `{wanted} = \"COLUMN\"`");
        let diagnostic = Diagnostic::error("report::no-catalog-column", message).help(help);
        return Err(Failure::Invalid(diagnostic));
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
        .map(|outcome| format!("`{}`", outcome.subject()))
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
