//! Rule `split`: a table with the part or fold of each row; and a target for each part, with its rows alone.

use std::ops::Range;

use mlbuild_action::{Parts, Value};
use toml::de::DeValue;

use super::foreach::Made;
use super::{Target, column};
use crate::reader::{Entry, Reader, Section};
use crate::{
    Definition, Label, PartDefinition, Spanned, SplitDefinition, SplitRule, is_name, list, nearest,
};

/// How many folds there may be.
const FOLDS: u32 = 1000;

/// How far shares may be from adding up to 1: they are written in decimals, and added in binary.
const SUM_ERROR: f64 = 1e-9;

const BY: [&str; 3] = ["group", "random", "time"];

pub(super) fn split<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<Made> {
    let section = target.section;
    let before = reader.diagnostics.len();
    let (range, _) = section.get("split")?;
    let input = reader.label(section, "split");
    if let Some((range, _)) = section.get("key") {
        let message = format!(
            "`key` of {} is that of the table that it splits",
            section.name
        );
        let help = "leave it out".to_owned();
        let label = "not a key here";
        reader.error("manifest::unknown-key", message, range, label, help);
    }
    let rule = rule(reader, section);
    let (input, rule) = (input?, rule?);
    if reader.diagnostics.len() > before {
        return None;
    }
    let points = parts(target.label, &rule, &range);
    Some(Made {
        points,
        definition: Definition::Split(SplitDefinition { input, rule }),
    })
}

fn rule<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<SplitRule> {
    let Some(by) = reader.string(section, "by") else {
        if section.get("by").is_none() {
            reader.missing(
                section,
                "by",
                "say what decides the part of a row: `by = \"random\"`, `\"group\"` or `\"time\"`",
            );
        }
        return None;
    };
    if !BY.contains(&&*by.value) {
        let message = format!("`{}` is no way to split", by.value);
        let help = match nearest(&by, BY) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of {}", list(BY)),
        };
        reader.error("manifest::bad-value", message, by.range, "unknown", help);
        return None;
    }
    let belongs: &[&str] = match &*by.value {
        "random" => &["folds", "parts", "seed"],
        "group" => &["folds", "group", "parts", "seed"],
        _ => &["parts", "rest", "time", "until"],
    };
    for key in ["folds", "group", "parts", "rest", "seed", "time", "until"] {
        if let (false, Some((range, _))) = (belongs.contains(&key), section.get(key)) {
            let message = format!("`{key}` does not belong to a split by {}", by.value);
            let help = match (key, &*by.value) {
                ("folds", _) => "a fold of a time would be learned from what comes after it: use `parts` or `until`".to_owned(),
                ("group", "random") => "`by = \"group\"` keeps rows of one group together".to_owned(),
                ("seed", _) => "time decides, not chance".to_owned(),
                _ => format!("its keys are {}", list(belongs.iter().copied())),
            };
            reader.error(
                "manifest::unknown-key",
                message,
                range,
                "not a key here",
                help,
            );
        }
    }
    if by.value == "time" {
        return by_time(reader, section);
    }
    let seed = match section.get("seed") {
        None => 0,
        Some((_, value)) => match reader.scalar("seed", value)?.value {
            Value::Int(seed) => seed,
            _ => {
                reader.wrong_type("seed", value, "an integer");
                return None;
            }
        },
    };
    let parts = match (section.get("folds"), section.get("parts")) {
        (Some(_), None) => Parts::Folds(reader.count(section, "folds", (2, FOLDS))?),
        (None, Some(_)) => Parts::Shares(shares(reader, section)?),
        (Some((range, _)), Some(_)) => {
            let message = "a split has `parts` or `folds`, not both".to_owned();
            reader.error(
                "manifest::bad-value",
                message,
                range,
                "beside `parts`",
                None,
            );
            return None;
        }
        (None, None) => {
            reader.missing(
                section,
                "parts",
                "write `parts = { train = 0.8, test = 0.2 }`, or `folds = 5`",
            );
            return None;
        }
    };
    if by.value == "random" {
        return Some(SplitRule::Random { parts, seed });
    }
    let Some((_, value)) = section.get("group") else {
        reader.missing(
            section,
            "group",
            "name the columns whose rows stay together: `group = [\"user_id\"]`",
        );
        return None;
    };
    let columns = reader.names("group", value)?;
    if columns.is_empty() {
        reader.error(
            "manifest::bad-value",
            "`group` is empty",
            value.span(),
            "empty",
            None,
        );
        return None;
    }
    Some(SplitRule::Group {
        columns: columns.into_iter().map(|column| column.value).collect(),
        parts,
        seed,
    })
}

fn by_time<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<SplitRule> {
    if section.get("time").is_none() {
        reader.missing(
            section,
            "time",
            "name the column with the time: `time = \"at\"`",
        );
    }
    let time = reader.name(section, "time");
    let rule = match (section.get("until"), section.get("parts")) {
        (Some(_), None) => {
            let until = until(reader, section);
            let rest = column(reader, section, "rest", "test");
            let (time, until) = (time?.value, until?);
            if until.iter().any(|(part, _)| *part == rest) || !is_name(&rest) {
                let place = section.get("rest").or_else(|| section.get("until"));
                let range = place.map_or(section.range.clone(), |(range, _)| range);
                let message =
                    format!("`{rest}` cannot name the part of what is later than `until`");
                let help = "name it with `rest`, in lower case letters, and as none of the others"
                    .to_owned();
                reader.error(
                    "manifest::bad-value",
                    message,
                    range,
                    "is taken, or no name",
                    help,
                );
                return None;
            }
            SplitRule::Until {
                column: time,
                until,
                rest,
            }
        }
        (None, Some(_)) => {
            if let Some((range, _)) = section.get("rest") {
                let message = "`rest` names what is later than `until`".to_owned();
                reader.error(
                    "manifest::unknown-key",
                    message,
                    range,
                    "there is no `until`",
                    None,
                );
            }
            let parts = shares(reader, section)?;
            SplitRule::Shares {
                column: time?.value,
                parts,
            }
        }
        (Some((range, _)), Some(_)) => {
            let message = "a split by time has `parts` or `until`, not both".to_owned();
            reader.error(
                "manifest::bad-value",
                message,
                range,
                "beside `parts`",
                None,
            );
            return None;
        }
        (None, None) => {
            reader.missing(section, "until", "write `until = { train = \"2024-01-01\" }`, or shares: `parts = { train = 0.8, test = 0.2 }`");
            return None;
        }
    };
    Some(rule)
}

/// Named parts with their shares, in the order in which they are written.
fn shares<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Vec<(String, f64)>> {
    let parts = reader.table(section, "parts")?;
    let mut shares = Vec::new();
    for (name, value) in parts.entries() {
        let name = part_name(reader, &name);
        let share = reader.scalar("a share", value);
        let fits = share
            .as_ref()
            .map(|share| share.as_f64().filter(|share| *share > 0.0 && *share < 1.0));
        if let Some(None) = fits {
            let message = "a share is a number above 0 and below 1".to_owned();
            reader.error(
                "manifest::bad-value",
                message,
                value.span(),
                "not a share",
                None,
            );
        }
        shares.push((name?, fits??));
    }
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    if shares.len() < 2 || (sum - 1.0).abs() > SUM_ERROR {
        let message = match shares.len() {
            0 | 1 => "a split has two parts or more".to_owned(),
            _ => format!(
                "the shares add up to {}, not to 1",
                (sum * 1e9).round() / 1e9
            ),
        };
        let help = "as in `parts = { train = 0.8, valid = 0.1, test = 0.1 }`".to_owned();
        reader.error(
            "manifest::bad-value",
            message,
            parts.range,
            "these parts",
            help,
        );
        return None;
    }
    Some(shares)
}

/// The ends of parts, in the order in which they are written; whether they rise shows when they are compared as times.
fn until<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Vec<(String, Value)>> {
    let parts = reader.table(section, "until")?;
    let mut until = Vec::new();
    for (name, value) in parts.entries() {
        let name = part_name(reader, &name);
        let end = instant(reader, value);
        until.push((name?, end?));
    }
    if until.is_empty() {
        let message = "`until` names no part".to_owned();
        reader.error("manifest::bad-value", message, parts.range, "empty", None);
        return None;
    }
    Some(until)
}

/// An instant: TOML's own, a text, or an integer.
fn instant(reader: &mut Reader<'_>, value: Entry<'_>) -> Option<Value> {
    if let DeValue::Datetime(instant) = value.get_ref() {
        return Some(Value::Text(instant.to_string()));
    }
    let end = reader.scalar("an end", value)?.value;
    if matches!(end, Value::Int(_) | Value::Text(_)) {
        return Some(end);
    }
    reader.wrong_type("an end", value, "an instant or an integer");
    None
}

fn part_name(reader: &mut Reader<'_>, name: &Spanned<String>) -> Option<String> {
    if is_name(name) {
        return Some(name.value.clone());
    }
    let message = format!("`{}` cannot name a part", name.value);
    let help = "use lower case letters, digits and `_`, beginning with a letter".to_owned();
    let range = name.range.clone();
    reader.error("manifest::bad-name", message, range, "not a name", help);
    None
}

/// The column of a split into folds.
const FOLD: &str = "fold";

/// What names all rows but those of a fold: what is learned from, where the fold itself is what it is measured on.
const WITHOUT: &str = "without";

/// A target for each part, and for what is left without each fold: its rows, without the column that says so.
fn parts(split: &Label, rule: &SplitRule, range: &Range<usize>) -> Vec<(Label, Definition)> {
    let part = |value: &Value, word: &str, without: bool| {
        let label = split.point(&[(word.to_owned(), value.clone())].into());
        let definition = PartDefinition {
            split: split.clone(),
            column: rule.column(),
            value: value.clone(),
            without,
            range: range.clone(),
        };
        (label, Definition::Part(definition))
    };
    let values = rule.values();
    let own = values.iter().map(|value| part(value, rule.column(), false));
    let mut all: Vec<_> = own.collect();
    if rule.column() == FOLD {
        all.extend(values.iter().map(|value| part(value, WITHOUT, true)));
    }
    all
}
