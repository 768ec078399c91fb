//! `lineage --columns`: which columns a target, or one of its columns, was made from, and which are made from it.

use std::collections::BTreeMap;
use std::io::Write as _;

use mlbuild_action::Diagnostic;
use mlbuild_engine::{ColumnLineage, FlowKind, Place, Reached};
use mlbuild_manifest::{Label, list, nearest};
use serde_json::json;

use crate::cli::{Global, Lineage};
use crate::failure::{CommandFailure, EXIT_USAGE};
use crate::load::Loaded;
use crate::wiring;

pub(super) fn run(
    args: &Lineage,
    label: Label,
    column: Option<&str>,
    loaded: &Loaded,
    global: &Global,
) -> Result<u8, CommandFailure> {
    let lineage = mlbuild_engine::column_lineage(&loaded.project, &wiring::executors(loaded));
    if lineage.missing.contains(&label) {
        let message = format!("`{label}` is not built as it is declared now");
        let diagnostic = Diagnostic::error("lineage::not-built", message).help(format!(
            "its columns are known once it is: `mlbuild build {label}`"
        ));
        return Err(CommandFailure::new(EXIT_USAGE, diagnostic));
    }
    if let Some(column) = column {
        known(&lineage, &label, column)?;
    }
    let place = Place {
        label,
        column: column.map(str::to_owned),
    };
    let mut out = std::io::stdout().lock();
    for (wanted, direction) in [(!args.down, "up"), (!args.up, "down")] {
        if !wanted {
            continue;
        }
        let (reached, title) = match direction {
            "up" => (lineage.up(&place), "made from"),
            _ => (lineage.down(&place), "used by"),
        };
        if global.json {
            for Reached { place, kind } in reached {
                let value = json!({
                    "direction": direction, "target": place.label.to_string(),
                    "column": place.column, "kind": kind.as_str(),
                });
                let _ = writeln!(out, "{value}");
            }
            continue;
        }
        let _ = writeln!(out, "{} is {title}", name(&place));
        for line in lines(&reached, &lineage, loaded, direction == "up") {
            let _ = writeln!(out, "  {line}");
        }
    }
    if !global.json && !lineage.missing.is_empty() {
        let missing = lineage.missing.iter().map(Label::to_string);
        let _ = writeln!(
            out,
            "not followed, for they are not built: {}",
            missing.collect::<Vec<_>>().join(", ")
        );
    }
    Ok(0)
}

fn known(lineage: &ColumnLineage, label: &Label, column: &str) -> Result<(), CommandFailure> {
    let columns = lineage.columns(label);
    if columns.iter().any(|known| known == column) {
        return Ok(());
    }
    let names = columns.iter().map(String::as_str);
    let help = match nearest(column, names.clone()) {
        Some(near) => format!("did you mean `{label}.{near}`?"),
        None if columns.is_empty() => "it is no table".to_owned(),
        None => format!("it has {}", list(names)),
    };
    let message = format!("no column `{column}` in `{label}`");
    let diagnostic = Diagnostic::error("lineage::unknown-column", message).help(help);
    Err(CommandFailure::new(EXIT_USAGE, diagnostic))
}

fn name(place: &Place) -> String {
    match &place.column {
        Some(column) => format!("{}.{column}", place.label),
        None => place.label.to_string(),
    }
}

/// A line a target, nearest first: its columns that give values, those that only choose rows, and upwards those that
/// have no part in it.
fn lines(
    reached: &[Reached],
    lineage: &ColumnLineage,
    loaded: &Loaded,
    upwards: bool,
) -> Vec<String> {
    let mut by_target: BTreeMap<&Label, Vec<&Reached>> = BTreeMap::new();
    for reached in reached {
        by_target
            .entry(&reached.place.label)
            .or_default()
            .push(reached);
    }
    let mut order: Vec<&Label> = loaded.project.graph.targets().map(|t| &t.label).collect();
    if upwards {
        order.reverse();
    }
    let width = by_target
        .keys()
        .map(|label| label.to_string().len())
        .max()
        .unwrap_or(0);
    order
        .into_iter()
        .filter_map(|label| {
            let found = by_target.get(label)?;
            let known = if upwards { lineage.columns(label) } else { &[] };
            let text = columns_of(found, known);
            Some(format!("{:width$}  {text}", label.to_string()))
        })
        .collect()
}

fn columns_of(reached: &[&Reached], columns: &[String]) -> String {
    let of = |kind| {
        let found = reached.iter().filter(move |reached| reached.kind == kind);
        found.map(|reached| reached.place.column.as_deref())
    };
    let whole = |kind| of(kind).any(|column| column.is_none());
    let named = |kind| of(kind).flatten().collect::<Vec<_>>().join(", ");
    if whole(FlowKind::Value) {
        return "all of it".to_owned();
    }
    let mut parts = Vec::new();
    if !named(FlowKind::Value).is_empty() {
        parts.push(named(FlowKind::Value));
    }
    if whole(FlowKind::Rows) {
        parts.push("which rows there are".to_owned());
        return parts.join("; ");
    }
    if !named(FlowKind::Rows).is_empty() {
        parts.push(format!("rows by {}", named(FlowKind::Rows)));
    }
    let reached: Vec<_> = reached
        .iter()
        .filter_map(|r| r.place.column.as_deref())
        .collect();
    let rest = columns
        .iter()
        .filter(|column| !reached.contains(&column.as_str()));
    let rest: Vec<_> = rest.map(String::as_str).collect();
    if !rest.is_empty() {
        parts.push(format!("not {}", rest.join(", ")));
    }
    parts.join("; ")
}
