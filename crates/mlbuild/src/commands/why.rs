//! `mlbuild why`: why a target would be rebuilt now, or why it was when it last was.

use std::io::Write as _;

use mlbuild_engine::{Planned, Rebuild, Verdict, last_rebuild, last_spared};
use mlbuild_manifest::Label;
use serde_json::json;

use crate::cli::{Global, Why};
use crate::failure::CommandFailure;
use crate::load::{Loaded, load, select};
use crate::terminal::Terminal;
use crate::{json, wiring};

pub(crate) fn run(args: &Why, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.variant, terminal)?;
    let wanted = select(&loaded, &args.targets)?;
    let planned = mlbuild_engine::plan(&loaded.project, &wanted, &wiring::executors(&loaded));
    for label in &wanted {
        explain(label, &planned, &loaded, global)?;
    }
    Ok(0)
}

fn explain(
    label: &Label,
    planned: &[Planned],
    loaded: &Loaded,
    global: &Global,
) -> Result<(), CommandFailure> {
    let find = |label: &Label| planned.iter().find(|planned| planned.label == *label);
    let Some(target) = find(label) else {
        return Ok(());
    };
    let history = last_rebuild(&loaded.project, label).map_err(crate::commands::query::failure)?;
    let spared = last_spared(&loaded.project, label).map_err(crate::commands::query::failure)?;
    if global.json {
        let mut value = json::planned(target, &loaded.sources);
        let told = |last: Rebuild| json!({ "run": last.run.to_string(), "at": last.at, "outcome": last.outcome, "reasons": last.reasons });
        value["last_rebuild"] = history.map_or(serde_json::Value::Null, told);
        value["last_spared"] = spared.map_or(serde_json::Value::Null, told);
        json::print(&value);
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    let mut say = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    match &target.verdict {
        Verdict::UpToDate => {
            say(format!(
                "{label} is up to date: nothing that it reads differs from its last build"
            ));
        }
        Verdict::Restore { reasons, .. } => {
            say(format!("{label} would be restored from the cache:"));
            reasons.iter().for_each(|reason| say(format!("  {reason}")));
        }
        Verdict::Build { stage, reasons } => {
            say(format!("{label} would be rebuilt ({stage}):"));
            reasons.iter().for_each(|reason| say(format!("  {reason}")));
        }
        Verdict::Pending { on } => {
            say(format!(
                "{label} would be rebuilt only if what it reads of these changes:"
            ));
            for (input, columns) in on {
                let columns = columns.as_deref().map(reads).unwrap_or_default();
                say(format!("  {input}{columns}: {}", in_short(find(input))));
            }
        }
        Verdict::Broken(diagnostic) => say(format!(
            "{label} cannot be resolved: {}",
            diagnostic.message
        )),
    }
    target
        .unread
        .iter()
        .for_each(|unread| say(format!("  {unread}")));
    if let Some(last) = spared {
        say(format!(
            "{label} stayed as it was on {} (run {}):",
            last.at, last.run
        ));
        last.reasons
            .iter()
            .for_each(|reason| say(format!("  {reason}")));
    }
    if let Some(last) = history {
        say(format!(
            "{label} was last {} on {} (run {}):",
            last.outcome, last.at, last.run
        ));
        last.reasons
            .iter()
            .for_each(|reason| say(format!("  {reason}")));
    }
    Ok(())
}

/// The columns read, in parentheses.
fn reads(columns: &[String]) -> String {
    match columns {
        [] => " (number of rows)".to_owned(),
        columns => format!(" ({})", columns.join(", ")),
    }
}

/// The first few labels, and how many more there are: a `foreach` may have many points.
fn some_of<'a>(labels: impl Iterator<Item = &'a Label>) -> String {
    const SHOWN: usize = 4;
    let labels: Vec<String> = labels.map(ToString::to_string).collect();
    match labels.len().checked_sub(SHOWN) {
        None | Some(0) => labels.join(", "),
        Some(more) => format!("{} and {more} more", labels[..SHOWN].join(", ")),
    }
}

fn in_short(planned: Option<&Planned>) -> String {
    match planned.map(|planned| &planned.verdict) {
        Some(Verdict::Build { reasons, .. } | Verdict::Restore { reasons, .. }) => {
            crate::console::first_reason(reasons)
        }
        Some(Verdict::Pending { on }) => {
            format!(
                "undecided itself, because of {}",
                some_of(on.iter().map(|(label, _)| label))
            )
        }
        Some(Verdict::Broken(diagnostic)) => diagnostic.message.clone(),
        Some(Verdict::UpToDate) | None => "up to date".to_owned(),
    }
}
