//! DataFusion's complaints about a query as diagnostics that point into its text.

use std::collections::BTreeMap;

use datafusion::common::{Column, SchemaError, Span};
use datafusion::error::DataFusionError;
use mlbuild_action::{Diagnostic, Failure, Sql};

use crate::determinism::{Undetermined, Why};
use crate::failure::clean;
use crate::session::InputTable;

/// A query, and the tables that it can read.
pub(crate) struct Source<'a> {
    pub(crate) sql: &'a Sql,
    pub(crate) tables: &'a [InputTable],
    /// What `as` calls tables: alias to name, as the query writes both.
    pub(crate) aliases: BTreeMap<String, String>,
}

/// The user's mistake that keeps a query from being planned.
pub(crate) fn invalid(error: &DataFusionError, source: &Source<'_>) -> Failure {
    let mut errors = error.iter();
    let first = errors.next().unwrap_or(error);
    let others = errors
        .map(|error| clean(&error.strip_backtrace()))
        .collect::<Vec<_>>();
    Failure::Invalid(diagnose(first, source).detail(others))
}

/// A function whose value the rows do not determine.
pub(crate) fn undetermined(undetermined: &Undetermined, source: &Source<'_>) -> Failure {
    let function = undetermined.function.as_str();
    let (message, label, help) = match undetermined.why {
        Why::Run => (
            format!("`{function}()` gives another value in every run"),
            "changes from run to run",
            "make it a parameter of the target: `$name` in the query, `params` in the manifest"
                .to_owned(),
        ),
        Why::Estimate => (
            format!(
                "`{function}()` is an estimate, which depends on how the rows were cut into pieces"
            ),
            "not the same on every machine",
            format!("use the exact `{}`", exact(function)),
        ),
        Why::GroupOrder => (
            format!(
                "`{function}()` depends on the order of the rows, which nothing determines here"
            ),
            "in which order?",
            match function {
                "any_value" => {
                    "say which value is meant: `min(x)`, or `first_value(x order by ..)`".to_owned()
                }
                _ => format!(
                    "say which order is meant: `{function}({} order by ..)`",
                    arguments(function)
                ),
            },
        ),
        Why::WindowOrder => (
            format!(
                "`{function}()` depends on the order of the rows, which nothing determines here"
            ),
            "in which order?",
            format!(
                "say which order is meant: `{function}({}) over (order by ..)`",
                arguments(function)
            ),
        ),
    };
    let diagnostic = Diagnostic::error("sql::nondeterministic", message).help(help);
    Failure::Invalid(point(diagnostic, source, token(source, function), label))
}

/// What is computed instead of an estimate.
fn exact(estimate: &str) -> &'static str {
    match estimate {
        "approx_distinct" => "count(distinct x)",
        "approx_median" => "median(x)",
        _ => "percentile_cont(0.5) within group (order by x)",
    }
}

/// The arguments of a function of ordered rows, as examples have them.
fn arguments(function: &str) -> &'static str {
    match function {
        "string_agg" => "x, ','",
        "nth_value" => "x, 2",
        _ => "x",
    }
}

/// A query that is declared to keep its table's order and cannot.
pub(crate) fn no_input_order(what: &str, source: &Source<'_>) -> Failure {
    let message = format!("the query cannot keep the order of its input: it has {what}");
    let help = "only picking, computing and filtering columns of one table keeps its order; without `order = \"input\"` \
                rows are sorted by the key, else by all columns";
    let diagnostic = Diagnostic::error("sql::no-input-order", message).help(help);
    let text = &source.sql.text;
    Failure::Invalid(diagnostic.at(&source.sql.file, 0..text.len().min(1), "this query"))
}

fn diagnose(error: &DataFusionError, source: &Source<'_>) -> Diagnostic {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let span = span.and_then(|span| range(&source.sql.text, span));
    match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => match &**schema_error {
            SchemaError::FieldNotFound {
                field,
                valid_fields,
            } => {
                let span = span.or_else(|| token(source, &field.name));
                point(
                    unknown_column(field, valid_fields, source),
                    source,
                    span,
                    "no such column",
                )
            }
            SchemaError::AmbiguousReference { field } => {
                let span = span.or_else(|| token(source, &field.name));
                let diagnostic = Diagnostic::error(
                    "sql::ambiguous-column",
                    format!("column `{}` is in more than one table", field.name),
                )
                .help(format!("say which one is meant: `table.{}`", field.name));
                point(diagnostic, source, span, "ambiguous")
            }
            SchemaError::DuplicateUnqualifiedField { name }
            | SchemaError::DuplicateQualifiedField { name, .. } => Diagnostic::error(
                "table::duplicate-column",
                format!("two columns are named `{name}`"),
            )
            .help("every column of a table needs a name of its own: rename one with `as`"),
        },
        DataFusionError::SQL(error, _) => {
            let message = error.to_string();
            let (message, at) = split_location(&message);
            let at = at.and_then(|(line, column)| offset(&source.sql.text, line, column));
            let span = at.map(|at| at..at + token_len(&source.sql.text[at..]));
            point(
                Diagnostic::error("sql::syntax", clean(message)),
                source,
                span,
                "here",
            )
        }
        root if is_array_syntax(&root.strip_backtrace()) => {
            let diagnostic = Diagnostic::error(
                "sql::unsupported",
                "array literals and subscripts are not supported",
            )
            .help("make arrays with `array_agg(x order by y)`, open them with `unnest(x)`");
            point(diagnostic, source, span, "here")
        }
        root => {
            let root_message = clean(&root.strip_backtrace());
            let span = span.or_else(|| quoted(&root_message).and_then(|name| token(source, name)));
            let message = error
                .diagnostic()
                .map_or(root_message, |diagnostic| clean(&diagnostic.message));
            let mut diagnostic = Diagnostic::error("sql::invalid", backticks(&message));
            if let Some(given) = error.diagnostic() {
                let helps = given.helps.iter().map(|help| &help.message);
                let notes = given.notes.iter().map(|note| &note.message);
                let lines: Vec<_> = helps
                    .chain(notes)
                    .map(|line| backticks(&clean(line)))
                    .collect();
                if !lines.is_empty() {
                    diagnostic = diagnostic.help(lines.join("; "));
                }
            }
            point(diagnostic, source, span, "here")
        }
    }
}

/// Names in backticks instead of quotes; an apostrophe stays.
fn backticks(message: &str) -> String {
    let chars: Vec<char> = message.chars().collect();
    let letter = |at: Option<usize>| {
        at.and_then(|at| chars.get(at))
            .is_some_and(|c| c.is_alphanumeric())
    };
    let quote = |(at, c): (usize, &char)| match c {
        '\'' if !(letter(at.checked_sub(1)) && letter(Some(at + 1))) => '`',
        other => *other,
    };
    chars.iter().enumerate().map(quote).collect()
}

/// What DataFusion says of array syntax that was left out of this build, its internals included.
fn is_array_syntax(message: &str) -> bool {
    message.contains("nested_expressions") || message.contains("RawFieldAccessExpr")
}

fn point(
    diagnostic: Diagnostic,
    source: &Source<'_>,
    span: Option<std::ops::Range<usize>>,
    label: &str,
) -> Diagnostic {
    match span {
        Some(span) => diagnostic.at(&source.sql.file, span, label),
        None => diagnostic.at(&source.sql.file, 0..0, "in this query"),
    }
}

fn unknown_column(field: &Column, valid: &[Column], source: &Source<'_>) -> Diagnostic {
    let relation = field.relation.as_ref().map(ToString::to_string);
    let here: Vec<&Column> = valid
        .iter()
        .filter(|column| match &field.relation {
            None => true,
            Some(relation) => column
                .relation
                .as_ref()
                .is_some_and(|r| r.resolved_eq(relation)),
        })
        .collect();
    let candidates_of = if here.is_empty() {
        valid.iter().collect()
    } else {
        here
    };
    let table = relation.or_else(|| only_relation(&candidates_of));
    let message = match &table {
        Some(table) => format!("no column `{}` in `{}`", field.name, label(table, source)),
        None => format!("no column `{}`", field.name),
    };
    let names = candidates_of
        .iter()
        .map(|column| match type_of(column, source) {
            Some(data_type) => format!("{} ({data_type})", column.name),
            None => column.name.clone(),
        });
    Diagnostic::error("sql::unknown-column", message).help(candidates(&field.name, names))
}

/// The one relation that all of these columns are of.
fn only_relation(columns: &[&Column]) -> Option<String> {
    let first = columns.first()?.relation.as_ref()?;
    let same = columns
        .iter()
        .all(|column| column.relation.as_ref() == Some(first));
    same.then(|| first.to_string())
}

/// The label of a table as a query names it; the name itself for anything else.
fn label(relation: &str, source: &Source<'_>) -> String {
    table_of(relation, source).map_or_else(|| relation.to_owned(), |table| table.label.clone())
}

fn table_of<'a>(relation: &str, source: &'a Source<'_>) -> Option<&'a InputTable> {
    let name = source
        .aliases
        .get(relation)
        .map_or(relation, String::as_str);
    let wanted = name.replace('.', ":");
    source.tables.iter().find(|table| table.label == wanted)
}

fn type_of(column: &Column, source: &Source<'_>) -> Option<String> {
    let table = table_of(&column.relation.as_ref()?.to_string(), source)?;
    let field = table.schema.field_with_name(&column.name).ok()?;
    Some(crate::show::type_name(field.data_type()))
}

/// Help that names the candidate nearest to `wanted`, and the others. A candidate is a name, or a name and its type in
/// parentheses.
pub(crate) fn candidates(wanted: &str, names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let bare = |name: &str| name.split(" (").next().unwrap_or(name).to_owned();
    let quote = |name: &String| match name.split_once(" (") {
        Some((name, data_type)) => format!("`{name}` ({data_type}"),
        None => format!("`{name}`"),
    };
    let nearest = names
        .iter()
        .map(|name| {
            (
                distance(&wanted.to_lowercase(), &bare(name).to_lowercase()),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= 1 + wanted.chars().count() / 3)
        .min();
    let others = |names: Vec<&String>| names.into_iter().map(quote).collect::<Vec<_>>().join(", ");
    match nearest {
        Some((_, nearest)) => {
            let rest: Vec<_> = names.iter().filter(|name| *name != nearest).collect();
            match rest.is_empty() {
                true => format!("did you mean {}?", quote(nearest)),
                false => format!(
                    "did you mean {}? there are also {}",
                    quote(nearest),
                    others(rest)
                ),
            }
        }
        None => format!("there are {}", others(names.iter().collect())),
    }
}

/// Insertions, deletions and replacements that turn one text into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Where `name` stands in the query as a word of its own, ignoring case.
fn token(source: &Source<'_>, name: &str) -> Option<std::ops::Range<usize>> {
    let text = source.sql.text.to_ascii_lowercase();
    let name = name.to_ascii_lowercase();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&name)
        .map(|(at, _)| at..at + name.len())
        .find(|at| {
            !text[..at.start].ends_with(word)
                && !text[at.end..].starts_with(word)
                && !name.is_empty()
        })
}

/// The first name in quotes.
fn quoted(message: &str) -> Option<&str> {
    let start = message.find(['\'', '"'])?;
    let quote = message[start..].chars().next()?;
    let rest = &message[start + 1..];
    Some(&rest[..rest.find(quote)?])
}

/// The byte range of a span of lines and columns, both from 1, columns in characters.
fn range(text: &str, span: Span) -> Option<std::ops::Range<usize>> {
    let start = offset(text, span.start.line, span.start.column)?;
    let end = offset(text, span.end.line, span.end.column)?;
    (start < end).then_some(start..end)
}

fn offset(text: &str, line: u64, column: u64) -> Option<usize> {
    let line_start = match line {
        0 => return None,
        1 => 0,
        _ => {
            let breaks = text.match_indices('\n');
            breaks
                .map(|(at, _)| at + 1)
                .nth(usize::try_from(line).ok()? - 2)?
        }
    };
    let column = usize::try_from(column.checked_sub(1)?).ok()?;
    let line = &text[line_start..];
    let within = line
        .char_indices()
        .map(|(at, _)| at)
        .nth(column)
        .unwrap_or(line.len());
    Some(line_start + within)
}

/// Takes ` at Line: 1, Column: 5` off the end of sqlparser's messages.
fn split_location(message: &str) -> (&str, Option<(u64, u64)>) {
    let split = || {
        let (text, at) = message.rsplit_once(" at Line: ")?;
        let (line, column) = at.split_once(", Column: ")?;
        let digits = column.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((text, (line.parse().ok()?, digits.parse().ok()?)))
    };
    match split() {
        Some((text, at)) => (text, Some(at)),
        None => (message, None),
    }
}

fn token_len(text: &str) -> usize {
    let word = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    word.max(text.chars().next().map_or(0, char::len_utf8))
}
