//! Rule `command`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mlbuild_action::{CommandLine, Format, Variable};
use toml::de::DeValue;

use super::{Target, format, ingestion};
use crate::reader::{Entry, Reader, Section};
use crate::{CommandDefinition, Ingestion, Kind, Label, ProjectPath, Spanned, quantity};

pub(super) fn command<'t>(
    reader: &mut Reader<'t>,
    target: &Target<'_, 't>,
) -> Option<CommandDefinition> {
    let section = target.section;
    let line = command_line(reader, section);
    let srcs = srcs(reader, section);
    let inputs = labels(reader, section, "inputs");
    let out = reader
        .name(section, "out")
        .and_then(|out| reader.as_path(out));
    let env = environment(reader, section);
    let tools = tools(reader, section);
    let timeout = timeout(reader, section);
    let digest = reader.string(section, "digest").and_then(|text| {
        let digest = quantity::digest(&text);
        if digest.is_none() {
            let message = format!("`{}` is not a digest", text.value);
            let help = "write `sha256:` or `blake3:` and 64 hexadecimal digits".to_owned();
            reader.error(
                "manifest::bad-value",
                message,
                text.range,
                "not a digest",
                help,
            );
        }
        digest
    });
    let may_be_nan = may_be_nan(reader, target);
    if let (Some((range, _)), None) = (section.get("digest"), section.get("out")) {
        let message = "`digest` pins one file, and no `out` says which";
        let help = "add `out = \"FILE\"`".to_owned();
        reader.error(
            "manifest::missing-key",
            message,
            range,
            "of which file?",
            help,
        );
    }
    let line = line?;
    placeholders(reader, &line, &inputs, section);
    let ingestion = command_ingestion(reader, target);
    let out = out.map(|out| out.value);
    Some(CommandDefinition {
        line,
        srcs,
        inputs,
        out,
        env,
        tools,
        timeout,
        digest,
        may_be_nan,
        ingestion,
    })
}

fn command_line<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
) -> Option<Spanned<CommandLine>> {
    let (_, value) = section.get("command")?;
    let line = match value.get_ref() {
        DeValue::String(_) => CommandLine::Shell(reader.name(section, "command")?.value),
        DeValue::Array(array) => {
            // Empty arguments are arguments, so this is no list of names.
            let given = array.len();
            let words: Vec<_> = array
                .iter()
                .filter_map(|word| reader.as_string("command", word))
                .collect();
            if words.len() < given {
                return None;
            }
            if words.first().is_none_or(|program| program.value.is_empty()) {
                let message = "`command` names no program";
                reader.error("manifest::bad-value", message, value.span(), "empty", None);
                return None;
            }
            CommandLine::Program(words.into_iter().map(|word| word.value).collect())
        }
        _ => {
            reader.wrong_type("command", value, "a shell line or a list of words");
            return None;
        }
    };
    Some(Spanned {
        value: line,
        range: value.span(),
    })
}

/// Complains about `{src}` and `{input:LABEL}` that stand for nothing.
fn placeholders(
    reader: &mut Reader<'_>,
    line: &Spanned<CommandLine>,
    inputs: &[Spanned<Label>],
    section: &Section<'_>,
) {
    let words = match &line.value {
        CommandLine::Shell(line) => std::slice::from_ref(line),
        CommandLine::Program(words) => words,
    };
    for word in words {
        if word.contains("{src}") && section.get("srcs").is_none() {
            let help = "add `srcs = [\"FILE\", ...]`".to_owned();
            let message = "the command names `{src}`, but declares no `srcs`";
            let range = line.range.clone();
            reader.error(
                "manifest::bad-command",
                message,
                range,
                "uses `{src}`",
                help,
            );
        }
        for rest in word.split("{input:").skip(1) {
            let Some((name, _)) = rest.split_once('}') else {
                continue;
            };
            if !inputs.iter().any(|input| input.value.to_string() == name) {
                let help = format!("add `\"{name}\"` to `inputs`");
                let message =
                    format!("the command names `{{input:{name}}}`, which is not declared");
                let label = "uses an undeclared input";
                reader.error(
                    "manifest::bad-command",
                    message,
                    line.range.clone(),
                    label,
                    help,
                );
            }
        }
    }
}

pub(super) fn srcs<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
) -> Vec<Spanned<ProjectPath>> {
    let paths = reader.strings(section, "srcs").unwrap_or_default();
    paths
        .into_iter()
        .filter_map(|path| reader.as_source_path(path))
        .collect()
}

pub(super) fn timeout<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Duration> {
    let text = reader.string(section, "timeout")?;
    let timeout = quantity::duration(&text);
    if timeout.is_none() {
        let message = format!("`{}` is not a duration", text.value);
        let help = "write a number and a unit, as in `500ms`, `90s`, `10m` or `2h`".to_owned();
        let (code, label) = ("manifest::bad-value", "not a duration");
        reader.error(code, message, text.range, label, help);
    }
    timeout
}

/// Figures of a training that may be no number.
pub(super) fn may_be_nan<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> BTreeSet<String> {
    const KEY: &str = "may_be_nan";
    let Target { label, section, .. } = target;
    let Some((range, value)) = section.get(KEY) else {
        return BTreeSet::new();
    };
    if label.kind() != Kind::Model {
        let noun = label.kind().noun();
        let message = format!("`{KEY}` names figures of a training, and a {noun} has none");
        let (code, label) = ("manifest::wrong-kind", "only models have it");
        reader.error(code, message, range, label, None);
    }
    let names = reader.names(KEY, value).unwrap_or_default();
    names.into_iter().map(|name| name.value).collect()
}

pub(super) fn environment<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
) -> BTreeMap<String, Variable> {
    let mut env = BTreeMap::new();
    let Some(table) = reader.table(section, "env") else {
        return env;
    };
    for (name, value) in table.entries() {
        let Some(name) = variable_name(reader, name) else {
            continue;
        };
        if let Some(variable) = variable(reader, &table, &name, value) {
            env.insert(name.value, variable);
        }
    }
    env
}

/// The value of a variable: a text, `"env:NAME"`, or `{ from = "NAME" }`.
fn variable<'t>(
    reader: &mut Reader<'t>,
    table: &Section<'t>,
    name: &Spanned<String>,
    value: Entry<'t>,
) -> Option<Variable> {
    if let DeValue::Table(_) = value.get_ref() {
        let section = reader.table(table, &name.value)?;
        reader.only(&section, &["from"]);
        let Some(from) = reader.string(&section, "from") else {
            reader.missing(
                &section,
                "from",
                "name the variable: `{ from = \"REGION\" }`",
            );
            return None;
        };
        return Some(Variable::From(variable_name(reader, from)?.value));
    }
    let value = reader.as_string(&name.value, value)?;
    if let Some(secret) = value.value.strip_prefix("env:") {
        let secret = Spanned {
            value: secret.to_owned(),
            range: value.range,
        };
        return Some(Variable::Secret(variable_name(reader, secret)?.value));
    }
    if value.value.contains('\0') {
        let message = format!("the value of `{}` has a NUL in it", name.value);
        let code = "manifest::bad-value";
        reader.error(code, message, value.range, "has a NUL", None);
        return None;
    }
    Some(Variable::Text(value.value))
}

/// The name of an environment variable, complaining if it is none.
fn variable_name(reader: &mut Reader<'_>, name: Spanned<String>) -> Option<Spanned<String>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name
        .value
        .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.value.chars().all(plain) {
        return Some(name);
    }
    let message = format!(
        "`{}` is not the name of an environment variable",
        name.value
    );
    let label = "not a variable's name";
    reader.error("manifest::bad-value", message, name.range, label, None);
    None
}

/// Names of programs.
fn tools<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let Some((_, value)) = section.get("tools") else {
        return Vec::new();
    };
    let names = reader.names("tools", value).unwrap_or_default();
    let mut tools = Vec::new();
    for name in names {
        if name.value.contains(['/', '\0']) || name.value.is_empty() {
            let message = format!("`{}` is not the name of a program", name.value);
            let help = "name it as it is found on the `PATH`: `tools = [\"python3\"]`; a program of the project belongs in `srcs`";
            reader.error(
                "manifest::bad-value",
                message,
                name.range,
                "not a name",
                help.to_owned(),
            );
        } else {
            tools.push(name.value);
        }
    }
    tools.sort();
    tools.dedup();
    tools
}

/// A command's output is a table if it has a format; other kinds have none.
fn command_ingestion<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<Ingestion> {
    let Target { label, section, .. } = target;
    if !label.kind().is_tabular() {
        for key in ["columns", "format", "row_number"] {
            if let Some((range, _)) = section.get(key) {
                let message = format!(
                    "`{key}` makes a table, and a {} is none",
                    label.kind().noun()
                );
                reader.error("manifest::not-a-table", message, range, "not a table", None);
            }
        }
        return None;
    }
    let format = match section.get("format") {
        Some(_) => format(reader, section)?,
        None => Format::Files,
    };
    let ingestion = ingestion(reader, section, format);
    (format != Format::Files).then_some(ingestion)
}

pub(super) fn labels<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
) -> Vec<Spanned<Label>> {
    let Some((_, value)) = section.get(key) else {
        return Vec::new();
    };
    let names = reader.names(key, value).unwrap_or_default();
    names
        .into_iter()
        .filter_map(|name| reader.as_label(name))
        .collect()
}
