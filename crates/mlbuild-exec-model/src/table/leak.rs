//! Leaks: what would make a model look better than it is.
//!
//! A feature that determines the label one to one is the label under another name, or was written down after it. Rows that
//! stand in both tables, or were later than what they are to foretell, make figures of the validation table worth nothing.

use std::collections::{HashMap, HashSet};

use arrow::array::AsArray;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use mlbuild_action::{Cancel, Diagnostic, Failure, InputFolder, Schema};

use super::columns::{Feature, Values, refuse};
use super::label::{Label, Truth};
use super::read::Column;
use crate::sequences::open;
use crate::stop_if_cancelled;

/// How many rows an order must hold in before it says anything.
const ENOUGH: usize = 10;

/// Refuses features that give a label away, unless `allowed`.
pub(crate) fn refuse_leaks(
    features: &[Feature],
    columns: &[Column],
    labels: &[Label],
    truth: &Truth,
    allowed: &[String],
) -> Result<(), Failure> {
    let suspects = features.iter().zip(columns);
    let mut found = Vec::new();
    for (feature, column) in suspects.filter(|(feature, _)| !allowed.contains(&feature.name)) {
        let values = identities(column);
        let given_away = match truth {
            Truth::Classes(all) => all
                .iter()
                .position(|codes| one_to_one(&values, codes.iter().map(|code| u64::from(*code)))),
            Truth::Amounts(amounts) => {
                let bits = amounts.iter().map(|amount| (amount + 0.0).to_bits());
                let determines = one_to_one(&values, bits) || same_order(column, amounts);
                determines.then_some(0)
            }
        };
        found.extend(given_away.map(|label| (feature.name.as_str(), labels[label].name.as_str())));
    }
    let Some((column, label)) = found.first() else {
        return Ok(());
    };
    let message = format!(
        "column `{column}` of `input` gives the label `{label}` away: each of its values goes with one value of the label, \
         and the other way round"
    );
    let more = found.iter().skip(1);
    let more = more.map(|(column, label)| format!("so does `{column}` with `{label}`"));
    let help = format!(
        "leave it out with `columns`; if it is known before the label is, say `allow_leak = [\"{column}\"]`"
    );
    Err(Failure::Invalid(
        Diagnostic::error("model::leak", message)
            .detail(more)
            .help(help),
    ))
}

/// Values as numbers that are equal where the values are; null is a value.
fn identities(column: &Column) -> Vec<u64> {
    match column {
        Column::Numbers(values) => values
            .iter()
            // No finite number has the bits of a NaN; adding 0 makes one zero of two.
            .map(|value| value.map_or(f64::NAN.to_bits(), |value| (value + 0.0).to_bits()))
            .collect(),
        Column::Words(words) => words
            .codes
            .iter()
            .map(|code| code.map_or(u64::MAX, u64::from))
            .collect(),
    }
}

/// Whether values go with labels one to one, and often enough to mean it: a value occurs twice on average.
fn one_to_one(values: &[u64], labels: impl Iterator<Item = u64>) -> bool {
    let most = values.len() / 2;
    let (mut there, mut back) = (HashMap::new(), HashMap::new());
    for (value, label) in values.iter().zip(labels) {
        if *there.entry(*value).or_insert(label) != label
            || *back.entry(label).or_insert(*value) != *value
            || there.len() > most
        {
            return false;
        }
    }
    there.len() > 1
}

/// Whether amounts rise, or fall, strictly with the values: one is a function of the other.
fn same_order(column: &Column, amounts: &[f64]) -> bool {
    let Column::Numbers(values) = column else {
        return false;
    };
    let values: Option<Vec<f64>> = values.iter().copied().collect();
    let Some(values) = values.filter(|values| values.len() >= ENOUGH) else {
        return false;
    };
    let mut pairs: Vec<(f64, f64)> = values.into_iter().zip(amounts.iter().copied()).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    pairs.dedup();
    let steps = || pairs.windows(2).map(|pair| (pair[0], pair[1]));
    let distinct = pairs.len() >= ENOUGH && steps().all(|(a, b)| a.0 < b.0);
    distinct && (steps().all(|(a, b)| a.1 < b.1) || steps().all(|(a, b)| a.1 > b.1))
}

/// Refuses rows of `validate` whose key a row of `input` has. Where keys cannot be compared, a warning says so.
pub(crate) fn refuse_overlap(
    key: &[String],
    input: &InputFolder,
    validate: &InputFolder,
    cancel: &Cancel,
) -> Result<Option<String>, Failure> {
    if key.is_empty() {
        return Ok(None);
    }
    let types = |folder: &InputFolder| -> Option<Vec<String>> {
        let schema = folder.table.as_ref()?.schema();
        key.iter().map(|name| data_type(&schema, name)).collect()
    };
    if types(input).is_none() || types(input) != types(validate) {
        return Ok(Some(format!(
            "`validate` has not the key of `input`, {}: whether rows are in both cannot be told",
            listed(key)
        )));
    }
    let names: Vec<&str> = key.iter().map(String::as_str).collect();
    let mut converter: Option<RowConverter> = None;
    let mut known: HashSet<Vec<u8>> = HashSet::new();
    let mut rows = |block: &RecordBatch, each: &mut dyn FnMut(usize, &[u8])| {
        let converter = converter.get_or_insert_with(|| {
            let types = block.columns().iter();
            let fields = types.map(|column| SortField::new(column.data_type().clone()));
            RowConverter::new(fields.collect()).expect("a key can be sorted by")
        });
        let rows = converter.convert_columns(block.columns());
        let rows = rows.expect("the types are those that it was made for");
        rows.iter()
            .enumerate()
            .for_each(|(i, row)| each(i, row.as_ref()));
    };
    for block in open("input", input, &names)? {
        stop_if_cancelled(cancel)?;
        rows(&block?, &mut |_, row| {
            known.insert(row.to_vec());
        });
    }
    let (mut count, mut first, mut from) = (0_u64, None, 0);
    for block in open("validate", validate, &names)? {
        stop_if_cancelled(cancel)?;
        let block = block?;
        rows(&block, &mut |i, row| {
            if known.contains(row) {
                count += 1;
                first.get_or_insert_with(|| (from + i + 1, shown(&block, i)));
            }
        });
        from += block.num_rows();
    }
    let Some((row, value)) = first else {
        return Ok(None);
    };
    let message = format!("row {row} of `validate` is also in `input`: {value}");
    let more =
        (count > 1).then(|| format!("{count} rows of `validate` have the key of a row of `input`"));
    Err(Failure::Invalid(
        Diagnostic::error("model::overlap", message)
            .detail(more)
            .help(
                "what a model was trained on cannot show how good it is: split rows by their key",
            ),
    ))
}

/// Refuses rows of `validate` that are not later than all of `input`.
pub(crate) fn refuse_the_past(
    time: &str,
    input: &InputFolder,
    validate: &InputFolder,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let train = read_times("input", time, input, cancel)?;
    let valid = read_times("validate", time, validate, cancel)?;
    if train.data_type() != valid.data_type() {
        let message =
            format!("the times in column `{time}` of `input` and `validate` are of two types");
        return Err(refuse(
            "model::time",
            message,
            "cast them to one in the query",
        ));
    }
    let order = |times: &ArrayRef| cast(times, &DataType::Int64).expect("moments are integers");
    let (before, after) = (order(&train), order(&valid));
    let (before, after) = (
        before.as_primitive::<Int64Type>().values(),
        after.as_primitive::<Int64Type>().values(),
    );
    let last = (0..before.len()).max_by_key(|row| before[*row]);
    let Some(last) = last else { return Ok(()) };
    let early: Vec<usize> = (0..after.len())
        .filter(|row| after[*row] <= before[last])
        .collect();
    let Some(first) = early.first() else {
        return Ok(());
    };
    let show = |times: &ArrayRef, row| array_value_to_string(times, row).unwrap_or_default();
    let message = format!(
        "row {} of `validate` is of {}, and `input` goes to {}",
        first + 1,
        show(&valid, *first),
        show(&train, last)
    );
    let more = (early.len() > 1)
        .then(|| format!("{} rows of `validate` are no later than that", early.len()));
    Err(Failure::Invalid(
        Diagnostic::error("model::time", message)
            .detail(more)
            .help(format!(
                "a model is to foretell what comes after: split rows by `{time}`"
            )),
    ))
}

fn read_times(
    table: &str,
    time: &str,
    folder: &InputFolder,
    cancel: &Cancel,
) -> Result<ArrayRef, Failure> {
    let reader = open(table, folder, &[time])?;
    let field = reader.schema().field(0).clone();
    let mut blocks = Vec::new();
    for block in reader {
        stop_if_cancelled(cancel)?;
        blocks.push(block?.column(0).clone());
    }
    let blocks: Vec<&dyn Array> = blocks.iter().map(AsRef::as_ref).collect();
    let times = match blocks.is_empty() {
        true => arrow::array::new_empty_array(field.data_type()),
        false => concat(&blocks).expect("the blocks of a column have one type"),
    };
    let name = mlbuild_table::type_name(field.data_type());
    if !matches!(Values::of(&name), Values::Integers | Values::Moments) {
        let message = format!("the time in column `{time}` of `{table}` is {name}");
        let help = "a time is a date, a timestamp or an integer";
        return Err(refuse("model::time", message, help));
    }
    if let Some(row) = (0..times.len()).find(|row| times.is_null(*row)) {
        let message = format!(
            "the time in column `{time}` of `{table}` is null in row {}",
            row + 1
        );
        return Err(refuse(
            "model::time",
            message,
            "filter out rows without a time in the query",
        ));
    }
    Ok(times)
}

fn data_type(schema: &Schema, name: &str) -> Option<String> {
    let field = schema.columns.iter().find(|field| field.name == name)?;
    Some(field.data_type.clone())
}

/// A row's values, as a message shows them.
fn shown(block: &RecordBatch, row: usize) -> String {
    let schema = block.schema();
    let columns = schema.fields().iter().zip(block.columns());
    let values = columns.map(|(field, column)| {
        let value = array_value_to_string(column, row).unwrap_or_default();
        format!("`{}` {value}", field.name())
    });
    values.collect::<Vec<_>>().join(", ")
}

fn listed(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_repeats_is_one_to_one() {
        let check = |values: &[u64], labels: &[u64]| one_to_one(values, labels.iter().copied());
        assert!(check(&[5, 6, 5, 6], &[0, 1, 0, 1]));
        assert!(
            !check(&[5, 6, 5, 6], &[0, 1, 0, 0]),
            "a value goes with two labels"
        );
        assert!(
            !check(&[5, 6, 7, 6, 7, 5], &[0, 1, 1, 1, 1, 0]),
            "a label goes with two values"
        );
        assert!(!check(&[1, 2, 3], &[7, 8, 9]), "nothing repeats");
        assert!(!check(&[1, 1], &[2, 2]), "there is one value only");
    }

    #[test]
    fn an_order_gives_amounts_away_and_a_likeness_does_not() {
        let amounts: Vec<f64> = (0..20).map(|i| f64::from(i * 7 % 20)).collect();
        let column = |f: &dyn Fn(f64) -> f64| {
            Column::Numbers(amounts.iter().map(|amount| Some(f(*amount))).collect())
        };
        assert!(same_order(&column(&f64::exp), &amounts));
        assert!(same_order(&column(&|x| 3.0 - x), &amounts));
        assert!(!same_order(&column(&|x| (x - 9.0).powi(2)), &amounts));
        assert!(!same_order(
            &column(&|x| if x == 4.0 { 5.5 } else { x }),
            &amounts
        ));
        let Column::Numbers(mut holes) = column(&|x| x) else {
            unreachable!()
        };
        holes[3] = None;
        assert!(!same_order(&Column::Numbers(holes), &amounts));
    }
}
