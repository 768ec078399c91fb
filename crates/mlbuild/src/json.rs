//! Events and results as JSON, one value a line: `spec/json-output.md`.
//!
//! Fields are only ever added within a version; readers ignore what they do not know.

use std::io::Write as _;
use std::time::Duration;

use mlbuild_action::{Diagnostic, Progress, Severity};
use mlbuild_cache::Holder;
use mlbuild_engine::{
    Event, Outcome, Picked, Planned, RunId, StaleReason, Summary, Unread, Verdict,
};
use mlbuild_manifest::{Label, SourceText};
use serde_json::{Value, json};

use crate::terminal::line_of;

/// The version of all JSON that the command line prints.
pub(crate) const VERSION: u32 = 1;

/// Prints one value on a line of standard output.
pub(crate) fn print(value: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A diagnostic with its places.
pub(crate) fn diagnostic(diagnostic: &Diagnostic, sources: &[SourceText]) -> Value {
    let places: Vec<Value> = diagnostic
        .spans
        .iter()
        .map(|span| {
            let text = sources.iter().find(|source| source.path == span.file).map(|source| &source.text);
            let line = text.map(|text| line_of(text, span.range.start));
            json!({ "file": span.file, "line": line, "start": span.range.start, "end": span.range.end, "label": span.label })
        })
        .collect();
    json!({
        "code": diagnostic.code,
        "severity": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": diagnostic.message,
        "help": diagnostic.help,
        "detail": diagnostic.detail,
        "places": places,
    })
}

/// A mistake that does not belong to a target of this build: in the manifest, on the command line.
pub(crate) fn problem(what: &Diagnostic, sources: &[SourceText]) -> Value {
    json!({ "event": "diagnostic", "version": VERSION, "diagnostic": diagnostic(what, sources) })
}

/// Reasons, each with its kind and its text.
pub(crate) fn reasons(reasons: &[StaleReason]) -> Vec<Value> {
    reasons
        .iter()
        .map(|reason| json!({ "kind": reason.kind(), "text": reason.to_string() }))
        .collect()
}

/// Columns that changed and are not read, each input with its text.
fn unread(unread: &[Unread]) -> Vec<Value> {
    let columns = |unread: &Unread| {
        let names = unread.changed.iter().map(|change| change.column.clone());
        names.collect::<Vec<_>>()
    };
    unread
        .iter()
        .map(|unread| {
            json!({ "input": unread.input.to_string(), "columns": columns(unread), "text": unread.to_string() })
        })
        .collect()
}

/// `event` with what a choice fell on, where there was one.
fn with_picked(picked: Option<&Picked>, mut event: Value) -> Value {
    if let Some(Picked {
        point,
        metric,
        figure,
        points,
    }) = picked
    {
        event["picked"] =
            json!({ "point": point, "metric": metric, "figure": figure, "points": points });
    }
    event
}

/// The first line of a build.
pub(crate) fn started(wanted: &[Label], profile: Option<&str>) -> Value {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    json!({ "event": "run", "version": VERSION, "wanted": wanted, "profile": profile })
}

/// For whom a command waits.
pub(crate) fn waiting(holder: &Holder) -> Value {
    json!({ "event": "waiting", "pid": holder.pid, "command": holder.about })
}

/// One event.
pub(crate) fn event(event: &Event, sources: &[SourceText]) -> Value {
    match event {
        Event::Waiting { holder } => waiting(holder),
        Event::Started {
            label,
            stage,
            reasons: why,
            expected,
            gpus,
        } => json!({
            "event": "started", "target": label.to_string(), "stage": stage, "reasons": reasons(why),
            "expected_ms": expected.map(millis), "gpus": gpus.iter().map(|gpu| gpu.id.as_str()).collect::<Vec<_>>(),
        }),
        Event::Progress { label, progress } => {
            let target = label.to_string();
            match progress {
                Progress::Rows { rows } => {
                    json!({ "event": "rows", "target": target, "rows": rows })
                }
                Progress::Epoch {
                    epoch,
                    epochs,
                    metrics,
                } => json!({
                    "event": "epoch", "target": target, "epoch": epoch, "epochs": epochs, "metrics": metrics,
                }),
                Progress::Resumed { step } => {
                    json!({ "event": "resumed", "target": target, "step": step })
                }
                Progress::Log { line } => json!({ "event": "log", "target": target, "line": line }),
            }
        }
        Event::Warning {
            label,
            warning,
            replayed,
        } => json!({
            "event": "warning", "target": label.to_string(), "warning": warning, "replayed": replayed,
        }),
        Event::Finished {
            label,
            outcome,
            duration,
            rows,
            size_bytes,
            reasons: why,
            unread: ignored,
            unchanged,
            picked,
        } => with_picked(
            picked.as_ref(),
            json!({
                "event": "finished", "target": label.to_string(), "outcome": outcome.as_str(), "duration_ms": millis(*duration),
                "rows": rows, "bytes": size_bytes, "reasons": reasons(why), "unread": unread(ignored), "unchanged": unchanged,
            }),
        ),
        Event::Failed {
            label,
            fault,
            diagnostic: what,
        } => json!({
            "event": "failed", "target": label.to_string(), "diagnostic": diagnostic(what, sources),
            "fault": fault.as_str(),
        }),
        Event::Skipped { label, because } => json!({
            "event": "skipped", "target": label.to_string(), "because": because.as_ref().map(ToString::to_string),
        }),
        Event::Materialized { label, path } => {
            json!({ "event": "materialized", "target": label.to_string(), "path": path })
        }
        Event::Trouble { diagnostic: what } => {
            json!({ "event": "trouble", "diagnostic": diagnostic(what, sources) })
        }
    }
}

/// The last line of a build.
///
/// `run` is the run's number in lineage, if it could be recorded.
pub(crate) fn summary(summary: &Summary, run: Option<RunId>, took: Duration) -> Value {
    let labels = |outcome| {
        summary
            .with(outcome)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    json!({
        "event": "summary",
        "built": labels(Outcome::Built),
        "restored": labels(Outcome::Restored),
        "up_to_date": labels(Outcome::UpToDate),
        "failed": labels(Outcome::Failed),
        "skipped": labels(Outcome::Skipped),
        "saved_ms": millis(summary.saved),
        "duration_ms": millis(took),
        "cancelled": summary.cancelled,
        "sources": { "stats": summary.looks.stats, "digested": summary.looks.digested },
        "queries_planned": summary.queries_planned,
        "processes": summary.processes,
        "stood": summary.stood,
        "snapshot": summary.from_snapshot,
        "run": run.map(RunId::number),
    })
}

/// One target of a plan.
pub(crate) fn planned(planned: &Planned, sources: &[SourceText]) -> Value {
    let mut value =
        json!({ "target": planned.label.to_string(), "verdict": planned.verdict.as_str() });
    match &planned.verdict {
        Verdict::UpToDate => {}
        Verdict::Restore {
            reasons: why,
            saves,
        } => {
            value["reasons"] = reasons(why).into();
            value["saves_ms"] = millis(*saves).into();
        }
        Verdict::Build {
            stage,
            reasons: why,
        } => {
            value["stage"] = stage.as_str().into();
            value["reasons"] = reasons(why).into();
        }
        Verdict::Pending { on } => {
            let labels = on.iter().map(|(label, _)| label.to_string());
            value["on"] = labels.collect::<Vec<_>>().into();
            let reads = on.iter().filter_map(|(label, columns)| {
                Some((label.to_string(), Value::from(columns.clone()?)))
            });
            value["reads"] = reads.collect();
        }
        Verdict::Broken(what) => value["diagnostic"] = diagnostic(what, sources),
    }
    if !planned.unread.is_empty() {
        value["unread"] = unread(&planned.unread).into();
    }
    value
}
