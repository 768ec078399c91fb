//! Rules `train` and `predict`.

use std::collections::BTreeMap;
use std::ops::Range;

use mlbuild_action::{Task, Value};
use toml::de::DeValue;

use super::foreach::Made;
use super::{Target, column, foreach, needed};
use crate::reader::{Entry, Reader, Section};
use crate::{
    ARCHITECTURES, Architecture, Definition, Kind, Label, ParamRange, PredictDefinition, Spanned,
    SubjectDefinition, SubjectKind, TabularDefinition, TrainDefinition, keys, list, nearest,
};

pub(super) fn train<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<Made> {
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
    let architecture = architecture?;
    let params = model_params(reader, section, architecture);
    let subject = match architecture.subject {
        SubjectKind::Sequences => Some(SubjectDefinition::Sequences {
            sequence: column(reader, section, "sequence", "history"),
            label: column(reader, section, "label", "target"),
        }),
        SubjectKind::Table { tasks, features } => {
            let tabular = tabular(reader, section, architecture, tasks);
            tabular.map(|tabular| {
                SubjectDefinition::Table(match features {
                    true => tabular,
                    false => without_features(tabular),
                })
            })
        }
    };
    keys_of_the_subject(reader, section, architecture);
    let (params, input, subject) = (params?, input?, subject?);
    foreach::made(
        reader,
        target,
        &mut |reader, name, value| model_param(reader, architecture, name, value),
        &mut |reader, point| {
            let mut params = params.clone();
            for (name, value) in point {
                params.insert(name.clone(), value.value.clone());
            }
            let place = |name: &str| point.get(name).map(|value| value.range.clone());
            let place = |name: &str| place(name).or_else(|| of_params(section, name));
            heads_divide_dim(reader, &params, place("heads").or_else(|| place("dim")))?;
            Some(Definition::Train(TrainDefinition {
                architecture: architecture.name.to_owned(),
                params,
                input: input.clone(),
                validate: validate.clone(),
                catalog: catalog.clone(),
                subject: subject.clone(),
            }))
        },
    )
}

/// Complains about keys that only models of another subject have.
fn keys_of_the_subject(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    architecture: &'static Architecture,
) {
    let (wrong, help) = match architecture.subject {
        SubjectKind::Sequences => (keys::OF_TABLES, "models of tables have it: `logistic`"),
        SubjectKind::Table { .. } => (keys::OF_SEQUENCES, "models of sequences have it: `sasrec`"),
    };
    for key in wrong {
        if let Some((range, _)) = section.get(key) {
            reader.error(
                "manifest::unknown-key",
                format!("`{key}` does not belong to `{}`", architecture.name),
                range,
                "not a key here",
                help.to_owned(),
            );
        }
    }
}

fn tabular<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    architecture: &'static Architecture,
    tasks: &'static [Task],
) -> Option<TabularDefinition> {
    if section.get("label").is_none() {
        let help = "name the column to predict: `label = \"churned\"`";
        reader.missing(section, "label", help);
    }
    let label = reader.one_or_more(section, "label");
    let task = task(reader, section, architecture, tasks);
    let features = section
        .get("columns")
        .map(|_| columns(reader, section, "columns"));
    let categories = columns(reader, section, "categories");
    let allow_leak = columns(reader, section, "allow_leak");
    let time = reader.name(section, "time").map(|name| name.value);
    let label = label?;
    for name in features.iter().flatten() {
        if label.iter().any(|label| label.value == name.value) {
            let message = format!("`{}` is a label, and cannot tell what it is", name.value);
            let (range, label) = (name.range.clone(), "the label");
            let help = "leave it out of `columns`".to_owned();
            reader.error("manifest::bad-value", message, range, label, help);
        }
    }
    if let (Some(task), Some((_, value))) = (task, section.get("task"))
        && (task == Task::Multilabel) != (label.len() > 1)
    {
        let message = match label.len() {
            1 => "`multilabel` needs several labels".to_owned(),
            several => format!("a task of {several} labels is `multilabel`"),
        };
        let help =
            "several labels are a list of boolean columns: `label = [\"is_new\", \"is_big\"]`";
        let code = "manifest::bad-value";
        reader.error(
            code,
            message,
            value.span(),
            "does not fit `label`",
            help.to_owned(),
        );
    }
    Some(TabularDefinition {
        label,
        columns: features.map(sorted),
        categories: sorted(categories),
        task,
        allow_leak: sorted(allow_leak),
        time,
    })
}

/// What stays for an architecture that looks at no feature. The same options as for others are allowed, since it is what
/// others are compared with; but they change nothing.
fn without_features(tabular: TabularDefinition) -> TabularDefinition {
    TabularDefinition {
        columns: Some(Vec::new()),
        categories: Vec::new(),
        allow_leak: Vec::new(),
        ..tabular
    }
}

fn task<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    architecture: &'static Architecture,
    tasks: &'static [Task],
) -> Option<Task> {
    let written = reader.string(section, "task")?;
    let known = Task::ALL
        .into_iter()
        .find(|task| task.as_str() == written.value);
    let (message, label) = match known {
        None => (format!("unknown task `{}`", written.value), "not a task"),
        Some(task) if !tasks.contains(&task) => (
            format!("`{}` has no task `{}`", architecture.name, task.as_str()),
            "not one of its tasks",
        ),
        Some(_) => return known,
    };
    let help = format!(
        "its tasks are {}",
        list(tasks.iter().map(|task| task.as_str()))
    );
    reader.error("manifest::bad-value", message, written.range, label, help);
    None
}

/// A list of columns; empty if there is none.
fn columns<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Vec<Spanned<String>> {
    let value = section.get(key);
    let names = value.and_then(|(_, value)| reader.names(key, value));
    names.unwrap_or_default()
}

fn sorted(columns: Vec<Spanned<String>>) -> Vec<String> {
    let mut columns: Vec<_> = columns.into_iter().map(|column| column.value).collect();
    columns.sort();
    columns
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
            if let Some(value) = model_param(reader, architecture, &name, value) {
                params.insert(name.value, value);
            }
        }
    }
    (reader.diagnostics.len() == before).then_some(params)
}

/// A list of integers as the text that [`ParamRange::Ints`] takes.
fn integers(reader: &mut Reader<'_>, key: &str, value: Entry<'_>) -> Option<Spanned<Value>> {
    let DeValue::Array(items) = value.get_ref() else {
        return None;
    };
    let mut words = Vec::new();
    for item in items {
        let DeValue::Integer(_) = item.get_ref() else {
            reader.wrong_type(key, item, "a list of integers");
            return None;
        };
        words.push(reader.scalar(key, item)?.to_string());
    }
    Some(Spanned {
        value: Value::Text(words.join(",")),
        range: value.span(),
    })
}

/// A parameter of the architecture; `None`, with a complaint, if it has none of this name or not with this value.
fn model_param(
    reader: &mut Reader<'_>,
    architecture: &'static Architecture,
    name: &Spanned<String>,
    value: Entry<'_>,
) -> Option<Value> {
    let Some(param) = architecture.param(name) else {
        let names = architecture.params.iter().map(|param| param.name);
        reader.error(
            "manifest::unknown-parameter",
            format!("`{}` has no parameter `{}`", architecture.name, name.value),
            name.range.clone(),
            "not a parameter",
            match nearest(name, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if architecture.params.is_empty() => "it has none".to_owned(),
                None => format!("its parameters are {}", list(names)),
            },
        );
        return None;
    };
    let scalar = match (param.range, value.get_ref()) {
        (ParamRange::Ints { .. }, DeValue::Array(_)) => integers(reader, &name.value, value),
        _ => reader.scalar(&name.value, value),
    }?;
    let accepted = param.range.accept(&scalar);
    if accepted.is_none() {
        reader.error(
            "manifest::bad-parameter",
            format!("`{}` must be {}", name.value, param.range.describe()),
            scalar.range,
            "not allowed",
            format!("`{}`: {}", name.value, param.doc),
        );
    }
    accepted
}

/// Where a parameter's value stands in `params`.
fn of_params(section: &Section<'_>, name: &str) -> Option<Range<usize>> {
    let (_, params) = section.get("params")?;
    let DeValue::Table(params) = params.get_ref() else {
        return None;
    };
    let mut entries = params.iter();
    let (_, value) = entries.find(|(key, _)| key.get_ref() == name)?;
    Some(value.span())
}

/// Complains at `place`, one of the two, if `heads` does not divide `dim`.
fn heads_divide_dim(
    reader: &mut Reader<'_>,
    params: &BTreeMap<String, Value>,
    place: Option<Range<usize>>,
) -> Option<()> {
    let int = |name| params.get(name).and_then(Value::as_i64);
    let (Some(dim), Some(heads)) = (int("dim"), int("heads")) else {
        return Some(());
    };
    if dim % heads == 0 {
        return Some(());
    }
    let message = format!("`dim` {dim} is not a multiple of `heads` {heads}");
    reader.error(
        "manifest::bad-parameter",
        message,
        place.unwrap_or_default(),
        "does not divide `dim`",
        None,
    );
    None
}

pub(super) fn predict<'t>(
    reader: &mut Reader<'t>,
    target: &Target<'_, 't>,
) -> Option<PredictDefinition> {
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
    let entries = section.entries().into_iter().map(|(key, _)| key);
    let of_sequences = entries.filter(|key| keys::PREDICT_OF_SEQUENCES.contains(&&*key.value));
    let of_sequences = of_sequences.collect();
    Some(PredictDefinition {
        model: model?,
        input: input?,
        k,
        exclude_seen,
        sequence,
        of_sequences,
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
