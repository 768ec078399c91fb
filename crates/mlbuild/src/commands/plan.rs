//! `mlbuild plan`: what a build would do, and why.

use std::collections::BTreeMap;
use std::io::Write as _;

use mlbuild_engine::{Estimate, Planned, Verdict};
use mlbuild_manifest::Label;

use crate::cli::{Global, Selection};
use crate::failure::{CommandFailure, EXIT_USAGE};
use crate::load::{load, select};
use crate::terminal::{Terminal, duration, size};
use crate::{json, wiring};

pub(crate) fn run(
    selection: &Selection,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let loaded = load(global, &selection.variant, terminal)?;
    let wanted = select(&loaded, &selection.targets)?;
    let planned = mlbuild_engine::plan(&loaded.project, &wanted, &wiring::executors(&loaded));
    let labels: Vec<Label> = planned.iter().map(|target| target.label.clone()).collect();
    // History only helps to read a plan: without it there is one all the same.
    let estimates = mlbuild_engine::estimates(&loaded.project, &labels).unwrap_or_default();
    let mut broken = Vec::new();
    for target in &planned {
        if global.json {
            let mut value = json::planned(target, &loaded.sources);
            let estimate = estimates.get(&target.label).copied().unwrap_or_default();
            value["expected_ms"] = estimate.duration.map(json::millis).into();
            value["expected_bytes"] = estimate.size_bytes.into();
            json::print(&value);
        }
        if let Verdict::Broken(diagnostic) = &target.verdict {
            broken.push(diagnostic.clone());
        }
    }
    // In JSON a broken target carries its diagnostic itself.
    if !global.json {
        print(&planned, &estimates, terminal);
        terminal.diagnostics(&broken, &loaded.sources);
    }
    Ok(if broken.is_empty() { 0 } else { EXIT_USAGE })
}

/// What must change for a target to be built: `amount, id of data:orders`.
fn condition((label, columns): &(Label, Option<Vec<String>>)) -> String {
    match columns.as_deref() {
        None => label.to_string(),
        Some([]) => format!("the number of rows of {label}"),
        Some(columns) => format!("{} of {label}", columns.join(", ")),
    }
}

/// What must change of `on`, one line's worth: of many points of a `foreach` none is named.
fn conditions(on: &[(Label, Option<Vec<String>>)]) -> Vec<String> {
    let (points, others): (Vec<_>, Vec<_>) = on.iter().partition(|(label, _)| label.is_point());
    let mut conditions: Vec<String> = others.into_iter().map(condition).collect();
    match &points[..] {
        [] => {}
        [one] => conditions.push(condition(one)),
        several => conditions.push(format!("one of its {} points", several.len())),
    }
    conditions
}

/// Time and size to expect, in parentheses; empty without history.
fn expected(estimate: Option<&Estimate>) -> String {
    let Some(Estimate {
        duration: time,
        size_bytes,
    }) = estimate
    else {
        return String::new();
    };
    let parts = [
        time.map(|time| format!("about {}", duration(time))),
        size_bytes.map(size),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("  ({})", parts.join(", ")),
    }
}

fn print(planned: &[Planned], estimates: &BTreeMap<Label, Estimate>, terminal: &Terminal) {
    let mut out = std::io::stdout().lock();
    let width = planned
        .iter()
        .map(|target| target.label.to_string().len())
        .max()
        .unwrap_or(0);
    for Planned {
        label,
        verdict,
        unread,
        ..
    } in planned
    {
        let (word, mut why) = match verdict {
            Verdict::UpToDate if unread.is_empty() && !terminal.verbose => continue,
            Verdict::UpToDate => ("up to date", Vec::new()),
            Verdict::Restore { reasons, saves } => {
                let mut why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                why.push(format!("cached: saves {}", duration(*saves)));
                ("restore", why)
            }
            Verdict::Build { stage, reasons } => {
                let mut why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                if let Some(first) = why.first_mut() {
                    *first = format!("{stage}: {first}{}", expected(estimates.get(label)));
                }
                ("build", why)
            }
            Verdict::Pending { on } => {
                let on = conditions(on);
                let expected = expected(estimates.get(label));
                (
                    "may build",
                    vec![format!("if {} changes{expected}", on.join(" or "))],
                )
            }
            Verdict::Broken(diagnostic) => ("broken", vec![diagnostic.message.clone()]),
        };
        why.extend(unread.iter().map(ToString::to_string));
        let label = label.to_string();
        let _ = writeln!(
            out,
            "{word:10} {label:width$}  {}",
            why.first().map_or("", String::as_str)
        );
        for line in why.iter().skip(1) {
            let _ = writeln!(out, "{:10} {:width$}  {line}", "", "");
        }
    }
    if planned
        .iter()
        .all(|target| target.verdict == Verdict::UpToDate)
    {
        let _ = writeln!(
            out,
            "nothing to do: {} up to date",
            crate::terminal::plural(planned.len(), "target")
        );
    }
}
