//! Rule `evaluate`.

use std::ops::Range;

use mlbuild_action::{
    Bound, CatalogColumns, Direction, GateSlice, Metric, Resampling, Slicing, StabilityMetric,
    Value,
};
use toml::de::DeValue;

use super::{Target, column, needed};
use crate::reader::{Entry, Reader, Section};
use crate::{
    EvaluateDefinition, GateBound, GateDeclaration, Spanned, StabilityDeclaration, keys, list,
    nearest,
};

/// What parts rows besides columns of `truth`.
const OWN_SLICES: [&str; 3] = ["history_length", "popularity", "training_frequency"];

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
    let training = reader.label(section, "training");
    let labels = labels(reader, section);
    let sequence = column(reader, section, "sequence", "history");
    let metrics = metrics(reader, section, labels.len());
    let title = reader.name(section, "title").map(|title| title.value);
    let title = title.unwrap_or_else(|| match target.label.name() {
        name if name == target.project => name.to_owned(),
        name => format!("{} {name}", target.project).trim_start().to_owned(),
    });
    let mut name = |key: &str| reader.name(section, key).map(|name| name.value);
    let columns = CatalogColumns {
        category: name("category"),
        price: name("price"),
        vector: name("vector"),
    };
    let positive = positive(reader, section);
    let slices = slices(reader, section);
    let stability = tables(reader, section, "stability", stability);
    let gates = tables(reader, section, "gate", |reader, section| {
        gate(reader, section, metrics.as_deref(), &slices)
    });
    Some(EvaluateDefinition {
        predictions: predictions?,
        truth: truth?,
        catalog,
        training,
        allow_leak: reader.boolean(section, "allow_leak").unwrap_or(false),
        labels,
        sequence,
        metrics: metrics?,
        title,
        positive,
        columns,
        slices,
        stability,
        resampling: resampling(reader, section),
        gates,
    })
}

/// The columns of `truth` that hold what came true; several are labels.
fn labels<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let default = || vec!["target".to_owned()];
    let written = match section.get("label") {
        None => return default(),
        Some((_, value)) if value.get_ref().is_array() => match reader.names("label", value) {
            Some(names) if names.is_empty() => {
                let message = "`label` is empty";
                reader.error("manifest::bad-value", message, value.span(), "empty", None);
                None
            }
            names => names,
        },
        Some(_) => reader.name(section, "label").map(|name| vec![name]),
    };
    written.map_or_else(default, |names| {
        names.into_iter().map(|name| name.value).collect()
    })
}

fn positive<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Value> {
    let (_, value) = section.get("positive")?;
    reader.scalar("positive", value).map(|scalar| scalar.value)
}

fn resampling<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Resampling {
    let defaults = Resampling::default();
    let resamples = reader.count(section, "resamples", (100, 100_000));
    let seed = reader.count(section, "seed", (0, u32::MAX));
    Resampling {
        resamples: resamples.unwrap_or(defaults.resamples),
        seed: seed.unwrap_or(defaults.seed),
        confidence: confidence(reader, section).unwrap_or(defaults.confidence),
    }
}

/// How sure something must be: from a half on and less than 1.
fn confidence<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<f64> {
    let (number, range) = number(reader, section, "confidence")?;
    if (0.5..1.0).contains(&number) {
        return Some(number);
    }
    let message = "`confidence` must be at least 0.5 and less than 1";
    let help = "0.95 is usual".to_owned();
    reader.error("manifest::bad-value", message, range, "out of range", help);
    None
}

fn number<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
) -> Option<(f64, Range<usize>)> {
    let (_, value) = section.get(key)?;
    let scalar = reader.scalar(key, value)?;
    let number = scalar.as_f64();
    if number.is_none() {
        reader.wrong_type(key, value, "a number");
    }
    number.map(|number| (number, scalar.range))
}

/// A number of at least 0.
fn amount<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<f64> {
    let (number, range) = number(reader, section, key)?;
    if number >= 0.0 {
        return Some(number);
    }
    let message = format!("`{key}` must be at least 0");
    reader.error("manifest::bad-value", message, range, "out of range", None);
    None
}

fn slices<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<Slicing> {
    let Some((_, value)) = section.get("slices") else {
        return Vec::new();
    };
    let DeValue::Array(array) = value.get_ref() else {
        reader.wrong_type("slices", value, "a list of columns");
        return Vec::new();
    };
    let mut slices: Vec<Slicing> = Vec::new();
    for item in array.iter() {
        let Some(slicing) = slicing(reader, section, item) else {
            continue;
        };
        let column = &slicing.column;
        let (message, label) = if slices.iter().any(|other| other.column == *column) {
            (format!("rows are parted by `{column}` twice"), "again")
        } else if OWN_SLICES.contains(&column.as_str()) {
            let message = format!("`{column}` is what a report parts rows by of its own");
            (message, "not a column")
        } else {
            slices.push(slicing);
            continue;
        };
        reader.error("manifest::bad-value", message, item.span(), label, None);
    }
    slices
}

fn slicing<'t>(reader: &mut Reader<'t>, section: &Section<'t>, item: Entry<'t>) -> Option<Slicing> {
    let table = match item.get_ref() {
        DeValue::String(_) => {
            let column = reader.as_string("slices", item)?.value;
            let bins = Vec::new();
            return Some(Slicing { column, bins });
        }
        DeValue::Table(table) => table,
        _ => {
            let expected = "a column, or a table: `{ column = \"price\", bins = [0, 10, 100] }`";
            reader.wrong_type("slices", item, expected);
            return None;
        }
    };
    let section = Section {
        name: format!("a slice of {}", section.name),
        table,
        range: item.span(),
    };
    reader.only(&section, keys::SLICE);
    if section.get("column").is_none() {
        reader.missing(&section, "column", "name a column of `truth`");
    }
    let column = reader.name(&section, "column")?.value;
    let Some((_, value)) = section.get("bins") else {
        let bins = Vec::new();
        return Some(Slicing { column, bins });
    };
    let mut bins = Vec::new();
    if let DeValue::Array(array) = value.get_ref() {
        for item in array.iter() {
            bins.extend(reader.scalar("bins", item)?.as_f64());
        }
        if bins.len() < array.len() {
            bins.clear();
        }
    }
    if bins.is_empty() || bins.windows(2).any(|pair| pair[0] >= pair[1]) {
        let message = "`bins` must be a list of rising numbers";
        reader.error(
            "manifest::bad-value",
            message,
            value.span(),
            "not bounds",
            None,
        );
        return None;
    }
    Some(Slicing { column, bins })
}

/// The entries of a list of tables: `[[report.NAME.key]]`.
fn tables<'t, T>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    mut read: impl FnMut(&mut Reader<'t>, &Section<'t>) -> Option<T>,
) -> Vec<T> {
    let Some((range_of_key, value)) = section.get(key) else {
        return Vec::new();
    };
    let DeValue::Array(array) = value.get_ref() else {
        reader.wrong_type(
            key,
            value,
            &format!("a list of tables: `[[report.NAME.{key}]]`"),
        );
        return Vec::new();
    };
    let mut entries = Vec::new();
    for item in array.iter() {
        let DeValue::Table(table) = item.get_ref() else {
            reader.wrong_type(key, item, "a table");
            continue;
        };
        let range = if item.span().is_empty() {
            range_of_key.clone()
        } else {
            item.span()
        };
        let name = match key {
            "gate" => format!("a gate of {}", section.name),
            _ => format!("a test of `{key}` of {}", section.name),
        };
        entries.extend(read(reader, &Section { name, table, range }));
    }
    entries
}

fn stability<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<StabilityDeclaration> {
    reader.only(section, keys::STABILITY);
    let name = reader.name(section, "name").map(|name| name.value);
    let mut table = |key: &str, help: &str| needed(reader, section, key, help);
    let baseline = table(
        "baseline",
        "name the predictions for the inputs as they are",
    );
    let perturbed = table("perturbed", "name the predictions for the changed inputs");
    let tolerance = amount(reader, section, "tolerance");
    if section.get("metric").is_none() {
        reader.missing(
            section,
            "metric",
            "say how they are compared: `metric = \"overlap@10\"`",
        );
    }
    let metric = reader.string(section, "metric")?;
    let known = stability_metric(&metric.value, tolerance.unwrap_or(0.0));
    let Some(known) = known else {
        let message = format!("unknown comparison `{}`", metric.value);
        let help = "predictions are compared by `overlap@10`, `rbo@10`, `changed`, `increased` and `decreased`";
        let help = help.to_owned();
        reader.error(
            "manifest::unknown-metric",
            message,
            metric.range,
            "not a comparison",
            help,
        );
        return None;
    };
    if let (Some(_), Some((range, _)), Some(_)) = (tolerance, section.get("tolerance"), known.k()) {
        let message = format!("`{known}` has no `tolerance`");
        reader.error("manifest::bad-value", message, range, "of no use", None);
    }
    let bounds: Vec<_> = ["min", "max"]
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .collect();
    let bound = match bounds[..] {
        [] => None,
        ["min"] => Some(Bound::Min(number(reader, section, "min")?.0)),
        ["max"] => Some(Bound::Max(number(reader, section, "max")?.0)),
        _ => {
            let message = format!("{} needs one of `min` and `max`, or none", section.name);
            let range = section.range.clone();
            reader.error(
                "manifest::bad-gate",
                message,
                range,
                "demands several things",
                None,
            );
            return None;
        }
    };
    Some(StabilityDeclaration {
        name,
        baseline: baseline?,
        perturbed: perturbed?,
        metric: Spanned {
            value: known,
            range: metric.range,
        },
        bound,
    })
}

fn stability_metric(text: &str, tolerance: f64) -> Option<StabilityMetric> {
    match text.split_once('@') {
        Some(("overlap", k)) => Some(StabilityMetric::Overlap(k.parse().ok()?)),
        Some(("rbo", k)) => Some(StabilityMetric::Rbo(k.parse().ok()?)),
        Some(_) => None,
        None => match text {
            "changed" => Some(StabilityMetric::Changed(tolerance)),
            "increased" => Some(StabilityMetric::Increased(tolerance)),
            "decreased" => Some(StabilityMetric::Decreased(tolerance)),
            _ => None,
        },
    }
}

fn metrics<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    labels: usize,
) -> Option<Vec<Spanned<Metric>>> {
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
    if metrics.len() < given {
        return None;
    }
    one_kind(reader, &metrics, labels)?;
    Some(metrics)
}

/// Complains about metrics that are not of the same kind of predictions.
fn one_kind(reader: &mut Reader<'_>, metrics: &[Spanned<Metric>], labels: usize) -> Option<()> {
    let of = |metric: Metric| match metric {
        Metric::Ranked { .. } => "ranked lists",
        Metric::Classes(name) if labels > 1 && name.of_labels() => "several labels a row",
        Metric::Classes(name) if labels <= 1 && name.of_classes() => "one class a row",
        Metric::Classes(name) if name.of_labels() => "several labels a row",
        Metric::Classes(_) => "one class a row",
        Metric::Numbers(_) => "numbers",
    };
    let first = match labels {
        0 | 1 => of(metrics[0].value),
        _ => "several labels a row",
    };
    let Some(other) = metrics.iter().find(|metric| of(metric.value) != first) else {
        return Some(());
    };
    let message = match labels {
        0 | 1 => format!(
            "`{}` is about {first}, and `{}` about {}",
            metrics[0].value,
            other.value,
            of(other.value)
        ),
        _ => format!(
            "`label` names several labels a row, and `{}` is about {}",
            other.value,
            of(other.value)
        ),
    };
    let help = if of(other.value) == "several labels a row" || labels > 1 {
        "name one column in `label` for one class a row, several boolean columns for labels"
    } else {
        "a report is of one kind of predictions: declare one report for each"
    };
    let (code, label) = ("manifest::mixed-metrics", "of another kind");
    reader.error(code, message, other.range.clone(), label, help.to_owned());
    None
}

fn metric(reader: &mut Reader<'_>, text: Spanned<String>) -> Option<Spanned<Metric>> {
    if let Ok(value) = text.value.parse() {
        return Some(Spanned {
            value,
            range: text.range,
        });
    }
    let names = Metric::names();
    let known = |name: &str| names.iter().any(|known| known == name);
    let (name, argument) = text.value.split_once('@').unwrap_or((&text.value, ""));
    let words = names
        .iter()
        .map(|name| name.split_once('@').map_or(&**name, |(name, _)| name));
    let near = nearest(name, words.clone());
    let help = match near {
        Some(near) if near == name && known(&format!("{near}@10")) && !argument.is_empty() => {
            "the cut-off after `@` is a positive integer, as in `ndcg@10`".to_owned()
        }
        Some(near) if near == name && known(&format!("{near}@0.9")) && !argument.is_empty() => {
            "the quantile after `@` is between 0 and 1, as in `pinball@0.9`".to_owned()
        }
        Some(near) => match (argument, known(&format!("{near}@10"))) {
            ("", true) => format!("did you mean `{near}@10`?"),
            (k, true) => format!("did you mean `{near}@{k}`?"),
            (_, false) if known(&format!("{near}@0.9")) => format!("did you mean `{near}@0.9`?"),
            _ => format!("did you mean `{near}`?"),
        },
        None => format!("the metrics are {}", list(names.iter().map(String::as_str))),
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

fn gate<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    metrics: Option<&[Spanned<Metric>]>,
    slices: &[Slicing],
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
    let bound = gate_bound(reader, section)?;
    let metric = metric?;
    in_its_direction(reader, &metric, &bound)?;
    let beats_another = matches!(bound, GateBound::Above(_) | GateBound::Below(_));
    let margin = amount(reader, section, "margin").unwrap_or(0.0);
    if let (Some((range, _)), false) = (section.get("margin"), beats_another) {
        let message = "`margin` is by how much another model must be beaten";
        let help = "with `min` or `max`, move the bound itself".to_owned();
        reader.error("manifest::bad-gate", message, range, "beats no model", help);
    }
    Some(GateDeclaration {
        model,
        metric,
        bound,
        margin,
        confidence: confidence(reader, section),
        slice: gate_slice(reader, section, slices),
        range: section.range.clone(),
    })
}

fn gate_bound<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<GateBound> {
    let bounds: Vec<_> = ["min", "max", "above", "below"]
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .collect();
    Some(match bounds[..] {
        ["above"] => GateBound::Above(reader.name(section, "above")?),
        ["below"] => GateBound::Below(reader.name(section, "below")?),
        ["min"] => GateBound::Min(number(reader, section, "min")?.0),
        ["max"] => GateBound::Max(number(reader, section, "max")?.0),
        _ => {
            let message = format!(
                "{} needs one of `min`, `max`, `above` and `below`",
                section.name
            );
            let label = if bounds.is_empty() {
                "demands nothing"
            } else {
                "demands several things"
            };
            let help = "declare a gate for each condition".to_owned();
            let range = section.range.clone();
            reader.error("manifest::bad-gate", message, range, label, help);
            return None;
        }
    })
}

/// Complains about a gate that demands a worse figure than another model's.
fn in_its_direction(
    reader: &mut Reader<'_>,
    metric: &Spanned<Metric>,
    bound: &GateBound,
) -> Option<()> {
    let (written, range, other) = match (bound, metric.value.direction()) {
        (GateBound::Above(name), Direction::Lower) => ("above", &name.range, "below"),
        (GateBound::Below(name), Direction::Higher) => ("below", &name.range, "above"),
        _ => return Some(()),
    };
    let which = if other == "below" { "lower" } else { "higher" };
    let message = format!(
        "of `{}` a {which} figure is better, so `{written}` demands a worse one",
        metric.value
    );
    let help = format!("write `{other}`");
    reader.error(
        "manifest::bad-gate",
        message,
        range.clone(),
        "the wrong way",
        help,
    );
    None
}

fn gate_slice<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    slices: &[Slicing],
) -> Option<Spanned<GateSlice>> {
    let min_rows = reader.count(section, "min_rows", (1, u32::MAX));
    let Some(text) = reader.name(section, "slice") else {
        if let (Some((range, _)), None) = (section.get("min_rows"), section.get("slice")) {
            let message =
                "`min_rows` says which parts of the rows are judged, and there is no `slice`";
            reader.error("manifest::bad-gate", message, range, "of no use", None);
        }
        return None;
    };
    let (by, group) = match text.value.split_once('=') {
        Some((by, group)) => (by.trim(), Some(group.trim().to_owned())),
        None => (text.value.trim(), None),
    };
    let columns = slices.iter().map(|slicing| slicing.column.as_str());
    let known: Vec<_> = columns.chain(OWN_SLICES).collect();
    if !known.contains(&by) {
        let message = format!("the report does not part its rows by `{by}`");
        let help = match nearest(by, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "add `\"{by}\"` to its `slices`; of its own it parts rows by {}",
                list(OWN_SLICES)
            ),
        };
        reader.error(
            "manifest::unknown-slice",
            message,
            text.range,
            "not a slice",
            help,
        );
        return None;
    }
    Some(Spanned {
        value: GateSlice {
            by: by.to_owned(),
            group,
            min_rows: u64::from(min_rows.unwrap_or(30)),
        },
        range: text.range,
    })
}
