//! `mlbuild lineage`: what a target was made from and what is made from it, with digests.

use std::io::Write as _;

use mlbuild_engine::Planned;
use mlbuild_manifest::Label;
use serde_json::json;

use crate::cli::{Global, Lineage};
use crate::failure::CommandFailure;
use crate::load::{Loaded, load, one_target};
use crate::terminal::{Terminal, count, size};
use crate::wiring;

mod columns;

pub(crate) fn run(
    args: &Lineage,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.variant, terminal)?;
    let (target, column) = match args.target.split_once('.') {
        Some((target, column)) => (target, Some(column)),
        None => (&*args.target, None),
    };
    let label = one_target(&loaded, target)?;
    if args.columns || column.is_some() {
        return columns::run(args, label, column, &loaded, global);
    }
    let graph = &loaded.project.graph;
    let all: Vec<Label> = graph.targets().map(|target| target.label.clone()).collect();
    // The plan knows which artifacts stand: those that every stage has a result for.
    let planned = mlbuild_engine::plan(&loaded.project, &all, &wiring::executors(&loaded));
    let mut sections = Vec::new();
    if !args.down {
        sections.push(("up", "made from", graph.upstream([&label])));
    }
    if !args.up {
        sections.push(("down", "used by", graph.downstream([&label])));
    }
    let mut out = std::io::stdout().lock();
    if !global.json {
        let _ = writeln!(out, "{}", line(&label, &planned));
    }
    for (direction, title, mut labels) in sections {
        labels.retain(|other| *other != label);
        if direction == "up" {
            labels.reverse(); // nearest first
        }
        if !global.json && !labels.is_empty() {
            let _ = writeln!(out, "\n{title}");
        }
        for other in &labels {
            if global.json {
                let _ = writeln!(out, "{}", value(other, direction, &planned, &loaded));
            } else {
                let _ = writeln!(out, "  {}", line(other, &planned));
            }
        }
    }
    Ok(0)
}

fn artifact<'a>(label: &Label, planned: &'a [Planned]) -> Option<&'a mlbuild_action::Artifact> {
    planned
        .iter()
        .find(|planned| planned.label == *label)?
        .artifact
        .as_ref()
}

fn line(label: &Label, planned: &[Planned]) -> String {
    let label_text = format!("{:28}", label.to_string());
    match artifact(label, planned) {
        None => format!("{label_text}  (not built as it is declared now)"),
        Some(artifact) => {
            let what = match &artifact.table {
                Some(table) => format!("{} rows", count(table.rows)),
                None => size(artifact.tree.size_bytes()),
            };
            format!("{label_text}  {}  {what}", artifact.digest().short())
        }
    }
}

fn value(
    label: &Label,
    direction: &str,
    planned: &[Planned],
    loaded: &Loaded,
) -> serde_json::Value {
    let found = artifact(label, planned);
    let inputs: Vec<String> = loaded
        .project
        .graph
        .inputs(label)
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "target": label.to_string(), "direction": direction, "inputs": inputs,
        "artifact": found.map(|artifact| artifact.digest().to_string()),
        "rows": found.and_then(|artifact| artifact.table.as_ref()).map(|table| table.rows),
        "bytes": found.map(|artifact| artifact.tree.size_bytes()),
    })
}
