//! Typed access to a TOML table that complains at the exact key or value.
//!
//! Every getter returns `None` for a key that is absent *or* wrong; if it is wrong, it has said so.

use std::ops::Range;
use std::str::FromStr;

use mlbuild_action::{Diagnostic, Value};
use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use crate::{Label, ProjectPath, SourceText, Spanned, SqlText, list, nearest};

/// A TOML value with its span.
pub(crate) type Entry<'t> = &'t TomlSpanned<DeValue<'t>>;

/// A table of the manifest with what messages call it.
#[derive(Clone)]
pub(crate) struct Section<'t> {
    /// As in "in `model:recs`".
    pub(crate) name: String,
    pub(crate) table: &'t DeTable<'t>,
    /// The key whose value it is: where a missing key is missed.
    pub(crate) range: Range<usize>,
}

impl<'t> Section<'t> {
    /// The value of a key, with the key's own range.
    pub(crate) fn get(&self, key: &str) -> Option<(Range<usize>, Entry<'t>)> {
        let mut entries = self.table.iter();
        let (found, value) = entries.find(|(found, _)| found.get_ref() == key)?;
        Some((found.span(), value))
    }

    /// Keys and values in the order in which they are written.
    pub(crate) fn entries(&self) -> Vec<(Spanned<String>, Entry<'t>)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| {
                let range = key.span();
                let value_ = key.get_ref().to_string();
                (
                    Spanned {
                        value: value_,
                        range,
                    },
                    value,
                )
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.range.start);
        entries
    }
}

/// The manifest's text, and what was found to be wrong with it.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(manifest: &'t SourceText) -> Self {
        Self {
            file: &manifest.path,
            text: &manifest.text,
            diagnostics: Vec::new(),
        }
    }

    /// Complains at a place in the manifest.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        range: Range<usize>,
        label: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        let mut diagnostic = Diagnostic::error(code, message).at(self.file, range, label);
        diagnostic.help = help.into();
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn wrong_type(&mut self, key: &str, value: Entry<'_>, expected: &str) {
        let found = article(value.get_ref().type_str());
        self.error(
            "manifest::wrong-type",
            format!("`{key}` must be {expected}"),
            value.span(),
            format!("this is {found}"),
            None,
        );
    }

    pub(crate) fn missing(&mut self, section: &Section<'_>, key: &str, help: &str) {
        self.error(
            "manifest::missing-key",
            format!("{} has no `{key}`", section.name),
            section.range.clone(),
            format!("needs `{key}`"),
            help.to_owned(),
        );
    }

    /// Complains about keys that are not among `allowed`.
    pub(crate) fn only(&mut self, section: &Section<'_>, allowed: &[&str]) {
        for (key, _) in section.entries() {
            if !allowed.contains(&&*key.value) {
                self.unknown_key(section, &key, allowed);
            }
        }
    }

    pub(crate) fn unknown_key(
        &mut self,
        section: &Section<'_>,
        key: &Spanned<String>,
        allowed: &[&str],
    ) {
        let help = match nearest(key, allowed.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let mut allowed = allowed.to_vec();
                allowed.sort_unstable();
                format!("the keys here are {}", list(allowed))
            }
        };
        self.error(
            "manifest::unknown-key",
            format!("unknown key `{}` in {}", key.value, section.name),
            key.range.clone(),
            "not a key here",
            help,
        );
    }

    pub(crate) fn string(&mut self, section: &Section<'t>, key: &str) -> Option<Spanned<String>> {
        let (_, value) = section.get(key)?;
        self.as_string(key, value)
    }

    pub(crate) fn as_string(&mut self, key: &str, value: Entry<'_>) -> Option<Spanned<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned {
                value: text.to_string(),
                range: value.span(),
            }),
            _ => {
                self.wrong_type(key, value, "a string");
                None
            }
        }
    }

    /// A string that is not empty: a column's name, a title.
    pub(crate) fn name(&mut self, section: &Section<'t>, key: &str) -> Option<Spanned<String>> {
        let text = self.string(section, key)?;
        self.not_empty(key, text)
    }

    fn not_empty(&mut self, key: &str, text: Spanned<String>) -> Option<Spanned<String>> {
        if text.value.trim().is_empty() {
            let message = format!("`{key}` is empty");
            self.error("manifest::bad-value", message, text.range, "empty", None);
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&mut self, section: &Section<'t>, key: &str) -> Option<bool> {
        let (_, value) = section.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                self.wrong_type(key, value, "`true` or `false`");
                None
            }
        }
    }

    /// An integer from `min` to `max`.
    pub(crate) fn count(
        &mut self,
        section: &Section<'t>,
        key: &str,
        (min, max): (u32, u32),
    ) -> Option<u32> {
        let (_, value) = section.get(key)?;
        let expected = format!("an integer from {min} to {max}");
        let DeValue::Integer(_) = value.get_ref() else {
            self.wrong_type(key, value, &expected);
            return None;
        };
        let number = match self.scalar(key, value)?.value {
            Value::Int(number) => u32::try_from(number).ok(),
            _ => None,
        };
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let message = format!("`{key}` must be {expected}");
            self.error(
                "manifest::bad-value",
                message,
                value.span(),
                "out of range",
                None,
            );
        }
        number
    }

    /// An integer, float, boolean or string.
    pub(crate) fn scalar(&mut self, key: &str, value: Entry<'_>) -> Option<Spanned<Value>> {
        let range = value.span();
        let scalar = match value.get_ref() {
            DeValue::String(text) => Some(Value::Text(text.to_string())),
            DeValue::Boolean(value) => Some(Value::Bool(*value)),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .map(Value::Int),
            DeValue::Float(float) => {
                let float = float.as_str().parse().ok();
                // One zero: `-0.0` would be another identity for the same number.
                float
                    .filter(|float: &f64| float.is_finite())
                    .map(|float| Value::Float(float + 0.0))
            }
            DeValue::Datetime(_) => {
                let help = "write it as a string, and cast it in the query: \
                            `cast($name as timestamp)`";
                let message = format!("`{key}` must be a number, a string or a boolean");
                let (code, label) = ("manifest::wrong-type", "this is a date or time");
                self.error(code, message, range, label, help.to_owned());
                return None;
            }
            DeValue::Array(_) | DeValue::Table(_) => {
                self.wrong_type(key, value, "a number, a string or a boolean");
                return None;
            }
        };
        match scalar {
            Some(value) => Some(Spanned { value, range }),
            None => {
                let message = format!("`{key}` is a number that cannot be represented");
                let label = "neither a 64-bit integer nor a finite float";
                self.error("manifest::bad-value", message, range, label, None);
                None
            }
        }
    }

    /// The table that is a key's value.
    pub(crate) fn table(&mut self, section: &Section<'t>, key: &str) -> Option<Section<'t>> {
        let (range, value) = section.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                name: format!("`{key}` of {}", section.name),
                table,
                range,
            }),
            _ => {
                self.wrong_type(key, value, "a table");
                None
            }
        }
    }

    /// A list of strings, none empty.
    pub(crate) fn strings(
        &mut self,
        section: &Section<'t>,
        key: &str,
    ) -> Option<Vec<Spanned<String>>> {
        let (_, value) = section.get(key)?;
        self.as_strings(key, value)
    }

    pub(crate) fn as_strings(
        &mut self,
        key: &str,
        value: Entry<'_>,
    ) -> Option<Vec<Spanned<String>>> {
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, value, "a list of strings");
            return None;
        };
        let read = |item: &'_ TomlSpanned<DeValue<'_>>| {
            if !item.get_ref().is_str() {
                self.wrong_type(key, item, "a list of strings");
                return None;
            }
            let text = self.as_string(key, item)?;
            self.not_empty(key, text)
        };
        Some(array.iter().filter_map(read).collect())
    }

    /// A list of different strings: column names, tags.
    pub(crate) fn names(&mut self, key: &str, value: Entry<'_>) -> Option<Vec<Spanned<String>>> {
        let names = self.as_strings(key, value)?;
        for (i, name) in names.iter().enumerate() {
            if names[..i].iter().any(|other| other.value == name.value) {
                let message = format!("`{}` is listed twice in `{key}`", name.value);
                self.error(
                    "manifest::bad-value",
                    message,
                    name.range.clone(),
                    "again",
                    None,
                );
            }
        }
        Some(names)
    }

    /// One string, or a list of them that is not empty.
    pub(crate) fn one_or_more(
        &mut self,
        section: &Section<'t>,
        key: &str,
    ) -> Option<Vec<Spanned<String>>> {
        let (_, value) = section.get(key)?;
        if let DeValue::String(_) = value.get_ref() {
            let text = self.as_string(key, value)?;
            return self.not_empty(key, text).map(|text| vec![text]);
        }
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, value, "a string or a list of strings");
            return None;
        };
        if array.is_empty() {
            let message = format!("`{key}` is empty");
            self.error("manifest::bad-value", message, value.span(), "empty", None);
            return None;
        }
        let given = array.len();
        self.names(key, value).filter(|read| read.len() == given)
    }

    pub(crate) fn label(&mut self, section: &Section<'t>, key: &str) -> Option<Spanned<Label>> {
        let text = self.string(section, key)?;
        self.as_label(text)
    }

    pub(crate) fn as_label(&mut self, text: Spanned<String>) -> Option<Spanned<Label>> {
        match Label::from_str(&text) {
            Ok(value) => Some(Spanned {
                value,
                range: text.range,
            }),
            Err(bad) => {
                let label = "not a label";
                self.error(
                    "manifest::bad-label",
                    bad.to_string(),
                    text.range,
                    label,
                    bad.help,
                );
                None
            }
        }
    }

    /// A path or glob in the project's sources.
    pub(crate) fn as_source_path(&mut self, text: Spanned<String>) -> Option<Spanned<ProjectPath>> {
        let path = self.as_path(text)?;
        let first = path.as_str().split('/').next();
        if matches!(first, Some(".mlbuild" | "out")) {
            self.error(
                "manifest::bad-path",
                format!("`{}` is where builds put what they make", path.value),
                path.range.clone(),
                "not a source",
                "read another target by its label, not by its file".to_owned(),
            );
            return None;
        }
        Some(path)
    }

    pub(crate) fn as_path(&mut self, text: Spanned<String>) -> Option<Spanned<ProjectPath>> {
        match ProjectPath::from_str(&text) {
            Ok(value) => Some(Spanned {
                value,
                range: text.range,
            }),
            Err(bad) => {
                self.error(
                    "manifest::bad-path",
                    format!("`{}` {bad}", text.value),
                    text.range,
                    bad.to_string(),
                    "paths are relative to the project, stay inside it, and are written with `/`"
                        .to_owned(),
                );
                None
            }
        }
    }

    /// A query written as a string in the manifest.
    pub(crate) fn as_sql(&mut self, key: &str, value: Entry<'_>) -> Option<SqlText> {
        let query = self.as_string(key, value)?;
        let literal = &self.text[query.range.clone()];
        let multiline = literal.starts_with("\"\"\"") || literal.starts_with("'''");
        let quotes = if multiline { 3 } else { 1 };
        let newline = literal[quotes.min(literal.len())..].chars();
        let newline: usize = match *newline.take(2).collect::<Vec<_>>() {
            ['\n', ..] if multiline => 1,
            ['\r', '\n'] if multiline => 2,
            _ => 0,
        };
        let start = query.range.start + quotes + newline;
        let verbatim = self
            .text
            .get(start..)
            .is_some_and(|rest| rest.starts_with(&*query.value));
        let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
        let mut source: String = self.text.bytes().take(start).map(blank).collect();
        source.push_str(&query.value);
        Some(SqlText {
            file: self.file.to_owned(),
            source,
            start,
            whole: (!verbatim).then_some(query.range),
        })
    }
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}
