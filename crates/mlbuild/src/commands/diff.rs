//! `mlbuild diff`: what differs between the artifacts of two runs, commits or profiles.

use std::io::Write as _;

use mlbuild_action::Diagnostic;
use mlbuild_engine::{ArtifactDiff, Compared, RowDiff, RunDifference, Side, TargetDiff};
use mlbuild_manifest::{DEFAULT_PROFILE, Variant};
use serde_json::{Value, json};

use crate::cli::{Diff, Global};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT, EXIT_USAGE};
use crate::git;
use crate::load::{Loaded, load};
use crate::tables::Tables;
use crate::terminal::{Terminal, count, plural};

pub(crate) fn run(args: &Diff, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.variant, terminal)?;
    let compared = |name: &Option<String>| -> Result<Option<Compared>, CommandFailure> {
        name.as_deref()
            .map(|name| compared(&loaded, name))
            .transpose()
    };
    let (old, new) = (compared(&args.old)?, compared(&args.new)?);
    let found = mlbuild_engine::diff(&loaded.project, old.as_ref(), new.as_ref(), &Tables);
    let (old, new, targets) = found.map_err(|(fault, diagnostic)| {
        CommandFailure::new(crate::failure::exit_of(&[fault]), diagnostic)
    })?;
    let is_damaged = |target: &TargetDiff| target.difference == RunDifference::Damaged;
    let exit = match targets.iter().any(is_damaged) {
        true => EXIT_ENVIRONMENT,
        false => 0,
    };
    let mut out = std::io::stdout().lock();
    if global.json {
        for target in &targets {
            let mut value = value(target);
            for (name, side) in [("old", &old), ("new", &new)] {
                let (run, profile) = match side {
                    Side::Run(run) => (run.number().into(), Value::Null),
                    Side::Profile(name) => (
                        Value::Null,
                        name.as_deref().unwrap_or(DEFAULT_PROFILE).into(),
                    ),
                };
                value[format!("{name}_run")] = run;
                value[format!("{name}_profile")] = profile;
            }
            let _ = writeln!(out, "{value}");
        }
        return Ok(exit);
    }
    let what = match targets.len() {
        0 => "no difference".to_owned(),
        n => format!("{} differ", plural(n, "target")),
    };
    let what = what.replace("1 target differ", "1 target differs");
    let _ = writeln!(out, "{}", terminal.bold(&format!("{old} -> {new}: {what}")));
    for target in &targets {
        for line in lines(target, &old, &new) {
            let _ = writeln!(out, "{line}");
        }
    }
    Ok(exit)
}

/// The run, commit or profile that `name` means.
fn compared(loaded: &Loaded, name: &str) -> Result<Compared, CommandFailure> {
    if let Ok(run) = name.parse() {
        return Ok(Compared::Run(run));
    }
    // No name of a commit has a colon.
    if let Some(profile) = name.strip_prefix("profile:") {
        let variant = Variant::new(Some(profile), &[]);
        let known = variant.expect_profile(&loaded.project.profiles);
        known.map_err(|diagnostic| CommandFailure::new(EXIT_USAGE, diagnostic))?;
        return Ok(Compared::Profile(variant.profile));
    }
    let commit = git::resolve(&loaded.project.root, name).ok_or_else(|| {
        let message = format!("`{name}` is neither a run's number nor a commit");
        let help = "`mlbuild log` lists the runs; commits are what git knows by that name; `profile:NAME` is a profile";
        let diagnostic = Diagnostic::error("cli::no-commit", message).help(help);
        CommandFailure::new(EXIT_USAGE, diagnostic)
    })?;
    let name = name.to_owned();
    Ok(Compared::Commit { commit, name })
}

fn lines(target: &TargetDiff, first: &Side, second: &Side) -> Vec<String> {
    let TargetDiff { label, difference } = target;
    let diff = match difference {
        RunDifference::Added => return vec![format!("{label}  only in {second}")],
        RunDifference::Removed => return vec![format!("{label}  only in {first}")],
        RunDifference::Outcome { old, new } => return vec![format!("{label}  {old} -> {new}")],
        RunDifference::Unknown => {
            let text = "differs; the cache no longer has both to compare";
            return vec![format!("{label}  {text}")];
        }
        RunDifference::Damaged => {
            let text = "differs; what the cache held of it was damaged, and was set aside";
            return vec![format!("{label}  {text}")];
        }
        RunDifference::Artifact(diff) => diff,
    };
    let mut head = Vec::new();
    if let Some((old, new)) = diff.rows {
        head.push(match old == new {
            true => format!("{} rows", count(new)),
            false => format!("{} -> {} rows", count(old), count(new)),
        });
    }
    if let Some(rows) = &diff.by_row {
        head.extend(row_counts(rows));
    }
    let mut lines = vec![
        format!("{label}  {}", head.join(", "))
            .trim_end()
            .to_owned(),
    ];
    let mut say = |line: String| lines.push(format!("  {line}"));
    for (name, data_type) in &diff.added {
        say(format!("+ {name} {data_type}"));
    }
    for (name, data_type) in &diff.removed {
        say(format!("- {name} {data_type}"));
    }
    for (name, old, new) in &diff.retyped {
        say(format!("~ {name} {old} -> {new}"));
    }
    for name in &diff.changed {
        let rows = diff.by_row.as_ref().and_then(|rows| rows.columns.get(name));
        match rows {
            Some(n) => say(format!("~ {name} values in {}", plural(*n as usize, "row"))),
            // Values that only moved along with rows that came or went are no change of their own.
            None if !diff.key.is_empty() => {}
            None => say(format!("~ {name} values")),
        }
    }
    for example in diff.by_row.iter().flat_map(|rows| &rows.examples) {
        say(format!("    {example}"));
    }
    for file in &diff.files {
        say(format!("{} {}", file.path, file.change.as_str()));
    }
    for (name, (old, new)) in &diff.metrics {
        let figure = |value: &Option<f64>| value.map_or("(none)".to_owned(), |v| format!("{v:.6}"));
        say(format!("{name} {} -> {}", figure(old), figure(new)));
    }
    lines
}

fn row_counts(rows: &RowDiff) -> Vec<String> {
    let counts = [
        (rows.added, "added"),
        (rows.removed, "removed"),
        (rows.changed, "changed"),
    ];
    let counts = counts.into_iter().filter(|(n, _)| *n > 0);
    counts
        .map(|(n, word)| format!("{} {word}", count(n)))
        .collect()
}

fn value(target: &TargetDiff) -> Value {
    let mut value = json!({ "target": target.label });
    match &target.difference {
        RunDifference::Added => value["difference"] = "added".into(),
        RunDifference::Removed => value["difference"] = "removed".into(),
        RunDifference::Unknown => value["difference"] = "unknown".into(),
        RunDifference::Damaged => value["difference"] = "damaged".into(),
        RunDifference::Outcome { old, new } => {
            value["difference"] = "outcome".into();
            value["outcomes"] = json!([old, new]);
        }
        RunDifference::Artifact(diff) => {
            value["difference"] = "artifact".into();
            let ArtifactDiff {
                rows,
                added,
                removed,
                retyped,
                changed,
                key,
                by_row,
                files,
                metrics,
            } = &**diff;
            value["rows"] = json!(rows);
            value["columns"] = json!({ "added": added, "removed": removed, "retyped": retyped, "changed": changed });
            value["key"] = json!(key);
            value["by_row"] = by_row.as_ref().map_or(Value::Null, |rows| {
                json!({
                    "added": rows.added, "removed": rows.removed, "changed": rows.changed,
                    "columns": rows.columns, "examples": rows.examples,
                })
            });
            let files = files
                .iter()
                .map(|file| json!({ "path": file.path, "change": file.change.as_str() }));
            value["files"] = files.collect();
            value["metrics"] = json!(metrics);
        }
    }
    value
}
