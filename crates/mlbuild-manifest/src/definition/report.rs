//! Rule `evaluate`.

use mlbuild_action::{Metric, MetricName};
use toml::de::DeValue;

use super::{Target, column, needed};
use crate::reader::{Reader, Section};
use crate::{EvaluateDefinition, GateBound, GateDeclaration, Spanned, keys, list, nearest};

pub(super) fn evaluate<'t>(
    reader: &mut Reader<'t>,
    target: &Target<'_, 't>,
) -> Option<EvaluateDefinition> {
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
