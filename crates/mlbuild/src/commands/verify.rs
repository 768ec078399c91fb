//! `mlbuild verify`: executes what is cached once more and says whether the same came of it.

use std::io::Write as _;
use std::time::Instant;

use mlbuild_action::{Cancel, Failure};
use mlbuild_engine::{Difference, Reproduction, RowDifference, Verified, VerifyOptions};
use serde_json::{Value, json};

use crate::cli::{Global, Selection};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE};
use crate::load::{load, select};
use crate::terminal::{Terminal, duration, plural};
use crate::{env, gpu, interrupt, json, wiring};

pub(crate) fn run(
    selection: &Selection,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let started = Instant::now();
    let loaded = load(global, &selection.variant, terminal)?;
    let wanted = select(&loaded, &selection.targets)?;
    let cancel = Cancel::new();
    interrupt::install(&cancel);
    let mut all: Vec<Verified> = Vec::new();
    let ended = mlbuild_engine::verify(
        &loaded.project,
        &wanted,
        &wiring::executors(&loaded),
        &VerifyOptions {
            memory_bytes: env::memory_bytes() / 2,
            find_gpus: gpu::find,
        },
        &cancel,
        &mut |verified| {
            if global.json {
                json::print(&event(verified, &loaded.sources));
            } else {
                show(verified, terminal, &loaded.sources);
            }
            all.push(verified.clone());
        },
    );
    match ended {
        Ok(()) => {}
        Err(Failure::Cancelled) => return Ok(EXIT_INTERRUPTED),
        Err(Failure::Environment(diagnostic)) => {
            return Err(CommandFailure::new(EXIT_ENVIRONMENT, diagnostic));
        }
        Err(Failure::Failed(d) | Failure::Rejected(d) | Failure::Invalid(d)) => {
            terminal.diagnostics(&[d], &loaded.sources);
            return Err(CommandFailure::shown(EXIT_USAGE));
        }
    }
    let count = |name: &str| all.iter().filter(|v| v.verdict.as_str() == name).count();
    let names = [
        "bitwise",
        "within_tolerance",
        "differs",
        "failed",
        "pinned",
        "not_built",
    ];
    if global.json {
        let counts = names.map(|name| (name.to_owned(), Value::from(count(name))));
        let mut summary = json!({ "event": "summary", "version": json::VERSION });
        summary
            .as_object_mut()
            .expect("it is made of braces")
            .extend(counts);
        json::print(&summary);
    } else {
        let words = [
            "the same bit for bit",
            "within tolerance",
            "different",
            "failed",
            "pinned",
            "not built",
        ];
        let parts = names.iter().zip(words).filter(|(name, _)| count(name) > 0);
        let parts: Vec<_> = parts
            .map(|(name, word)| format!("{} {word}", count(name)))
            .collect();
        let line = format!(
            "{} verified in {}: {}",
            plural(all.len(), "action"),
            duration(started.elapsed()),
            parts.join(", ")
        );
        let _ = writeln!(std::io::stdout().lock(), "{}", terminal.bold(&line));
    }
    Ok(match () {
        () if all.iter().any(|verified| verified.verdict.is_alarm()) => EXIT_FAILED,
        // Nothing was proved of what is not there.
        () if count("not_built") > 0 => EXIT_USAGE,
        () => 0,
    })
}

fn show(verified: &Verified, terminal: &Terminal, sources: &[mlbuild_manifest::SourceText]) {
    let Verified {
        label,
        stage,
        verdict,
    } = verified;
    if matches!(verdict, Reproduction::Bitwise) && terminal.quiet {
        return;
    }
    let word = match verdict {
        Reproduction::Bitwise => "same",
        Reproduction::Within { .. } => "within",
        Reproduction::Differs(_) => "DIFFERS",
        Reproduction::Pinned => "pinned",
        Reproduction::NotBuilt => "not built",
        Reproduction::Failed(_) => "failed",
    };
    let word = format!("{word:10}");
    let word = match verdict.is_alarm() {
        true => terminal.bad(&word),
        false => terminal.good(&word),
    };
    let line = format!("{word} {label}  {stage}  {}", detail(verdict));
    let _ = writeln!(std::io::stdout().lock(), "{}", line.trim_end());
    if let Reproduction::Failed(diagnostic) = verdict {
        terminal.diagnostics(std::slice::from_ref(diagnostic), sources);
    }
}

/// What there is to say beyond the verdict.
fn detail(verdict: &Reproduction) -> String {
    match verdict {
        Reproduction::Bitwise | Reproduction::Failed(_) => String::new(),
        Reproduction::Pinned => "its digest is declared".to_owned(),
        Reproduction::NotBuilt => "build it first".to_owned(),
        Reproduction::Within { moved } => figures(moved),
        Reproduction::Differs(Difference::Rows { old, new }) => {
            format!("{old} rows in the cache, {new} now")
        }
        Reproduction::Differs(Difference::Schema { old, new }) => format!(
            "columns in the cache: {}; now: {}",
            old.join(", "),
            new.join(", ")
        ),
        Reproduction::Differs(Difference::Column { column, row: None }) => {
            format!("column {column}")
        }
        Reproduction::Differs(Difference::Column {
            column,
            row: Some(RowDifference { row, old, new }),
        }) => {
            let value =
                |value: &Option<String>| value.clone().unwrap_or_else(|| "no row".to_owned());
            format!(
                "column {column}, row {row}: {} in the cache, {} now",
                value(old),
                value(new)
            )
        }
        Reproduction::Differs(Difference::Files { paths, beyond }) => match beyond.is_empty() {
            true => paths.join(", "),
            false => format!("{}; {}", paths.join(", "), figures(beyond)),
        },
    }
}

fn figures(moved: &std::collections::BTreeMap<String, (f64, f64)>) -> String {
    let figures: Vec<_> = moved
        .iter()
        .map(|(metric, (by, allowed))| format!("{metric} moved by {by:.3e} of {allowed} allowed"))
        .collect();
    figures.join(", ")
}

fn event(verified: &Verified, sources: &[mlbuild_manifest::SourceText]) -> Value {
    let Verified {
        label,
        stage,
        verdict,
    } = verified;
    let mut value = json!({
        "event": "verified", "target": label.to_string(), "stage": stage, "verdict": verdict.as_str(),
    });
    match verdict {
        Reproduction::Differs(difference) => {
            value["text"] = detail(verdict).into();
            if let Difference::Column { column, row } = difference {
                value["column"] = column.as_str().into();
                value["row"] = row.as_ref().map(|row| row.row).into();
            }
        }
        Reproduction::Within { .. } => value["text"] = detail(verdict).into(),
        Reproduction::Failed(diagnostic) => {
            value["diagnostic"] = json::diagnostic(diagnostic, sources);
        }
        Reproduction::Bitwise | Reproduction::Pinned | Reproduction::NotBuilt => {}
    }
    value
}
