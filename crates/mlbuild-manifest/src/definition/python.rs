//! Rule `python`.

use std::collections::BTreeMap;

use mlbuild_action::{Format, Value};

use super::command::{environment, labels, may_be_nan, srcs, timeout};
use super::foreach::Made;
use super::{Target, foreach, format};
use crate::reader::{Reader, Section};
use crate::{Definition, Ingestion, Kind, Label, PythonDefinition, Spanned};

pub(super) fn python<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<Made> {
    let section = target.section;
    let function = function(reader, section);
    let inputs = labels(reader, section, "inputs");
    let columns = columns(reader, section, &inputs);
    let params = params(reader, section);
    let srcs = srcs(reader, section);
    let env = environment(reader, section);
    let timeout = timeout(reader, section);
    let may_be_nan = may_be_nan(reader, target);
    let ingestion = ingestion(reader, target);
    for key in ["foreach", "pick"] {
        if let (true, Some((range, _))) = (target.label.kind() != Kind::Model, section.get(key)) {
            let message = format!("`{key}` does not belong to {}", section.name);
            let help = "only models are tried and picked".to_owned();
            reader.error(
                "manifest::unknown-key",
                message,
                range,
                "not a key here",
                help,
            );
        }
    }
    let (module, function) = function?;
    let definition = PythonDefinition {
        module,
        function,
        inputs,
        columns,
        params,
        srcs,
        env,
        timeout,
        may_be_nan,
        ingestion,
    };
    foreach::made(
        reader,
        target,
        &mut |reader, name, value| Some(reader.scalar(&name.value, value)?.value),
        &mut |_, point| {
            let mut definition = definition.clone();
            for (name, value) in point {
                definition.params.insert(name.clone(), value.value.clone());
            }
            Some(Definition::Python(definition))
        },
    )
}

/// `module:function`, each in Python's own spelling.
fn function<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<(String, String)> {
    let written = reader.string(section, "python")?;
    let parts = written.value.split_once(':');
    let parts = parts.filter(|(module, function)| {
        module.split('.').all(is_identifier) && is_identifier(function)
    });
    if parts.is_none() {
        let message = format!("`{}` does not name a function", written.value);
        let help = "write `module:function`, the module as from the project's root: \
                    `lib/labels.py` is `lib.labels`";
        let (code, label) = ("manifest::bad-function", "not `module:function`");
        reader.error(code, message, written.range.clone(), label, help.to_owned());
    }
    parts.map(|(module, function)| (module.to_owned(), function.to_owned()))
}

fn is_identifier(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn params<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> BTreeMap<String, Value> {
    let Some(section) = reader.table(section, "params") else {
        return BTreeMap::new();
    };
    let entries = section.entries().into_iter();
    entries
        .filter_map(|(name, value)| {
            let value = reader.scalar(&name.value, value)?.value;
            Some((name.value, value))
        })
        .collect()
}

/// Columns by input, each of which must be declared.
fn columns<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    inputs: &[Spanned<Label>],
) -> Vec<(Spanned<Label>, Vec<String>)> {
    let Some(section) = reader.table(section, "columns") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in section.entries() {
        let Some(label) = reader.as_label(name) else {
            continue;
        };
        if !inputs.iter().any(|input| input.value == label.value) {
            let message = format!("`columns` names `{}`, which is no input", label.value);
            let help = format!("add `\"{}\"` to `inputs`", label.value);
            let (code, at) = ("manifest::bad-value", "not an input");
            reader.error(code, message, label.range, at, help);
            continue;
        }
        let Some(names) = reader.names("columns", value) else {
            continue;
        };
        if names.is_empty() {
            let message = format!("`columns` lists no column of `{}`", label.value);
            let help = "leave the input away if its columns are not read".to_owned();
            reader.error("manifest::bad-value", message, value.span(), "empty", help);
            continue;
        }
        let names = names.into_iter().map(|name| name.value).collect();
        found.push((label, names));
    }
    found
}

/// What is a table by its kind is one here, unless its files are to be kept as they are.
fn ingestion<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<Ingestion> {
    let Target { label, section, .. } = target;
    let written = section.get("format");
    if !label.kind().is_tabular() {
        if let Some((range, _)) = written {
            let noun = label.kind().noun();
            let message = format!("`format` makes a table, and a {noun} is none");
            reader.error("manifest::not-a-table", message, range, "not a table", None);
        }
        return None;
    }
    let parquet = Ingestion {
        format: Format::Parquet,
        types: BTreeMap::new(),
        row_number: None,
    };
    let Some((_, value)) = written else {
        return Some(parquet);
    };
    match format(reader, section)? {
        Format::Files => None,
        Format::Parquet => Some(parquet),
        other => {
            let message = format!(
                "a function yields a table or files, not `{}`",
                other.as_str()
            );
            let help = "leave `format` away for a table, or write `format = \"files\"`".to_owned();
            let (code, label) = ("manifest::bad-value", "neither `parquet` nor `files`");
            reader.error(code, message, value.span(), label, help);
            None
        }
    }
}
