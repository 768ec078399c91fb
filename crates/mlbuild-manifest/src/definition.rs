//! How a target is made: one function a rule. Those of files and queries are here.

mod command;
mod foreach;
mod model;
mod python;
mod report;
mod split;

use std::collections::BTreeMap;

use mlbuild_action::{Format, RowOrder};

pub(crate) use foreach::Made;

use crate::reader::{Reader, Section};
use crate::{
    Definition, Ingestion, Label, PathDefinition, Rule, SourceText, Spanned, SqlDefinition,
    SqlText, list, nearest,
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
) -> Option<Made> {
    let definition = match rule {
        Rule::Path => path(reader, target).map(Definition::Path),
        Rule::Sql => sql(reader, target).map(Definition::Sql),
        Rule::Command => command::command(reader, target).map(Definition::Command),
        Rule::Python => return python::python(reader, target),
        Rule::Train => return model::train(reader, target),
        Rule::Split => return split::split(reader, target),
        Rule::Predict => model::predict(reader, target).map(Definition::Predict),
        Rule::Evaluate => report::evaluate(reader, target).map(Definition::Evaluate),
        // What `foreach` leaves of a declaration; it has no key of its own.
        Rule::Pick => None,
    };
    definition.map(Made::from)
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
            // A byte order mark is no SQL; blanks of its width keep every place where it is.
            source: file.text.replacen(
                '\u{feff}',
                "   ",
                usize::from(file.text.starts_with('\u{feff}')),
            ),
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
    let order = match reader.string(section, "order") {
        None => RowOrder::Canonical,
        Some(text) if text.value == "input" => RowOrder::Input,
        Some(text) => {
            reader.error(
                "manifest::bad-value",
                format!("`{}` is no order of rows", text.value),
                text.range,
                "unknown",
                "`input` keeps the order of the table that the query reads; to sort, write `order by` in the query"
                    .to_owned(),
            );
            return None;
        }
    };
    Some(SqlDefinition { sql, params, order })
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

fn column<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str, default: &str) -> String {
    reader
        .name(section, key)
        .map_or_else(|| default.to_owned(), |name| name.value)
}
