//! Labels: classes with their order, or amounts.

use mlbuild_action::{Cancel, Diagnostic, Failure, Field, InputFolder, Task};

use super::columns::{Kind, Values, refuse};
use super::read::{Column, Words, read};

/// A column to predict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Label {
    pub(crate) name: String,
    /// Its type in the training table.
    pub(crate) data_type: String,
    /// Its classes in order: integers by value, texts by their bytes, `false` before `true`. Empty for amounts.
    pub(crate) classes: Vec<String>,
}

/// The labels of a table's rows.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Truth {
    /// For each label, each row's class.
    Classes(Vec<Vec<u32>>),
    /// Each row's amount.
    Amounts(Vec<f64>),
}

/// Reads the labels of the training table, and learns their classes. Also says what is odd about them.
///
/// # Errors
/// Nulls; one class only, or more than the task has; amounts that are all the same.
pub(crate) fn learn(
    task: Task,
    fields: &[Field],
    input: &InputFolder,
    cancel: &Cancel,
) -> Result<(Vec<Label>, Truth, Vec<String>), Failure> {
    const TABLE: &str = "input";
    let columns = columns(TABLE, task, fields, input, cancel)?;
    if columns[0].len() == 0 {
        return Err(refuse(
            "model::empty",
            "`input` has no rows to train on",
            "see whether the query that makes it filters too much",
        ));
    }
    let (mut labels, mut all, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for (field, column) in fields.iter().zip(columns) {
        let Field { name, data_type } = field.clone();
        refuse_nulls(TABLE, &name, &column)?;
        match column {
            Column::Numbers(values) => {
                let values: Vec<f64> = values.into_iter().flatten().collect();
                if values.iter().all(|value| *value == values[0]) {
                    return Err(one_value(&name, &values[0].to_string()));
                }
                let classes = Vec::new();
                let label = Label {
                    name,
                    data_type,
                    classes,
                };
                return Ok((vec![label], Truth::Amounts(values), warnings));
            }
            Column::Words(words) => {
                let classes = classes(task, &name, &data_type, &words)?;
                let codes = codes(&classes, &words).expect("every word is a class");
                warnings.extend(rare(&name, &classes, &codes));
                all.push(codes);
                labels.push(Label {
                    name,
                    data_type,
                    classes,
                });
            }
        }
    }
    Ok((labels, Truth::Classes(all), warnings))
}

/// Reads the labels of another table.
///
/// # Errors
/// Nulls, and classes that training did not have.
pub(crate) fn look_up(
    table: &str,
    task: Task,
    labels: &[Label],
    input: &InputFolder,
    cancel: &Cancel,
) -> Result<Truth, Failure> {
    let field = |label: &Label| Field {
        name: label.name.clone(),
        data_type: label.data_type.clone(),
    };
    let fields: Vec<_> = labels.iter().map(field).collect();
    let columns = columns(table, task, &fields, input, cancel)?;
    let mut all = Vec::new();
    for (label, column) in labels.iter().zip(columns) {
        refuse_nulls(table, &label.name, &column)?;
        match column {
            Column::Numbers(values) => {
                return Ok(Truth::Amounts(values.into_iter().flatten().collect()));
            }
            Column::Words(words) => all.push(codes(&label.classes, &words).map_err(|row| {
                let word = words.codes[row].map(|code| &*words.words[code as usize]);
                let message = format!(
                    "label `{}` of `{table}` is {:?} in row {}, a class that training does not have",
                    label.name,
                    word.unwrap_or_default(),
                    row + 1
                );
                let help = format!("the classes of `input` are {}", shown(&label.classes));
                refuse("model::unknown-class", message, help)
            })?),
        }
    }
    Ok(Truth::Classes(all))
}

fn columns(
    table: &str,
    task: Task,
    fields: &[Field],
    input: &InputFolder,
    cancel: &Cancel,
) -> Result<Vec<Column>, Failure> {
    let kind = match task {
        Task::Regression => Kind::Number,
        Task::Binary | Task::Multiclass | Task::Multilabel => Kind::Category,
    };
    let names: Vec<_> = fields
        .iter()
        .map(|field| (field.name.as_str(), kind))
        .collect();
    read(table, input, &names, cancel)
}

fn refuse_nulls(table: &str, name: &str, column: &Column) -> Result<(), Failure> {
    let nulls: Vec<usize> = match column {
        Column::Numbers(values) => nulls(values),
        Column::Words(words) => nulls(&words.codes),
    };
    let Some(first) = nulls.first() else {
        return Ok(());
    };
    let message = format!("label `{name}` of `{table}` is null in row {}", first + 1);
    let more = (nulls.len() > 1).then(|| format!("{} labels are null in all", nulls.len()));
    Err(Failure::Invalid(
        Diagnostic::error("model::null-label", message)
            .detail(more)
            .help("filter out rows without a label in the query that makes the table"),
    ))
}

fn nulls<T>(values: &[Option<T>]) -> Vec<usize> {
    let rows = values.iter().enumerate();
    rows.filter(|(_, value)| value.is_none())
        .map(|(row, _)| row)
        .collect()
}

/// The classes in order.
fn classes(task: Task, name: &str, data_type: &str, words: &Words) -> Result<Vec<String>, Failure> {
    let mut classes = words.words.clone();
    match Values::of(data_type) {
        // Integers were written by us, so they can be read.
        Values::Integers => classes.sort_by_key(|class| class.parse::<i128>().unwrap_or(0)),
        _ => classes.sort_unstable(),
    }
    match classes.len() {
        1 => Err(one_value(name, &classes[0])),
        n if n > 2 && task == Task::Binary => {
            let message =
                format!("label `{name}` of `input` has {n} classes, and the task is `binary`");
            let help = format!("they are {}; say `task = \"multiclass\"`", shown(&classes));
            Err(refuse("model::classes", message, help))
        }
        _ => Ok(classes),
    }
}

fn one_value(name: &str, value: &str) -> Failure {
    let message = format!("label `{name}` of `input` is {value} in every row");
    let help = "there is nothing to tell apart; see how the query that makes it chooses rows";
    refuse("model::one-class", message, help)
}

/// Each row's class; or the first row whose class is none of these.
fn codes(classes: &[String], words: &Words) -> Result<Vec<u32>, usize> {
    let index = |word: &String| classes.iter().position(|class| class == word);
    let known: Vec<Option<usize>> = words.words.iter().map(index).collect();
    let code = |(row, code): (usize, &Option<u32>)| {
        let class = code.and_then(|code| known[code as usize]);
        class.map(|class| class as u32).ok_or(row)
    };
    words.codes.iter().enumerate().map(code).collect()
}

/// A warning about classes of which nothing can be learned.
fn rare(name: &str, classes: &[String], codes: &[u32]) -> Option<String> {
    let mut counts = vec![0_u64; classes.len()];
    codes.iter().for_each(|code| counts[*code as usize] += 1);
    let rare: Vec<_> = classes
        .iter()
        .zip(&counts)
        .filter(|(_, count)| **count == 1)
        .map(|(class, _)| class.clone())
        .collect();
    match rare.len() {
        0 => None,
        1 => Some(format!(
            "class {} of label `{name}` has a single row in `input`",
            shown(&rare)
        )),
        n => Some(format!(
            "{n} of {} classes of label `{name}` have a single row each in `input`: {}",
            classes.len(),
            shown(&rare)
        )),
    }
}

/// Some of the classes, as a message lists them.
fn shown(classes: &[String]) -> String {
    const MOST: usize = 8;
    let some: Vec<_> = classes
        .iter()
        .take(MOST)
        .map(|class| format!("{class:?}"))
        .collect();
    match classes.len() > MOST {
        true => format!("{} and {} more", some.join(", "), classes.len() - MOST),
        false => some.join(", "),
    }
}
