//! Which column of a table plays which part, decided from its schema alone: before any row is read, and the same when the
//! work is planned as when it runs.

use arrow::datatypes::DataType;
use mlbuild_action::{Diagnostic, Failure, Field, Schema, Tabular, Task};
use mlbuild_table::parse_type;

/// The parts of a training table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// What the label is.
    pub(crate) task: Task,
    /// The columns to predict.
    pub(crate) labels: Vec<Field>,
    /// The columns to predict them from, sorted by name.
    pub(crate) features: Vec<Feature>,
}

/// A column to predict from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Feature {
    pub(crate) name: String,
    /// Its type in the training table: `Int64`.
    pub(crate) data_type: String,
    pub(crate) kind: Kind,
}

/// What a feature's values mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Amounts.
    Number,
    /// One of several words.
    Category,
}

/// What values a type holds, as far as features and labels care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Values {
    Integers,
    Floats,
    Booleans,
    Texts,
    Moments,
    Others,
}

impl Values {
    pub(crate) fn of(data_type: &str) -> Self {
        match parse_type(data_type) {
            Some(DataType::Boolean) => Self::Booleans,
            Some(DataType::Utf8) => Self::Texts,
            Some(DataType::Float32 | DataType::Float64) => Self::Floats,
            Some(DataType::Decimal128(..) | DataType::Decimal256(..)) => Self::Floats,
            Some(DataType::Date32 | DataType::Timestamp(..) | DataType::Time64(_)) => Self::Moments,
            Some(data_type) if data_type.is_integer() => Self::Integers,
            _ => Self::Others,
        }
    }
}

/// The parts of the table `input`.
///
/// # Errors
/// Columns that are not there, whose type fits no part, or that leave nothing to learn from.
pub(crate) fn layout(
    architecture: &str,
    tabular: &Tabular,
    schema: &Schema,
) -> Result<Layout, Failure> {
    let labels = tabular.label.iter().map(|label| field(schema, label));
    let labels: Vec<Field> = labels.collect::<Result<_, _>>()?;
    let task = task(tabular.task, &labels)?;
    fits_architecture(architecture, task, &labels[0])?;
    if let Some(time) = &tabular.time {
        field(schema, time)?;
    }
    let features = features(tabular, schema)?;
    for (key, named) in [
        ("categories", &tabular.categories),
        ("allow_leak", &tabular.allow_leak),
    ] {
        let is_feature = |name: &&String| features.iter().any(|feature| feature.name == **name);
        if let Some(name) = named.iter().find(|name| !is_feature(name)) {
            field(schema, name)?;
            let message = format!("`{key}` names `{name}`, which is no feature");
            let help = "labels, keys, the time and what `columns` leaves out are none";
            return Err(refuse("model::not-a-feature", message, help));
        }
    }
    // A declared empty list is that of an architecture that looks at none.
    if features.is_empty()
        && tabular
            .columns
            .as_ref()
            .is_none_or(|named| !named.is_empty())
    {
        let message = "no column of `input` is left to predict from";
        let help = format!("it has {}", described(schema));
        return Err(refuse("model::no-features", message, help));
    }
    Ok(Layout {
        task,
        labels,
        features,
    })
}

/// The names of columns that are features.
fn features(tabular: &Tabular, schema: &Schema) -> Result<Vec<Feature>, Failure> {
    let names: Vec<&str> = match &tabular.columns {
        Some(columns) => columns.iter().map(String::as_str).collect(),
        None => {
            let all = schema.columns.iter().map(|field| field.name.as_str());
            let mut names: Vec<_> = all.filter(|name| !is_named(tabular, name)).collect();
            names.sort_unstable();
            names
        }
    };
    let feature = |name: &str| {
        let Field { name, data_type } = field(schema, name)?;
        let listed = tabular.categories.contains(&name);
        let kind = kind(&name, &data_type, listed)?;
        Ok(Feature {
            name,
            data_type,
            kind,
        })
    };
    names.into_iter().map(feature).collect()
}

/// Whether a column plays another part than that of a feature.
fn is_named(tabular: &Tabular, name: &str) -> bool {
    let mut others = tabular
        .label
        .iter()
        .chain(&tabular.key)
        .chain(&tabular.time);
    others.any(|other| other == name)
}

fn kind(name: &str, data_type: &str, listed: bool) -> Result<Kind, Failure> {
    let values = Values::of(data_type);
    match values {
        Values::Integers | Values::Booleans if listed => Ok(Kind::Category),
        Values::Texts => Ok(Kind::Category),
        Values::Floats if listed => {
            let message =
                format!("column `{name}` of `input` is {data_type}: it holds no categories");
            let help = format!(
                "round it or make ranges of it in the query, or take it out of `categories`; `cast({name} as bigint)`"
            );
            Err(refuse("model::feature-type", message, help))
        }
        Values::Integers | Values::Booleans | Values::Floats => Ok(Kind::Number),
        Values::Moments => {
            let message =
                format!("column `{name}` of `input` is {data_type}: a moment is no feature");
            let help = format!(
                "make numbers of it in the query, such as `date_part('month', {name})`; or name the features in `columns`, \
                 or say that it is the `time` of the rows"
            );
            Err(refuse("model::feature-type", message, help))
        }
        Values::Others => {
            let message = format!("column `{name}` of `input` is {data_type}, which is no feature");
            let help = "features are numbers, booleans and texts; name those meant in `columns`";
            Err(refuse("model::feature-type", message, help))
        }
    }
}

fn task(declared: Option<Task>, labels: &[Field]) -> Result<Task, Failure> {
    if let [_, _, ..] = labels {
        let other = |label: &&Field| Values::of(&label.data_type) != Values::Booleans;
        return match labels.iter().find(other) {
            None => Ok(Task::Multilabel),
            Some(Field { name, data_type }) => {
                let message =
                    format!("label `{name}` of `input` is {data_type}, and one of several");
                let help = "several labels are boolean columns, each predicted for itself";
                Err(refuse("model::label-type", message, help))
            }
        };
    }
    let Field { name, data_type } = &labels[0];
    let wrong = |what: &str, help: &str| {
        let message = format!("label `{name}` of `input` is {data_type}, which {what}");
        Err(refuse("model::label-type", message, help))
    };
    match (Values::of(data_type), declared) {
        (Values::Booleans | Values::Texts | Values::Integers, Some(Task::Multilabel))
        | (Values::Floats, Some(Task::Multilabel)) => {
            wrong("is one label", "name several, or leave `task` away")
        }
        (Values::Booleans | Values::Texts, Some(Task::Regression)) => wrong(
            "is no amount",
            "leave `task` away, or cast it to a number in the query",
        ),
        (Values::Booleans, _) => Ok(Task::Binary),
        (Values::Texts, declared) => Ok(declared.unwrap_or(Task::Multiclass)),
        (Values::Floats, None | Some(Task::Regression)) => Ok(Task::Regression),
        (Values::Floats, Some(_)) => wrong(
            "holds no classes",
            "classes are integers, texts or booleans; cast it in the query",
        ),
        (Values::Integers, Some(task)) => Ok(task),
        (Values::Integers, None) => {
            let message =
                format!("label `{name}` of `input` is {data_type}: are these amounts or classes?");
            let help =
                "say `task = \"regression\"`, `task = \"binary\"` or `task = \"multiclass\"`";
            Err(refuse("model::task", message, help))
        }
        (Values::Moments | Values::Others, _) => wrong(
            "cannot be predicted",
            "a label is a boolean, a text or a number",
        ),
    }
}

fn fits_architecture(architecture: &str, task: Task, label: &Field) -> Result<(), Failure> {
    let (wrong, other) = match architecture {
        "logistic" => (task == Task::Regression, "`linear` predicts numbers"),
        "linear" => (task != Task::Regression, "`logistic` predicts classes"),
        _ => (false, ""),
    };
    if !wrong {
        return Ok(());
    }
    let Field { name, data_type } = label;
    let task = task.as_str();
    let message =
        format!("`{architecture}` has no task `{task}`, and label `{name}` is {data_type}");
    Err(refuse("model::task", message, other))
}

/// Whether the table `name` can be given to a model with these features: it has each, with values of the same kind.
pub(crate) fn same_columns<'a>(
    name: &str,
    features: impl Iterator<Item = (&'a str, &'a str)>,
    schema: &Schema,
) -> Result<(), Failure> {
    for (feature, trained) in features {
        let Some(found) = schema.columns.iter().find(|field| field.name == feature) else {
            let message =
                format!("`{name}` has no column `{feature}`, which the model was trained on");
            let help = format!("it has {}", described(schema));
            return Err(refuse("model::no-column", message, help));
        };
        let numbers = |values| match values {
            Values::Integers | Values::Floats => Values::Floats,
            other => other,
        };
        let [ours, theirs] =
            [&found.data_type, trained].map(|data_type| numbers(Values::of(data_type)));
        if ours != theirs {
            let message = format!(
                "column `{feature}` of `{name}` is {}, and the model was trained on {trained}",
                found.data_type
            );
            let help = "cast it in the query that makes the table";
            return Err(refuse("model::column-type", message, help));
        }
    }
    Ok(())
}

/// The column of this name in `input`.
fn field(schema: &Schema, name: &str) -> Result<Field, Failure> {
    let found = schema.columns.iter().find(|field| field.name == name);
    found.cloned().ok_or_else(|| {
        let message = format!("`input` has no column `{name}`");
        refuse(
            "model::no-column",
            message,
            format!("it has {}", described(schema)),
        )
    })
}

fn described(schema: &Schema) -> String {
    let fields = schema.columns.iter();
    let described: Vec<_> = fields
        .map(|Field { name, data_type }| format!("`{name}: {data_type}`"))
        .collect();
    described.join(", ")
}

/// The user's mistake, and what to do about it.
pub(crate) fn refuse(
    code: &'static str,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Failure {
    Failure::Invalid(Diagnostic::error(code, message).help(help))
}
