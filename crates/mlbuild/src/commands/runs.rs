//! `mlbuild runs`: the history of every model as a table of experiments, out of lineage.
//!
//! What is equal in all rows is no column: it is said once, below the table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::time::Duration;

use mlbuild_action::Diagnostic;
use mlbuild_lineage::{Experiment, Lineage};
use mlbuild_manifest::{list, nearest};
use serde_json::{Value, json};

use crate::cli::{Global, Runs};
use crate::commands::query;
use crate::failure::{CommandFailure, EXIT_USAGE};
use crate::load::find_root;
use crate::terminal::{Terminal, duration, plural, width};

/// What stands in a cell without a value.
const NOTHING: &str = "-";

pub(crate) fn run(args: &Runs, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    // The views of an older database are made first, as a build would.
    let path = mlbuild_engine::lineage_path(&root);
    query::open(&root)?;
    let lineage = Lineage::open(&path).map_err(query::failure)?;
    let all = lineage.experiments().map_err(query::failure)?;
    if let [a, b] = &args.compare[..] {
        let (a, b) = (find(&all, a)?, find(&all, b)?);
        match global.json {
            true => crate::json::print(&compared_json(a, b)),
            false => print_compared(a, b, terminal),
        }
        return Ok(0);
    }
    let mut chosen = of_model(&all, args.model.as_deref())?;
    if let Some(metric) = &args.best {
        chosen = best(chosen, metric, args.min)?;
    }
    let more = chosen.len().saturating_sub(args.limit);
    chosen.truncate(args.limit);
    if global.json {
        chosen
            .iter()
            .for_each(|experiment| crate::json::print(&experiment_json(experiment)));
        return Ok(0);
    }
    if chosen.is_empty() {
        terminal.note("no model has been built here yet");
        return Ok(0);
    }
    print(&Table::new(&chosen, args.best.as_deref()), terminal);
    if more > 0 {
        terminal.note(&format!("and {more} more: `--limit` shows them"));
    }
    Ok(0)
}

fn usage(code: &'static str, message: String, help: String) -> CommandFailure {
    CommandFailure::new(EXIT_USAGE, Diagnostic::error(code, message).help(help))
}

/// The experiments of a model, or of one of its points; all without a name.
fn of_model<'a>(
    all: &'a [Experiment],
    name: Option<&str>,
) -> Result<Vec<&'a Experiment>, CommandFailure> {
    let Some(name) = name else {
        return Ok(all.iter().collect());
    };
    let label = with_kind(name);
    let is_it = |experiment: &&Experiment| experiment.model == label || experiment.label == label;
    let found: Vec<_> = all.iter().filter(is_it).collect();
    if found.is_empty() {
        return Err(no_model(all, name, &label));
    }
    Ok(found)
}

fn with_kind(name: &str) -> String {
    match name.contains(':') {
        true => name.to_owned(),
        false => format!("model:{name}"),
    }
}

fn no_model(all: &[Experiment], name: &str, label: &str) -> CommandFailure {
    let models: BTreeSet<&str> = all
        .iter()
        .map(|experiment| experiment.model.as_str())
        .collect();
    let help = match nearest(label, models.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("lineage knows {}", list(models)),
    };
    usage(
        "runs::unknown",
        format!("no run has made a model `{name}`"),
        help,
    )
}

/// Those that have the metric, best first, each state of a model once.
fn best<'a>(
    experiments: Vec<&'a Experiment>,
    metric: &str,
    min: bool,
) -> Result<Vec<&'a Experiment>, CommandFailure> {
    let mut seen = BTreeSet::new();
    let names: BTreeSet<&str> = experiments
        .iter()
        .flat_map(|e| e.metrics.keys())
        .map(String::as_str)
        .collect();
    if !names.contains(metric) {
        let help = match nearest(metric, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the metrics are {}", list(names)),
        };
        return Err(usage(
            "runs::no-metric",
            format!("no model has a metric `{metric}`"),
            help,
        ));
    }
    // The latest of equal ones comes first here, and so stays.
    let mut ranked: Vec<(f64, &Experiment)> = experiments
        .into_iter()
        .filter(|experiment| seen.insert((&experiment.label, &experiment.key)))
        .filter_map(|experiment| Some((*experiment.metrics.get(metric)?, experiment)))
        .collect();
    ranked.sort_by(|(a, _), (b, _)| match min {
        true => a.total_cmp(b),
        false => b.total_cmp(a),
    });
    Ok(ranked
        .into_iter()
        .map(|(_, experiment)| experiment)
        .collect())
}

/// The experiment that a word means: `12` (a run that made one model), `recs` (the latest), `12:recs@dim=32`, or a digest's
/// beginning. Of a model that is picked among points it is the point picked.
fn find<'a>(all: &'a [Experiment], word: &str) -> Result<&'a Experiment, CommandFailure> {
    let (run, name) = match word.split_once(':') {
        Some((run, name)) if is_number(run) => (Some(run), Some(name)),
        _ if is_number(word) => (Some(word), None),
        _ => (None, Some(word)),
    };
    let of_run = |experiment: &&Experiment| run.is_none_or(|run| experiment.run.to_string() == run);
    let candidates: Vec<_> = all.iter().filter(of_run).collect();
    let Some(name) = name else {
        let picked: Vec<_> = candidates
            .iter()
            .filter(|experiment| experiment.picked)
            .collect();
        return match (&candidates[..], &picked[..]) {
            ([one], _) => Ok(one),
            (_, [one]) => Ok(one),
            ([], _) => Err(usage(
                "runs::unknown",
                format!("run {word} made no model"),
                "`mlbuild runs` lists those that did".to_owned(),
            )),
            (several, _) => {
                let labels = several.iter().map(|experiment| experiment.label.as_str());
                let help = format!("write `{word}:` and one of {}", list(labels));
                let message = format!("run {word} made {}", plural(several.len(), "model"));
                Err(usage("runs::several", message, help))
            }
        };
    };
    let label = with_kind(name);
    let exact = candidates
        .iter()
        .find(|experiment| experiment.label == label);
    let picked = || {
        candidates
            .iter()
            .find(|experiment| experiment.model == label && experiment.picked)
    };
    let digest = || {
        let long_enough = name.len() >= 6;
        let is_it = |e: &&&Experiment| {
            e.artifact
                .as_ref()
                .is_some_and(|digest| digest.starts_with(name))
        };
        candidates.iter().find(|e| long_enough && is_it(e))
    };
    match exact.or_else(picked).or_else(digest) {
        Some(found) => Ok(found),
        None => Err(no_model(all, word, &label)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A column of the table.
struct Column {
    name: String,
    cells: Vec<String>,
    /// Whether numbers stand in it: to the right.
    right: bool,
    /// Whether the table makes no sense without it.
    fixed: bool,
}

struct Table {
    columns: Vec<Column>,
    /// What is the same in all rows.
    equal: Vec<(String, String)>,
}

impl Table {
    fn new(experiments: &[&Experiment], leading: Option<&str>) -> Self {
        let mut table = Self {
            columns: Vec::new(),
            equal: Vec::new(),
        };
        let all = |cell: &dyn Fn(&Experiment) -> String| -> Vec<String> {
            experiments
                .iter()
                .map(|experiment| cell(experiment))
                .collect()
        };
        let has_points = experiments
            .iter()
            .any(|experiment| experiment.point.is_some());
        table.fixed("run", true, all(&|e| e.run.to_string()));
        table.fixed(
            "started",
            false,
            all(&|e| {
                e.started
                    .chars()
                    .take(16)
                    .collect::<String>()
                    .replace('T', " ")
            }),
        );
        if has_points {
            table.fixed(
                "",
                false,
                all(&|e| if e.picked { "*" } else { "" }.to_owned()),
            );
        }
        table.fixed("model", false, all(&|e| e.label.clone()));
        let metric = |name: &str, e: &Experiment| {
            e.metrics
                .get(name)
                .map_or(NOTHING.to_owned(), |value| figure(*value))
        };
        if let Some(leading) = leading {
            table.fixed(leading, true, all(&|e| metric(leading, e)));
        }
        let names = |of: &dyn Fn(&Experiment) -> Vec<String>| -> BTreeSet<String> {
            experiments.iter().flat_map(|e| of(e)).collect()
        };
        for name in names(&|e| e.parameters.keys().cloned().collect()) {
            table.varying(
                &name,
                all(&|e| {
                    e.parameters
                        .get(&name)
                        .cloned()
                        .unwrap_or(NOTHING.to_owned())
                }),
            );
        }
        for name in names(&|e| e.metrics.keys().cloned().collect()) {
            if leading != Some(&name) {
                table.varying(&name, all(&|e| metric(&name, e)));
            }
        }
        table.fixed(
            "time",
            true,
            all(&|e| {
                e.seconds.map_or(NOTHING.to_owned(), |s| {
                    duration(Duration::from_secs_f64(s.max(0.0)))
                })
            }),
        );
        table.fixed("digest", false, all(&|e| short(e.artifact.as_deref())));
        table.varying("outcome", all(&|e| e.outcome.clone()));
        table.varying(
            "device",
            all(&|e| e.device.clone().unwrap_or(NOTHING.to_owned())),
        );
        table.varying("who", all(&who));
        table
    }

    fn fixed(&mut self, name: &str, right: bool, cells: Vec<String>) {
        self.columns.push(Column {
            name: name.to_owned(),
            cells,
            right,
            fixed: true,
        });
    }

    /// A column where its cells differ; a single row has all of its own.
    fn varying(&mut self, name: &str, cells: Vec<String>) {
        match cells.iter().all(|cell| *cell == cells[0]) {
            true if cells[0] == NOTHING => {}
            true => self.equal.push((name.to_owned(), cells[0].clone())),
            false => self.columns.push(Column {
                name: name.to_owned(),
                right: cells
                    .iter()
                    .all(|cell| cell == NOTHING || cell.parse::<f64>().is_ok()),
                cells,
                fixed: false,
            }),
        }
    }

    /// Leaves away columns, from the right, until a line is no longer than `width`; returns their names.
    fn fit(&mut self, width: usize) -> Vec<String> {
        let mut gone = Vec::new();
        while self.width() > width {
            let Some(last) = self.columns.iter().rposition(|column| !column.fixed) else {
                break;
            };
            gone.push(self.columns.remove(last).name);
        }
        gone.reverse();
        gone
    }

    fn width(&self) -> usize {
        let widths: usize = self.columns.iter().map(Column::width).sum();
        widths + 2 * self.columns.len().saturating_sub(1)
    }
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().chain([&self.name]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    fn padded(&self, cell: &str) -> String {
        let width = self.width();
        match self.right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        }
    }
}

fn print(table: &Table, terminal: &Terminal) {
    let mut table = Table {
        columns: table
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                cells: column.cells.clone(),
                ..*column
            })
            .collect(),
        equal: table.equal.clone(),
    };
    let gone = width().map(|width| table.fit(width)).unwrap_or_default();
    let mut out = io::stdout().lock();
    let mut line = |cells: Vec<String>| {
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    };
    let header = table
        .columns
        .iter()
        .map(|column| column.padded(&column.name));
    line(vec![
        terminal.bold(header.collect::<Vec<_>>().join("  ").trim_end()),
    ]);
    for row in 0..table.columns[0].cells.len() {
        line(
            table
                .columns
                .iter()
                .map(|column| column.padded(&column.cells[row]))
                .collect(),
        );
    }
    if !table.equal.is_empty() {
        let equal: Vec<String> = table
            .equal
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        line(vec![format!("in all of them: {}", equal.join(", "))]);
    }
    if !gone.is_empty() {
        line(vec![format!(
            "too wide for this terminal: {}; `--json` has them",
            gone.join(", ")
        )]);
    }
}

/// A figure as people compare them: six digits behind the point, whole numbers as such.
fn figure(value: f64) -> String {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => format!("{value:.0}"),
        false if value.abs() < 1e-4 => format!("{value:.3e}"),
        false => format!("{value:.6}"),
    }
}

fn short(digest: Option<&str>) -> String {
    digest
        .and_then(|digest| digest.get(..10))
        .unwrap_or(NOTHING)
        .to_owned()
}

fn who(experiment: &Experiment) -> String {
    match (&experiment.user, &experiment.host) {
        (Some(user), Some(host)) => format!("{user}@{host}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => NOTHING.to_owned(),
    }
}

fn experiment_json(experiment: &Experiment) -> Value {
    let Experiment {
        run,
        label,
        model,
        point,
        rule,
        outcome,
        reason,
        started,
        seconds,
        artifact,
        key,
        device,
        user,
        host,
        picked,
        parameters,
        metrics,
        inputs,
        curve_end,
    } = experiment;
    let curve_end: BTreeMap<&String, Value> = curve_end
        .iter()
        .map(|(name, (epoch, value))| (name, json!({ "epoch": epoch, "value": value })))
        .collect();
    json!({
        "run": run.number(), "target": label, "model": model, "point": point, "rule": rule, "outcome": outcome,
        "reason": reason, "started": started, "seconds": seconds, "artifact": artifact, "key": key, "device": device,
        "user": user, "host": host, "picked": picked, "parameters": typed(parameters), "metrics": metrics,
        "inputs": inputs, "curve_end": curve_end,
    })
}

/// Parameters with their types: a key holds them as JSON writes them.
fn typed(parameters: &BTreeMap<String, String>) -> BTreeMap<&String, Value> {
    parameters
        .iter()
        .map(|(name, value)| (name, typed_value(value)))
        .collect()
}

fn typed_value(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| value.into())
}

/// A name with its value in the one and in the other.
type Pair = (String, Option<String>, Option<String>);

/// Where two maps differ.
fn differing<T: PartialEq>(
    a: &BTreeMap<String, T>,
    b: &BTreeMap<String, T>,
    text: &dyn Fn(&T) -> String,
) -> Vec<Pair> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let pairs = names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name));
    pairs
        .map(|name| (name.clone(), a.get(name).map(text), b.get(name).map(text)))
        .collect()
}

fn print_compared(a: &Experiment, b: &Experiment, terminal: &Terminal) {
    let mut lines: Vec<[String; 4]> = Vec::new();
    let some = |text: Option<String>| text.unwrap_or(NOTHING.to_owned());
    let mut about = |name: &str, of: &dyn Fn(&Experiment) -> String| {
        lines.push([name.to_owned(), of(a), of(b), String::new()]);
    };
    about("run", &|e| e.run.to_string());
    about("model", &|e| e.label.clone());
    about("started", &|e| e.started.clone());
    about("outcome", &|e| e.outcome.clone());
    about("time", &|e| {
        e.seconds.map_or(NOTHING.to_owned(), |s| {
            duration(Duration::from_secs_f64(s.max(0.0)))
        })
    });
    about("digest", &|e| short(e.artifact.as_deref()));
    about("device", &|e| some(e.device.clone()));
    about("who", &who);
    let mut section = |title: &str, pairs: Vec<Pair>, change: &dyn Fn(&str) -> String| {
        if !pairs.is_empty() {
            lines.push([
                title.to_owned(),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
        for (name, old, new) in pairs {
            let change = change(&name);
            lines.push([format!("  {name}"), some(old), some(new), change]);
        }
    };
    let nothing = |_: &str| String::new();
    section(
        "parameters",
        differing(&a.parameters, &b.parameters, &|value| value.clone()),
        &nothing,
    );
    section(
        "metrics",
        differing(&a.metrics, &b.metrics, &|value| figure(*value)),
        &|name| {
            let both = a.metrics.get(name).zip(b.metrics.get(name));
            both.map_or(String::new(), |(a, b)| format!("{:+.6}", b - a))
        },
    );
    let end = |(epoch, value): &(u32, f64)| format!("{} (epoch {epoch})", figure(*value));
    section(
        "last epoch",
        differing(&a.curve_end, &b.curve_end, &end),
        &nothing,
    );
    section(
        "data",
        differing(&a.inputs, &b.inputs, &|digest| short(Some(digest))),
        &nothing,
    );
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let mut out = io::stdout().lock();
    for [name, old, new, change] in &lines {
        let line = format!(
            "{name:0$}  {old:1$}  {new:2$}  {change}",
            widths[0], widths[1], widths[2]
        );
        let is_title = old.is_empty() && new.is_empty();
        let line = line.trim_end();
        let _ = writeln!(
            out,
            "{}",
            if is_title {
                terminal.bold(line)
            } else {
                line.to_owned()
            }
        );
    }
    let same = |differ: usize, all: usize, what: &str| {
        let same = all.saturating_sub(differ);
        (same > 0).then(|| plural(same, what))
    };
    let names =
        |a: Vec<&String>, b: Vec<&String>| a.into_iter().chain(b).collect::<BTreeSet<_>>().len();
    let parameters = names(a.parameters.keys().collect(), b.parameters.keys().collect());
    let inputs = names(a.inputs.keys().collect(), b.inputs.keys().collect());
    let same = [
        same(
            differing(&a.parameters, &b.parameters, &|v| v.clone()).len(),
            parameters,
            "parameter",
        ),
        same(
            differing(&a.inputs, &b.inputs, &|v| v.clone()).len(),
            inputs,
            "input",
        ),
    ];
    let same: Vec<String> = same.into_iter().flatten().collect();
    if !same.is_empty() {
        let _ = writeln!(out, "the same in both: {}", same.join(", "));
    }
}

fn compared_json(a: &Experiment, b: &Experiment) -> Value {
    let pairs = |pairs: Vec<Pair>, value: &dyn Fn(String) -> Value| -> Value {
        let pairs = pairs.into_iter().map(|(name, a, b)| {
            let pair = json!({ "a": a.map(value), "b": b.map(value) });
            (name, pair)
        });
        Value::Object(pairs.collect())
    };
    let parse = |text: String| typed_value(&text);
    json!({
        "a": experiment_json(a), "b": experiment_json(b),
        "parameters": pairs(differing(&a.parameters, &b.parameters, &|value| value.clone()), &parse),
        "metrics": pairs(differing(&a.metrics, &b.metrics, &|value| value.to_string()), &parse),
        "inputs": pairs(differing(&a.inputs, &b.inputs, &|value| value.clone()), &Value::from),
    })
}
