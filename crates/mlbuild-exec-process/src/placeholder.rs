//! Placeholders in command lines: `{out}`, `{src}`, `{input:data:orders}`.
//!
//! A placeholder is a lower-case word, with `:` between its parts, in braces. Anything else in braces stands for itself
//! (`awk '{print $1}'`, `{a,b}`), and so does `${name}`; `{{name}}` is a literal `{name}`.

use std::collections::BTreeMap;

/// What placeholders stand for, by name without braces.
pub(crate) type Values = BTreeMap<String, String>;

/// A placeholder that stands for nothing.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Unknown(pub(crate) String);

/// Replaces the placeholders of one argument.
pub(crate) fn expand(text: &str, values: &Values) -> Result<String, Unknown> {
    expand_with(text, values, |value, _| value.to_owned())
}

/// Replaces the placeholders of a shell line; every value stays one word, whatever quotes surround it.
pub(crate) fn expand_shell(line: &str, values: &Values) -> Result<String, Unknown> {
    expand_with(line, values, |value, before| {
        quote(value, quotes_at_end(before))
    })
}

fn expand_with(
    text: &str,
    values: &Values,
    insert: impl Fn(&str, &str) -> String,
) -> Result<String, Unknown> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let before = &text[..text.len() - rest.len() + at];
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(name) = rest.strip_prefix('{').and_then(braced)
            && rest[name.len() + 2..].starts_with('}')
        {
            expanded.push_str(&rest[1..name.len() + 2]);
            rest = &rest[name.len() + 3..];
        } else if let Some(name) = braced(rest)
            && !before.ends_with('$')
        {
            let value = values.get(name).ok_or_else(|| Unknown(name.to_owned()))?;
            expanded.push_str(&insert(value, before));
            rest = &rest[name.len() + 2..];
        } else {
            expanded.push('{');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The name, if `text` starts with a placeholder.
fn braced(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':';
    (name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(word)).then_some(name)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// The quotes that are open where a piece of a shell line ends.
fn quotes_at_end(line: &str) -> Quotes {
    let mut quotes = Quotes::None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        quotes = match (quotes, c) {
            (Quotes::None | Quotes::Double, '\\') => {
                characters.next();
                quotes
            }
            (Quotes::None, '\'') => Quotes::Single,
            (Quotes::None, '"') => Quotes::Double,
            (Quotes::Single, '\'') | (Quotes::Double, '"') => Quotes::None,
            _ => quotes,
        };
    }
    quotes
}

fn quote(value: &str, within: Quotes) -> String {
    match within {
        Quotes::None => format!("'{}'", value.replace('\'', r"'\''")),
        Quotes::Single => value.replace('\'', r"'\''"),
        Quotes::Double => {
            let special = |c: char| matches!(c, '$' | '`' | '"' | '\\');
            value.chars().fold(String::new(), |mut quoted, c| {
                if special(c) {
                    quoted.push('\\');
                }
                quoted.push(c);
                quoted
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        [
            ("out", "/o u't/$x"),
            ("input:data:orders", "/i/table.parquet"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn placeholders_are_replaced_and_other_braces_stand() {
        for (text, expected) in [
            ("{out}", "/o u't/$x"),
            ("a={input:data:orders}!", "a=/i/table.parquet!"),
            ("{print $1}", "{print $1}"),
            ("${out} {a,b} {} { out }", "${out} {a,b} {} { out }"),
            ("{{out}}", "{out}"),
            ("{\"k\": {out}}", "{\"k\": /o u't/$x}"),
            ("{", "{"),
            ("ü{out}ü", "ü/o u't/$xü"),
        ] {
            assert_eq!(expand(text, &values()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        assert_eq!(
            expand("{output}", &values()),
            Err(Unknown("output".to_owned()))
        );
        assert_eq!(
            expand("{input:data:x}", &values()),
            Err(Unknown("input:data:x".to_owned()))
        );
    }

    #[test]
    fn a_value_in_a_shell_line_is_one_word_in_any_quotes() {
        for (line, expected) in [
            ("cp a {out}", r"cp a '/o u'\''t/$x'"),
            ("cp a \"{out}\"", r#"cp a "/o u't/\$x""#),
            ("cp a '{out}'", r"cp a '/o u'\''t/$x'"),
            (r"cp \' {out}", r"cp \' '/o u'\''t/$x'"),
        ] {
            assert_eq!(
                expand_shell(line, &values()).as_deref(),
                Ok(expected),
                "{line}"
            );
        }
    }
}
