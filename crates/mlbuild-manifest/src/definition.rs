//! How a target is made: one function a rule.

use std::collections::BTreeMap;

use mlbuild_action::{CommandLine, Format, Metric, MetricName, Value};
use toml::de::DeValue;

use crate::reader::{Reader, Section};
use crate::{
    ARCHITECTURES, Architecture, CommandDefinition, Definition, EvaluateDefinition, GateBound,
    GateDeclaration, Ingestion, Kind, Label, PathDefinition, PredictDefinition, Rule, SourceText,
    Spanned, SqlDefinition, SqlText, TrainDefinition, keys, list, nearest, quantity,
};

/// A target being read.
pub(crate) struct Target<'a, 't> {
    pub(crate) label: &'a Label,
    pub(crate) section: &'a Section<'t>,
    /// The SQL file of its name.
    pub(crate) sql_file: Option<&'a SourceText>,
    pub(crate) project: &'a str,
}

/// Reads the definition by `rule`; `None` if it cannot be understood.
pub(crate) fn definition<'t>(
    reader: &mut Reader<'t>,
    target: &Target<'_, 't>,
    rule: Rule,
) -> Option<Definition> {
    match rule {
        Rule::Path => path(reader, target).map(Definition::Path),
        Rule::Sql => sql(reader, target).map(Definition::Sql),
        Rule::Command => command(reader, target).map(Definition::Command),
        Rule::Train => train(reader, target).map(Definition::Train),
        Rule::Predict => predict(reader, target).map(Definition::Predict),
        Rule::Evaluate => evaluate(reader, target).map(Definition::Evaluate),
    }
}

fn path<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<PathDefinition> {
    let section = target.section;
    let written = reader.one_or_more(section, "path")?;
    let given = written.len();
    let patterns: Vec<_> = written
        .into_iter()
        .filter_map(|path| reader.as_source_path(path))
        .collect();
    if patterns.len() < given {
        return None;
    }
    let format = match section.get("format") {
        Some(_) => format(reader, section)?,
        None => {
            let mut formats = patterns.iter().map(|path| inferred(path.as_str()));
            let first = formats.next()?;
            match first.filter(|_| formats.all(|format| format == first)) {
                Some(format) => format,
                None => {
                    reader.error(
                        "manifest::missing-key",
                        format!("the format of {} does not show in its path", section.name),
                        patterns[0].range.clone(),
                        "files of which format?",
                        format!(
                            "add `format`: one of {}",
                            list(Format::ALL.map(Format::as_str))
                        ),
                    );
                    return None;
                }
            }
        }
    };
    let ingestion = ingestion(reader, section, format);
    Some(PathDefinition {
        patterns,
        ingestion,
    })
}

/// The format that a path's extension says.
fn inferred(path: &str) -> Option<Format> {
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    match extension {
        "csv" => Some(Format::Csv),
        "tsv" => Some(Format::Tsv),
        "jsonl" | "ndjson" => Some(Format::Jsonl),
        "parquet" => Some(Format::Parquet),
        _ => None,
    }
}

fn format<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Format> {
    let written = reader.string(section, "format")?;
    let known = Format::ALL
        .into_iter()
        .find(|format| format.as_str() == written.value);
    if known.is_none() {
        let names = Format::ALL.map(Format::as_str);
        reader.error(
            "manifest::unknown-format",
            format!("unknown format `{}`", written.value),
            written.range,
            "not a format",
            match nearest(&written.value, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the formats are {}", list(names)),
            },
        );
    }
    known
}

/// Names of column types.
const TYPES: [&str; 6] = ["boolean", "date", "float64", "int64", "timestamp", "utf8"];

fn ingestion<'t>(reader: &mut Reader<'t>, section: &Section<'t>, format: Format) -> Ingestion {
    if format == Format::Files {
        for key in ["columns", "row_number"] {
            if let Some((range, _)) = section.get(key) {
                let message = format!("`{key}` needs a table, and format `files` is none");
                reader.error(
                    "manifest::not-a-table",
                    message,
                    range,
                    "has no columns",
                    None,
                );
            }
        }
        return Ingestion {
            format,
            types: BTreeMap::new(),
            row_number: None,
        };
    }
    let mut types = BTreeMap::new();
    if let Some(columns) = reader.table(section, "columns") {
        for (column, value) in columns.entries() {
            let Some(name) = reader.as_string(&column.value, value) else {
                continue;
            };
            if TYPES.contains(&&*name.value) {
                types.insert(column.value, name.value);
                continue;
            }
            reader.error(
                "manifest::unknown-type",
                format!("unknown column type `{}`", name.value),
                name.range.clone(),
                "not a type",
                match nearest(&name.value, TYPES) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the types are {}", list(TYPES)),
                },
            );
        }
    }
    let row_number = reader.name(section, "row_number").map(|name| name.value);
    Ingestion {
        format,
        types,
        row_number,
    }
}

fn sql<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<SqlDefinition> {
    let section = target.section;
    let sql = match (section.get("sql"), target.sql_file) {
        (Some((_, value)), _) => reader.as_sql("sql", value)?,
        (None, Some(file)) => SqlText {
            file: file.path.clone(),
            source: file.text.clone(),
            start: 0,
            whole: None,
        },
        (None, None) => return None,
    };
    let mut params = BTreeMap::new();
    if let Some(section) = reader.table(section, "params") {
        for (name, value) in section.entries() {
            if let Some(value) = reader.scalar(&name.value, value) {
                let Spanned { value: name, range } = name;
                params.insert(
                    name,
                    Spanned {
                        value: value.value,
                        range,
                    },
                );
            }
        }
    }
    Some(SqlDefinition { sql, params })
}

fn command<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<CommandDefinition> {
    let section = target.section;
    let line = command_line(reader, section);
    let mut srcs = Vec::new();
    for path in reader.strings(section, "srcs").unwrap_or_default() {
        srcs.extend(reader.as_source_path(path));
    }
    let inputs = labels(reader, section, "inputs");
    let out = reader
        .name(section, "out")
        .and_then(|out| reader.as_path(out));
    let env = environment(reader, section);
    let timeout = reader.string(section, "timeout").and_then(|text| {
        let timeout = quantity::duration(&text);
        if timeout.is_none() {
            let message = format!("`{}` is not a duration", text.value);
            let help = "write a number and a unit, as in `500ms`, `90s`, `10m` or `2h`".to_owned();
            reader.error(
                "manifest::bad-value",
                message,
                text.range,
                "not a duration",
                help,
            );
        }
        timeout
    });
    let digest = reader.string(section, "digest").and_then(|text| {
        let digest = quantity::digest(&text);
        if digest.is_none() {
            let message = format!("`{}` is not a digest", text.value);
            let help = "write `sha256:` or `blake3:` and 64 hexadecimal digits".to_owned();
            reader.error(
                "manifest::bad-value",
                message,
                text.range,
                "not a digest",
                help,
            );
        }
        digest
    });
    if let (Some((range, _)), None) = (section.get("digest"), section.get("out")) {
        let message = "`digest` pins one file, and no `out` says which";
        let help = "add `out = \"FILE\"`".to_owned();
        reader.error(
            "manifest::missing-key",
            message,
            range,
            "of which file?",
            help,
        );
    }
    let line = line?;
    placeholders(reader, &line, &inputs, section);
    let ingestion = command_ingestion(reader, target);
    let out = out.map(|out| out.value);
    Some(CommandDefinition {
        line,
        srcs,
        inputs,
        out,
        env,
        timeout,
        digest,
        ingestion,
    })
}

fn command_line<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
) -> Option<Spanned<CommandLine>> {
    let (_, value) = section.get("command")?;
    let line = match value.get_ref() {
        DeValue::String(_) => CommandLine::Shell(reader.name(section, "command")?.value),
        DeValue::Array(array) => {
            // Empty arguments are arguments, so this is no list of names.
            let given = array.len();
            let words: Vec<_> = array
                .iter()
                .filter_map(|word| reader.as_string("command", word))
                .collect();
            if words.len() < given {
                return None;
            }
            if words.first().is_none_or(|program| program.value.is_empty()) {
                let message = "`command` names no program";
                reader.error("manifest::bad-value", message, value.span(), "empty", None);
                return None;
            }
            CommandLine::Program(words.into_iter().map(|word| word.value).collect())
        }
        _ => {
            reader.wrong_type("command", value, "a shell line or a list of words");
            return None;
        }
    };
    Some(Spanned {
        value: line,
        range: value.span(),
    })
}

/// Complains about `{src}` and `{input:LABEL}` that stand for nothing.
fn placeholders(
    reader: &mut Reader<'_>,
    line: &Spanned<CommandLine>,
    inputs: &[Spanned<Label>],
    section: &Section<'_>,
) {
    let words = match &line.value {
        CommandLine::Shell(line) => std::slice::from_ref(line),
        CommandLine::Program(words) => words,
    };
    for word in words {
        if word.contains("{src}") && section.get("srcs").is_none() {
            let help = "add `srcs = [\"FILE\", ...]`".to_owned();
            let message = "the command names `{src}`, but declares no `srcs`";
            let range = line.range.clone();
            reader.error(
                "manifest::bad-command",
                message,
                range,
                "uses `{src}`",
                help,
            );
        }
        for rest in word.split("{input:").skip(1) {
            let Some((name, _)) = rest.split_once('}') else {
                continue;
            };
            if !inputs.iter().any(|input| input.value.to_string() == name) {
                let help = format!("add `\"{name}\"` to `inputs`");
                let message =
                    format!("the command names `{{input:{name}}}`, which is not declared");
                let label = "uses an undeclared input";
                reader.error(
                    "manifest::bad-command",
                    message,
                    line.range.clone(),
                    label,
                    help,
                );
            }
        }
    }
}

fn environment<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(table) = reader.table(section, "env") else {
        return env;
    };
    for (name, value) in table.entries() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts = name
            .value
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.value.chars().all(plain) {
            let message = format!(
                "`{}` is not the name of an environment variable",
                name.value
            );
            let label = "not a variable's name";
            reader.error("manifest::bad-value", message, name.range, label, None);
            continue;
        }
        let Some(value) = reader.as_string(&name.value, value) else {
            continue;
        };
        if value.value.contains('\0') {
            let message = format!("the value of `{}` has a NUL in it", name.value);
            reader.error(
                "manifest::bad-value",
                message,
                value.range,
                "has a NUL",
                None,
            );
            continue;
        }
        env.insert(name.value, value.value);
    }
    env
}

/// A command's output is a table if it has a format; other kinds have none.
fn command_ingestion<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<Ingestion> {
    let Target { label, section, .. } = target;
    if !label.kind().is_tabular() {
        for key in ["columns", "format", "row_number"] {
            if let Some((range, _)) = section.get(key) {
                let message = format!(
                    "`{key}` makes a table, and a {} is none",
                    label.kind().noun()
                );
                reader.error("manifest::not-a-table", message, range, "not a table", None);
            }
        }
        return None;
    }
    let format = match section.get("format") {
        Some(_) => format(reader, section)?,
        None => Format::Files,
    };
    let ingestion = ingestion(reader, section, format);
    (format != Format::Files).then_some(ingestion)
}

fn labels<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Vec<Spanned<Label>> {
    let Some((_, value)) = section.get(key) else {
        return Vec::new();
    };
    let names = reader.names(key, value).unwrap_or_default();
    names
        .into_iter()
        .filter_map(|name| reader.as_label(name))
        .collect()
}

/// A label that must be there.
fn needed<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    help: &str,
) -> Option<Spanned<Label>> {
    if section.get(key).is_none() {
        reader.missing(section, key, help);
    }
    reader.label(section, key)
}

fn train<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<TrainDefinition> {
    let section = target.section;
    let architecture = reader.string(section, "train").and_then(|name| {
        let known = Architecture::find(&name);
        if known.is_none() {
            let names = ARCHITECTURES.iter().map(|known| known.name);
            let help = match nearest(&name, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the architectures are {}", list(names)),
            };
            reader.error(
                "manifest::unknown-architecture",
                format!("unknown architecture `{}`", name.value),
                name.range,
                "not built in",
                help,
            );
        }
        known
    });
    let input = needed(
        reader,
        section,
        "input",
        "name the table to learn from: `input = \"features:train\"`",
    );
    let validate = reader.label(section, "validate");
    let catalog = reader.label(section, "catalog");
    let sequence = column(reader, section, "sequence", "history");
    let label = column(reader, section, "label", "target");
    let architecture = architecture?;
    let params = model_params(reader, section, architecture);
    Some(TrainDefinition {
        architecture: architecture.name.to_owned(),
        params: params?,
        input: input?,
        validate,
        catalog,
        sequence,
        label,
    })
}

/// Every parameter of the architecture: as given, else its default. `None` if one is wrong.
fn model_params<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    architecture: &'static Architecture,
) -> Option<BTreeMap<String, Value>> {
    let known = architecture.params.iter();
    let mut params: BTreeMap<_, _> = known
        .map(|param| (param.name.to_owned(), param.range.default()))
        .collect();
    let before = reader.diagnostics.len();
    if let Some(given) = reader.table(section, "params") {
        for (name, value) in given.entries() {
            let Some(param) = architecture.param(&name) else {
                let names = architecture.params.iter().map(|param| param.name);
                reader.error(
                    "manifest::unknown-parameter",
                    format!("`{}` has no parameter `{}`", architecture.name, name.value),
                    name.range.clone(),
                    "not a parameter",
                    match nearest(&name, names.clone()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if architecture.params.is_empty() => "it has none".to_owned(),
                        None => format!("its parameters are {}", list(names)),
                    },
                );
                continue;
            };
            let Some(scalar) = reader.scalar(&name.value, value) else {
                continue;
            };
            match param.range.accept(&scalar) {
                Some(value) => {
                    params.insert(name.value, value);
                }
                None => reader.error(
                    "manifest::bad-parameter",
                    format!("`{}` must be {}", name.value, param.range.describe()),
                    scalar.range,
                    "not allowed",
                    format!("`{}`: {}", name.value, param.doc),
                ),
            }
        }
        heads_divide_dim(reader, &given, &params);
    }
    (reader.diagnostics.len() == before).then_some(params)
}

fn heads_divide_dim(
    reader: &mut Reader<'_>,
    given: &Section<'_>,
    params: &BTreeMap<String, Value>,
) {
    let int = |name| params.get(name).and_then(Value::as_i64);
    let (Some(dim), Some(heads)) = (int("dim"), int("heads")) else {
        return;
    };
    if dim % heads != 0 {
        let place = given.get("heads").or_else(|| given.get("dim"));
        let range = place.map_or(given.range.clone(), |(_, value)| value.span());
        let message = format!("`dim` {dim} is not a multiple of `heads` {heads}");
        reader.error(
            "manifest::bad-parameter",
            message,
            range,
            "does not divide `dim`",
            None,
        );
    }
}

fn column<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str, default: &str) -> String {
    reader
        .name(section, key)
        .map_or_else(|| default.to_owned(), |name| name.value)
}

fn predict<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<PredictDefinition> {
    let section = target.section;
    let model = reader.label(section, "predict");
    let model = model.filter(|model| expect_kind(reader, model, Kind::Model));
    let input = needed(
        reader,
        section,
        "input",
        "name the table to predict for: `input = \"features:test\"`",
    );
    let k = reader.count(section, "k", (1, 100_000)).unwrap_or(10);
    let exclude_seen = reader.boolean(section, "exclude_seen").unwrap_or(true);
    let sequence = column(reader, section, "sequence", "history");
    Some(PredictDefinition {
        model: model?,
        input: input?,
        k,
        exclude_seen,
        sequence,
    })
}

fn expect_kind(reader: &mut Reader<'_>, label: &Spanned<Label>, kind: Kind) -> bool {
    let fits = label.kind() == kind;
    if !fits {
        let message = format!("`{}` is not a {}", label.value, kind.noun());
        let name = label.kind();
        reader.error(
            "manifest::wrong-kind",
            message,
            label.range.clone(),
            format!("of kind `{name}`"),
            None,
        );
    }
    fits
}

fn evaluate<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<EvaluateDefinition> {
    let section = target.section;
    let predictions = reader
        .one_or_more(section, "predictions")
        .and_then(|names| {
            let given = names.len();
            let labels: Vec<_> = names
                .into_iter()
                .filter_map(|name| reader.as_label(name))
                .collect();
            (labels.len() == given).then_some(labels)
        });
    let truth = needed(
        reader,
        section,
        "truth",
        "name the table with what came true: `truth = \"features:test\"`",
    );
    let catalog = reader.label(section, "catalog");
    let label = column(reader, section, "label", "target");
    let sequence = column(reader, section, "sequence", "history");
    let metrics = metrics(reader, section);
    let title = reader.name(section, "title").map(|title| title.value);
    let title = title.unwrap_or_else(|| match target.label.name() {
        name if name == target.project => name.to_owned(),
        name => format!("{} {name}", target.project).trim_start().to_owned(),
    });
    let gates = gates(reader, section, metrics.as_deref());
    Some(EvaluateDefinition {
        predictions: predictions?,
        truth: truth?,
        catalog,
        label,
        sequence,
        metrics: metrics?,
        title,
        gates,
    })
}

fn metrics<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Vec<Spanned<Metric>>> {
    if section.get("metrics").is_none() {
        reader.missing(
            section,
            "metrics",
            "say what to measure: `metrics = [\"ndcg@10\"]`",
        );
    }
    let names = reader.one_or_more(section, "metrics")?;
    let given = names.len();
    let metrics: Vec<_> = names
        .into_iter()
        .filter_map(|name| metric(reader, name))
        .collect();
    (metrics.len() == given).then_some(metrics)
}

fn metric(reader: &mut Reader<'_>, text: Spanned<String>) -> Option<Spanned<Metric>> {
    if let Ok(value) = text.value.parse() {
        return Some(Spanned {
            value,
            range: text.range,
        });
    }
    let names = MetricName::ALL.map(MetricName::as_str);
    let (name, k) = text.value.split_once('@').unwrap_or((&text.value, "10"));
    let help = match nearest(name, names) {
        Some(near) if near == name && text.value.contains('@') => {
            "the cut-off after `@` is a positive integer, as in `ndcg@10`".to_owned()
        }
        Some(near) => format!("did you mean `{near}@{k}`?"),
        None => format!(
            "the metrics are {}, each with a cut-off, as in `ndcg@10`",
            list(names)
        ),
    };
    let message = format!("unknown metric `{}`", text.value);
    reader.error(
        "manifest::unknown-metric",
        message,
        text.range,
        "not a metric",
        help,
    );
    None
}

fn gates<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    metrics: Option<&[Spanned<Metric>]>,
) -> Vec<GateDeclaration> {
    let Some((key, value)) = section.get("gate") else {
        return Vec::new();
    };
    let DeValue::Array(array) = value.get_ref() else {
        reader.wrong_type("gate", value, "a list of tables: `[[report.NAME.gate]]`");
        return Vec::new();
    };
    let mut gates = Vec::new();
    for item in array.iter() {
        let DeValue::Table(table) = item.get_ref() else {
            reader.wrong_type("gate", item, "a table");
            continue;
        };
        let range = if item.span().is_empty() {
            key.clone()
        } else {
            item.span()
        };
        let name = format!("a gate of {}", section.name);
        gates.extend(gate(reader, &Section { name, table, range }, metrics));
    }
    gates
}

fn gate<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    metrics: Option<&[Spanned<Metric>]>,
) -> Option<GateDeclaration> {
    reader.only(section, keys::GATE);
    let model = reader.name(section, "model");
    if section.get("metric").is_none() {
        reader.missing(section, "metric", "name the metric that it is about");
    }
    let metric = reader
        .string(section, "metric")
        .and_then(|text| metric(reader, text));
    if let (Some(metric), Some(metrics)) = (&metric, metrics)
        && !metrics.iter().any(|known| known.value == metric.value)
    {
        let message = format!("the report does not measure `{}`", metric.value);
        let help = format!("add `\"{}\"` to its `metrics`", metric.value);
        reader.error(
            "manifest::unknown-metric",
            message,
            metric.range.clone(),
            "not measured",
            help,
        );
        return None;
    }
    let bounds: Vec<_> = ["min", "max", "above"]
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .collect();
    let bound = match bounds[..] {
        ["above"] => GateBound::Above(reader.name(section, "above")?),
        [key] => {
            let (_, value) = section.get(key)?;
            let scalar = reader.scalar(key, value)?;
            let Some(number) = scalar.as_f64() else {
                reader.wrong_type(key, value, "a number");
                return None;
            };
            if key == "min" {
                GateBound::Min(number)
            } else {
                GateBound::Max(number)
            }
        }
        _ => {
            let message = format!("{} needs one of `min`, `max` and `above`", section.name);
            let label = if bounds.is_empty() {
                "demands nothing"
            } else {
                "demands several things"
            };
            let help = "declare a gate for each condition".to_owned();
            reader.error(
                "manifest::bad-gate",
                message,
                section.range.clone(),
                label,
                help,
            );
            return None;
        }
    };
    Some(GateDeclaration {
        model,
        metric: metric?,
        bound,
        range: section.range.clone(),
    })
}
