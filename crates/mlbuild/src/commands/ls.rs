//! `mlbuild ls`: the targets of the project.

use std::io::Write as _;

use mlbuild_action::{Pick, Work};
use mlbuild_graph::Target;
use serde_json::json;

use crate::cli::{Global, Ls};
use crate::failure::CommandFailure;
use crate::load::{load, select};
use crate::terminal::{Terminal, plural};

/// What a choice among points is about; they are listed by their names alone.
fn points(target: &Target) -> Option<String> {
    target.stages.iter().find_map(|stage| match &stage.work {
        Work::Pick(Pick {
            metric,
            goal,
            points,
        }) => Some(format!(
            "{}, by {} {metric}",
            plural(points.len(), "point"),
            goal.as_str()
        )),
        _ => None,
    })
}

pub(crate) fn run(args: &Ls, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.selection.variant, terminal)?;
    let graph = &loaded.project.graph;
    let labels = select(&loaded, &args.selection.targets)?;
    let targets: Vec<_> = labels
        .iter()
        .filter_map(|label| graph.target(label))
        .collect();
    let width = targets
        .iter()
        .map(|target| target.label.to_string().len())
        .max()
        .unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for target in targets {
        let inputs: Vec<String> = graph
            .inputs(&target.label)
            .iter()
            .map(ToString::to_string)
            .collect();
        if global.json {
            let value = json!({
                "target": target.label.to_string(), "rule": target.rule.as_str(), "inputs": inputs,
                "tags": target.tags, "owner": target.owner, "description": target.description,
                "file": target.declared_at.file,
            });
            let _ = writeln!(out, "{value}");
        } else {
            let about = target.description.clone().or_else(|| points(target));
            let about = about.unwrap_or_default();
            let line = format!(
                "{:width$}  {:8}  {about}",
                target.label.to_string(),
                target.rule.as_str()
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    Ok(0)
}
