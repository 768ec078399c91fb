//! `mlbuild show`: how a target is made, what it holds, its figures.

use std::io::{self, Write as _};

use mlbuild_action::{Artifact, Diagnostic, Goal, Pick, Work};
use mlbuild_cache::CacheError;
use mlbuild_engine::Candidate;
use mlbuild_graph::Target;
use mlbuild_manifest::Label;
use serde_json::json;

use crate::cli::{Global, Show};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT};
use crate::load::{Loaded, load, one_target};
use crate::terminal::{Terminal, count, size};
use crate::wiring;

pub(crate) fn run(args: &Show, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.variant, terminal)?;
    let label = one_target(&loaded, &args.target)?;
    let graph = &loaded.project.graph;
    let target = graph.target(&label).expect("a selected label is a target");
    let planned = mlbuild_engine::plan(
        &loaded.project,
        std::slice::from_ref(&label),
        &wiring::executors(&loaded),
    );
    let candidates = mlbuild_engine::candidates(&loaded.project, target, &planned);
    let planned = planned.last().expect("a plan holds what it was asked for");
    let artifact = planned.artifact.as_ref();
    let metrics = planned
        .keys
        .iter()
        .filter_map(|key| loaded.project.cache.lookup(key).ok().flatten());
    let metrics: Vec<(String, f64)> = metrics.flat_map(|result| result.metrics).collect();
    let inputs: Vec<String> = graph
        .inputs(&label)
        .iter()
        .map(ToString::to_string)
        .collect();
    if global.json {
        let columns = artifact.and_then(|a| a.table.as_ref()).map(|table| {
            let columns = table.columns.iter();
            columns.map(|c| json!({ "name": c.name, "type": c.data_type, "digest": c.digest.to_string() })).collect::<Vec<_>>()
        });
        crate::json::print(&json!({
            "target": label.to_string(), "rule": target.rule.as_str(), "inputs": inputs, "verdict": planned.verdict.as_str(),
            "description": target.description, "owner": target.owner, "tags": target.tags,
            "artifact": artifact.map(|a| a.digest().to_string()), "bytes": artifact.map(|a| a.tree.size_bytes()),
            "rows": artifact.and_then(|a| a.table.as_ref()).map(|t| t.rows), "columns": columns,
            "metrics": metrics.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "points": points_json(&candidates),
        }));
        return Ok(0);
    }
    let mut out = io::stdout().lock();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "{name:12} {value}");
        }
    };
    field("target", terminal.bold(&label.to_string()));
    field(
        "description",
        target.description.clone().unwrap_or_default(),
    );
    field("owner", target.owner.clone().unwrap_or_default());
    field("tags", target.tags.join(", "));
    field(
        "rule",
        format!(
            "{}, declared in {}",
            target.rule.as_str(),
            target.declared_at.file
        ),
    );
    if candidates.is_empty() {
        field("inputs", inputs.join(", "));
    }
    field("state", planned.verdict.as_str().replace('_', " "));
    for (name, value) in parameters(target) {
        field(&format!("  {name}"), value);
    }
    for line in points(target, &candidates) {
        field("", line);
    }
    let Some(artifact) = artifact else {
        return Ok(0);
    };
    field("artifact", artifact.digest().to_string());
    field(
        "size",
        format!(
            "{} in {}",
            size(artifact.tree.size_bytes()),
            files(artifact)
        ),
    );
    for (name, value) in &metrics {
        field(&format!("  {name}"), format!("{value:.6}"));
    }
    if let Some(table) = &artifact.table {
        field("rows", count(table.rows));
        field("key", table.key.join(", "));
        for column in &table.columns {
            field(
                &format!("  {}", column.name),
                format!("{}  {}", column.data_type, column.digest.short()),
            );
        }
        if args.rows > 0 {
            let lines = rows(&loaded, &label, artifact, args.rows)?;
            let _ = writeln!(out);
            lines.iter().for_each(|line| {
                let _ = writeln!(out, "{line}");
            });
        }
    }
    Ok(0)
}

/// The first rows of a table, in lines.
fn rows(
    loaded: &Loaded,
    label: &Label,
    artifact: &Artifact,
    rows: usize,
) -> Result<Vec<String>, CommandFailure> {
    let cache = &loaded.project.cache;
    let object = cache.whole_object(&artifact.tree.entries()[0].digest);
    let object = object.map_err(|error| match error {
        CacheError::BadObject { .. } => {
            let message = format!("what the cache held of `{label}` was damaged");
            Diagnostic::error("cache::damaged", message)
                .help("it was set aside, and the next build makes it again; `mlbuild fsck` checks the rest")
        }
        _ => Diagnostic::error("cache::io", error.to_string()),
    });
    let lines = object.and_then(|object| mlbuild_exec_table::preview(&object, rows));
    lines.map_err(|diagnostic| CommandFailure::new(EXIT_ENVIRONMENT, diagnostic))
}

fn files(artifact: &Artifact) -> String {
    match artifact.tree.entries() {
        [one] => one.path.clone(),
        several => crate::terminal::plural(several.len(), "file"),
    }
}

/// The points of a `foreach`, as JSON; null for targets that have none.
fn points_json(candidates: &[Candidate]) -> serde_json::Value {
    let point = |candidate: &Candidate| {
        let Candidate {
            label,
            figure,
            picked,
        } = candidate;
        json!({ "target": label.to_string(), "figure": figure, "picked": picked })
    };
    match candidates {
        [] => serde_json::Value::Null,
        points => points.iter().map(point).collect(),
    }
}

/// The points of a `foreach`, best first, in lines.
fn points(target: &Target, candidates: &[Candidate]) -> Vec<String> {
    let Some(Pick { metric, goal, .. }) =
        target.stages.iter().find_map(|stage| match &stage.work {
            Work::Pick(pick) => Some(pick),
            _ => None,
        })
    else {
        return Vec::new();
    };
    let name = |candidate: &Candidate| {
        let name = candidate
            .label
            .point_name()
            .unwrap_or(candidate.label.name());
        name.to_owned()
    };
    let width = candidates.iter().map(|c| name(c).len()).max().unwrap_or(0);
    let mut ranked: Vec<&Candidate> = candidates.iter().collect();
    let worst = match goal {
        Goal::Max => f64::NEG_INFINITY,
        Goal::Min => f64::INFINITY,
    };
    ranked.sort_by(|a, b| {
        let (a, b) = (a.figure.unwrap_or(worst), b.figure.unwrap_or(worst));
        match goal {
            Goal::Max => b.total_cmp(&a),
            Goal::Min => a.total_cmp(&b),
        }
    });
    let line = |candidate: &&Candidate| {
        let mark = if candidate.picked { '*' } else { ' ' };
        let figure = match candidate.figure {
            Some(figure) => format!("{figure:.6}"),
            None => "not built".to_owned(),
        };
        format!("{mark} {:width$}  {figure}", name(candidate))
    };
    let lines = ranked.iter().map(line);
    [format!("points by {} {metric}", goal.as_str())]
        .into_iter()
        .chain(lines)
        .collect()
}

/// The parameters of the target's work, as they enter its key.
fn parameters(target: &Target) -> Vec<(String, String)> {
    let params = |work: &Work| match work {
        Work::Sql(sql) => sql.params.clone(),
        Work::Train(train) => train.params.clone(),
        _ => std::collections::BTreeMap::new(),
    };
    let all = target.stages.iter().flat_map(|stage| params(&stage.work));
    let all: std::collections::BTreeMap<String, String> =
        all.map(|(name, value)| (name, value.to_string())).collect();
    all.into_iter().collect()
}
