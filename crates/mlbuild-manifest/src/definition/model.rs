//! Rules `train` and `predict`.

use std::collections::BTreeMap;

use mlbuild_action::Value;

use super::{Target, column, needed};
use crate::reader::{Reader, Section};
use crate::{
    ARCHITECTURES, Architecture, Kind, Label, PredictDefinition, Spanned, TrainDefinition, list,
    nearest,
};

pub(super) fn train<'t>(
    reader: &mut Reader<'t>,
    target: &Target<'_, 't>,
) -> Option<TrainDefinition> {
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
