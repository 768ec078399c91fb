//! Why an action is not the one that ran before: the differences of two descriptions, as data.
//!
//! A key is the digest of a description, so two keys differ exactly where their descriptions do, and
//! every differing part yields a [`StaleReason`]: what is explained is what is hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mlbuild_action::{Description, Table};
use mlbuild_manifest::Label;

/// A description's parts, by name.
type Parts = BTreeMap<String, String>;

/// One difference between what a target was last built as and what it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "the variants say what their `name`, `input`, `old` and `new` are of"
)]
pub enum StaleReason {
    /// Nothing is known of an earlier build.
    NeverBuilt,
    /// The output is missing from the cache.
    OutputMissing,
    /// `--force` asked for it.
    Forced,
    /// Another rule makes the target now.
    Rule { old: String, new: String },
    /// The query differs; the differing stretch of its canonical form.
    Query { old: String, new: String },
    /// The command differs.
    Command { old: String, new: String },
    /// A parameter differs; `None` where it did not or does not exist.
    Param {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// A declared environment variable differs.
    Environment {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// Another option of the declaration differs: `key`, `format`, `gate.0`.
    Option {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// The tools differ.
    Toolchain { old: String, new: String },
    /// Code of the project differs: what of the file does, in words.
    Code {
        file: String,
        what: String,
        change: Change,
    },
    /// The version that a declared program names differs.
    Tool {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// The version of a package that the code imports differs.
    Package {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// The Python that runs the code differs.
    Python { old: String, new: String },
    /// Files of an input differ, by name where they are known.
    Files {
        input: String,
        changed: Vec<FileChange>,
    },
    /// The number of rows of an input table differs.
    Rows { input: String, old: u64, new: u64 },
    /// Columns of an input table differ.
    Columns {
        input: String,
        changed: Vec<ColumnChange>,
    },
    /// An input came or went.
    InputSet { input: String, added: bool },
    /// Points among which a model is picked differ.
    Points { changed: Vec<PointChange> },
    /// The same query over the same columns means something else: a name or a type resolves differently, because of a
    /// column that is not read itself. Digests of the two plans.
    Plan { old: String, new: String },
}

/// Columns of an input that differ and do not concern a target, since it reads none of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// The input's label.
    pub input: Label,
    /// How its columns differ.
    pub changed: Vec<ColumnChange>,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, changed } = self;
        write!(f, "{input}: column {}, not read", column_names(changed))
    }
}

impl Unread {
    /// What of `input` differs between `old` and `new` beyond the columns `read`; `None` if nothing does.
    pub(crate) fn between(
        input: &Label,
        old: &Table,
        new: &Table,
        read: &BTreeSet<String>,
    ) -> Option<Self> {
        let find = |table: &'_ Table, name: &str| {
            let column = table.columns.iter().find(|column| column.name == name);
            column.map(|column| (column.data_type.clone(), column.digest))
        };
        let names: BTreeSet<&String> = [old, new]
            .into_iter()
            .flat_map(|table| table.columns.iter().map(|column| &column.name))
            .filter(|name| !read.contains(*name))
            .collect();
        let changed = names.into_iter().filter_map(|name| {
            let (was, is) = (find(old, name), find(new, name));
            (was != is).then(|| ColumnChange {
                column: name.clone(),
                change: Change::of(was, is),
            })
        });
        let changed: Vec<_> = changed.collect();
        (!changed.is_empty()).then(|| Self {
            input: input.clone(),
            changed,
        })
    }
}

/// How a file differs between two trees.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What happened to it.
    pub change: Change,
}

/// How a column differs between two tables.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ColumnChange {
    /// Its name.
    pub column: String,
    /// What happened to it.
    pub change: Change,
}

/// How a point of a `foreach` differs from what it was when a model was last picked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PointChange {
    /// What tells it from the others: `dim=32@lr=0.001`.
    pub point: String,
    /// What happened to it.
    pub change: Change,
    /// The figure that decides, before and now, if that is what changed.
    pub figure: Option<(String, String)>,
}

impl fmt::Display for PointChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.figure {
            Some((old, new)) => write!(f, "{} {old} -> {new}", self.point),
            None => write!(f, "{} {}", self.point, self.change.as_str()),
        }
    }
}

/// What happened to a part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content differs.
    Changed,
    /// It was there and did not count; now it is read.
    NowRead,
    /// It is no longer read, whether it is there or not.
    NoLongerRead,
}

impl Change {
    pub(crate) fn of<T>(old: Option<T>, new: Option<T>) -> Self {
        match (old, new) {
            (None, _) => Self::Added,
            (_, None) => Self::Removed,
            _ => Self::Changed,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::NowRead => "now read",
            Self::NoLongerRead => "no longer read",
        }
    }
}

impl StaleReason {
    /// A stable name for machines: `param`, `query`, `columns`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NeverBuilt => "never_built",
            Self::OutputMissing => "output_missing",
            Self::Forced => "forced",
            Self::Rule { .. } => "rule",
            Self::Query { .. } => "query",
            Self::Command { .. } => "command",
            Self::Param { .. } => "param",
            Self::Environment { .. } => "environment",
            Self::Option { .. } => "option",
            Self::Toolchain { .. } => "toolchain",
            Self::Code { .. } => "code",
            Self::Tool { .. } => "tool",
            Self::Package { .. } => "package",
            Self::Python { .. } => "python",
            Self::Files { .. } => "files",
            Self::Rows { .. } => "rows",
            Self::Columns { .. } => "columns",
            Self::InputSet { .. } => "input_set",
            Self::Points { .. } => "points",
            Self::Plan { .. } => "plan",
        }
    }
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unset =
            |value: &Option<String>| value.clone().unwrap_or_else(|| "(unset)".to_owned());
        match self {
            Self::NeverBuilt => f.write_str("never built before"),
            Self::OutputMissing => f.write_str("its output is missing from the cache"),
            Self::Forced => f.write_str("forced"),
            Self::Rule { old, new } => write!(f, "rule: {old} -> {new}"),
            Self::Query { old, new } => write!(f, "query: {old} -> {new}"),
            Self::Command { old, new } => write!(f, "command: {old} -> {new}"),
            Self::Param { name, old, new } => {
                write!(
                    f,
                    "parameter {name}: {} -> {}",
                    or_unset(old),
                    or_unset(new)
                )
            }
            Self::Environment { name, old, new } => {
                write!(
                    f,
                    "environment {name}: {} -> {}",
                    or_unset(old),
                    or_unset(new)
                )
            }
            Self::Option { name, old, new } => {
                write!(f, "{name}: {} -> {}", or_unset(old), or_unset(new))
            }
            Self::Toolchain { old, new } => write!(f, "tools: {old} -> {new}"),
            Self::Code { file, what, change } => write!(f, "{file}: {what} {}", change.as_str()),
            Self::Tool { name, old, new } => {
                write!(f, "tool {name}: {} -> {}", or_unset(old), or_unset(new))
            }
            Self::Package { name, old, new } => {
                write!(f, "package {name}: {} -> {}", or_unset(old), or_unset(new))
            }
            Self::Python { old, new } => write!(f, "python: {old} -> {new}"),
            Self::Files { input, changed } if changed.is_empty() => {
                write!(f, "{input}: files changed")
            }
            Self::Files { input, changed } => {
                let names: Vec<_> = changed
                    .iter()
                    .map(|c| format!("{} {}", c.path, c.change.as_str()))
                    .collect();
                write!(f, "{input}: {}", some_of(&names))
            }
            Self::Rows { input, old, new } => write!(f, "{input}: {old} -> {new} rows"),
            Self::Columns { input, changed } => {
                write!(f, "{input}: column {}", column_names(changed))
            }
            Self::InputSet { input, added: true } => write!(f, "{input}: read now, not before"),
            Self::InputSet {
                input,
                added: false,
            } => write!(f, "{input}: read before, not now"),
            Self::Points { changed } if changed.is_empty() => {
                f.write_str("points: in another order")
            }
            Self::Points { changed } => {
                let names: Vec<_> = changed.iter().map(ToString::to_string).collect();
                write!(f, "points: {}", some_of(&names))
            }
            Self::Plan { .. } => {
                f.write_str("a name or type in the query now means another column")
            }
        }
    }
}

fn column_names(changed: &[ColumnChange]) -> String {
    let names: Vec<_> = changed
        .iter()
        .map(|c| format!("{} {}", c.column, c.change.as_str()))
        .collect();
    some_of(&names)
}

/// The first few of `names`, and how many more there are.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

/// Every reason why `new` is not `old`; empty only if the two are equal.
///
/// `files` names the changes between two trees of an input, given their digests as text; it may
/// answer with nothing when a tree is no longer known.
pub(crate) fn reasons(
    old: &Description,
    new: &Description,
    files: &dyn Fn(&str, &str) -> Vec<FileChange>,
) -> Vec<StaleReason> {
    let mut reasons = Vec::new();
    let mut columns: Vec<(String, Vec<ColumnChange>)> = Vec::new();
    let mut lists = Vec::new();
    let (old, new) = (old.parts(), new.parts());
    let picks = [old, new]
        .iter()
        .all(|parts| parts.get("rule").is_some_and(|rule| rule == "pick"));
    if picks {
        reasons.extend(point_changes(old, new));
    }
    let inputs = |parts: &Parts| -> BTreeSet<String> {
        parts
            .keys()
            .filter_map(|part| InputPart::of(part))
            .map(|part| part.input.to_owned())
            .collect()
    };
    let (old_inputs, new_inputs) = (inputs(old), inputs(new));
    for input in old_inputs.symmetric_difference(&new_inputs) {
        if picks {
            continue;
        }
        let added = new_inputs.contains(input);
        reasons.push(StaleReason::InputSet {
            input: input.clone(),
            added,
        });
    }

    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (was, is) = (old.get(name), new.get(name));
        if was == is {
            continue;
        }
        if name == "plan" {
            continue; // said last, if there is nothing else to say
        }
        if picks && (name == "points" || InputPart::of(name).is_some()) {
            continue; // said point by point
        }
        if let Some(code) = CodePart::of(name) {
            reasons.extend(code.reason(old, new));
            continue;
        }
        let Some(part) = InputPart::of(name) else {
            reasons.push(option_reason(name, was.cloned(), is.cloned()));
            continue;
        };
        let input = part.input.to_owned();
        if old_inputs.contains(&input) != new_inputs.contains(&input) {
            continue; // said as a whole already
        }
        match part.part {
            "files" => {
                let changed = was
                    .zip(is)
                    .map_or_else(Vec::new, |(was, is)| files(was, is));
                reasons.push(StaleReason::Files { input, changed });
            }
            "rows" => {
                let count = |text: Option<&String>| text.and_then(|t| t.parse().ok()).unwrap_or(0);
                reasons.push(StaleReason::Rows {
                    input,
                    old: count(was),
                    new: count(is),
                });
            }
            other => match other.strip_prefix("column.") {
                Some(column) => {
                    // Of a whole table the list of columns is a part too.
                    let list = format!("input.{input}.columns");
                    let change = match Change::of(was, is) {
                        Change::Added if !new.contains_key(&list) => Change::NowRead,
                        Change::Removed if !new.contains_key(&list) => Change::NoLongerRead,
                        change => change,
                    };
                    let change = ColumnChange {
                        column: column.to_owned(),
                        change,
                    };
                    match columns.last_mut().filter(|(last, _)| *last == input) {
                        Some((_, changes)) => changes.push(change),
                        None => columns.push((input, vec![change])),
                    }
                }
                // A column that came or went also changes this list: said once, by name, below.
                None if other == "columns" => {
                    lists.push((
                        input,
                        option_reason("column order", was.cloned(), is.cloned()),
                    ));
                }
                None => reasons.push(option_reason(name, was.cloned(), is.cloned())),
            },
        }
    }
    let unsaid = |(input, _): &(String, _)| columns.iter().all(|(said, _)| said != input);
    reasons.extend(lists.into_iter().filter(unsaid).map(|(_, reason)| reason));
    reasons.extend(
        columns
            .into_iter()
            .map(|(input, changed)| StaleReason::Columns { input, changed }),
    );
    let plan = |parts: &BTreeMap<String, String>| parts.get("plan").cloned().unwrap_or_default();
    if reasons.is_empty() && plan(old) != plan(new) {
        let (old, new) = (plan(old), plan(new));
        reasons.push(StaleReason::Plan { old, new });
    }
    reasons
}

/// How the candidates of two choices differ; nothing if they do not.
fn point_changes(old: &Parts, new: &Parts) -> Option<StaleReason> {
    let points = |parts: &Parts| -> BTreeSet<String> {
        let inputs = parts.keys().filter_map(|part| InputPart::of(part));
        inputs.map(|part| part.input.to_owned()).collect()
    };
    let (old_points, new_points) = (points(old), points(new));
    let mut changed = Vec::new();
    for point in old_points.union(&new_points) {
        let part = |parts: &Parts, part| parts.get(&format!("input.{point}.{part}")).cloned();
        let (was, is) = (part(old, "files"), part(new, "files"));
        let figures = part(old, "figure").zip(part(new, "figure"));
        let figure = figures.filter(|(was, is)| was != is);
        if was != is || figure.is_some() {
            changed.push(PointChange {
                point: point.clone(),
                change: Change::of(was, is),
                figure,
            });
        }
    }
    let reordered = old.get("points") != new.get("points");
    (reordered || !changed.is_empty()).then_some(StaleReason::Points { changed })
}

/// A part `input.NAME.PART`, taken apart.
struct InputPart<'a> {
    input: &'a str,
    part: &'a str,
}

impl<'a> InputPart<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let rest = name.strip_prefix("input.")?;
        // Names of inputs may hold a point themselves (`predictions.recs`); their parts are known.
        let mut ends = [".files", ".figure", ".rows", ".key", ".columns"].into_iter();
        if let Some(end) = ends.find(|end| rest.ends_with(end) && !rest.contains(".column.")) {
            let input = &rest[..rest.len() - end.len()];
            return Some(Self {
                input,
                part: &end[1..],
            });
        }
        let at = rest.find(".column.")?;
        Some(Self {
            input: &rest[..at],
            part: &rest[at + 1..],
        })
    }
}

/// A part `code.FILE` or `code.FILE.NAME`, taken apart.
struct CodePart<'a> {
    part: &'a str,
    file: &'a str,
}

impl<'a> CodePart<'a> {
    fn of(part: &'a str) -> Option<Self> {
        let rest = part.strip_prefix("code.")?;
        // Names have no point and no slash in them; paths have both.
        let file = match rest
            .rfind(".py.")
            .filter(|at| !rest[at + 4..].contains('/'))
        {
            Some(at) => &rest[..at + 3],
            None => rest,
        };
        Some(Self { part, file })
    }

    /// What is said about it; `None` if a part before it says so already.
    fn reason(&self, old: &Parts, new: &Parts) -> Option<StaleReason> {
        let Self { part, file } = *self;
        let of_file = |parts: &Parts| parts.keys().any(|part| Self::is_of(part, file));
        let change = match (of_file(old), of_file(new)) {
            (true, true) => {
                let (was, is) = (old.get(part), new.get(part));
                return Some(StaleReason::Code {
                    file: file.to_owned(),
                    what: self.what(is.or(was)?),
                    change: Change::of(was, is),
                });
            }
            (false, _) => Change::Added,
            (true, false) => Change::Removed,
        };
        // The whole file came or went: said once, by its first part.
        let names = old.keys().chain(new.keys());
        let first = names.filter(|part| Self::is_of(part, file)).min()?;
        (first == part).then(|| StaleReason::Code {
            file: file.to_owned(),
            what: "code".to_owned(),
            change,
        })
    }

    fn is_of(part: &str, file: &str) -> bool {
        CodePart::of(part).is_some_and(|part| part.file == file)
    }

    /// As `function scale`, from the part's name and the first word of its value.
    fn what(&self, value: &str) -> String {
        let name = &self.part["code.".len() + self.file.len()..];
        match name.strip_prefix('.') {
            Some(name) => format!("{} {name}", value.split(' ').next().unwrap_or("name")),
            None => "statements outside of functions and classes".to_owned(),
        }
    }
}

fn option_reason(name: &str, old: Option<String>, new: Option<String>) -> StaleReason {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    match name {
        "rule" => StaleReason::Rule {
            old: text(&old),
            new: text(&new),
        },
        "toolchain" => StaleReason::Toolchain {
            old: text(&old),
            new: text(&new),
        },
        "python" => StaleReason::Python {
            old: text(&old),
            new: text(&new),
        },
        "sql" => {
            let (old, new) = differing_stretch(&text(&old), &text(&new));
            StaleReason::Query { old, new }
        }
        "command" | "shell" => {
            let (old, new) = differing_stretch(&text(&old), &text(&new));
            StaleReason::Command { old, new }
        }
        _ => {
            if let Some(name) = name.strip_prefix("param.") {
                StaleReason::Param {
                    name: name.to_owned(),
                    old,
                    new,
                }
            } else if let Some(name) = name.strip_prefix("env.") {
                StaleReason::Environment {
                    name: name.to_owned(),
                    old,
                    new,
                }
            } else if let Some(name) = name.strip_prefix("tool.") {
                StaleReason::Tool {
                    name: name.to_owned(),
                    old,
                    new,
                }
            } else if let Some(name) = name.strip_prefix("package.") {
                StaleReason::Package {
                    name: name.to_owned(),
                    old,
                    new,
                }
            } else {
                StaleReason::Option {
                    name: name.to_owned(),
                    old,
                    new,
                }
            }
        }
    }
}

/// The words in which two texts differ, between their common beginning and end; shortened to a line.
fn differing_stretch(old: &str, new: &str) -> (String, String) {
    let old: Vec<&str> = old.split_whitespace().collect();
    let new: Vec<&str> = new.split_whitespace().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    // One word of context on each side where a side would be empty: `(nothing)` says little.
    let stretch = |words: &[&str]| {
        let text = words[head..words.len() - tail].join(" ");
        match text.char_indices().nth(80) {
            _ if text.is_empty() => "(nothing)".to_owned(),
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    };
    (stretch(&old), stretch(&new))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &[(&str, &str)] = &[
        ("rule", "sql"),
        ("toolchain", "datafusion 55 epoch 1"),
        ("sql", "SELECT a FROM data.b WHERE a > 1"),
        ("key", "[]"),
        ("param.gap", "30"),
        ("plan", "77"),
        ("input.data:d.rows", "3"),
        ("input.data:d.column.e", "Int64 11"),
        ("input.data:b.rows", "3"),
        ("input.data:b.key", "[]"),
        ("input.data:b.columns", "[\"a\",\"c\"]"),
        ("input.data:b.column.a", "Int64 11"),
        ("input.data:b.column.c", "Utf8 22"),
        ("input.predictions.recs.files", "33"),
        ("env.LEVEL", "1"),
        ("shell", "echo 1"),
        ("code.lib/text.py", "statements 44"),
        ("code.lib/text.py.scale", "function 55"),
        ("code.lib/text.py.Text", "class 66"),
        ("package.polars", "1.9.0"),
        ("python", "cpython 3.11.7"),
    ];

    fn description(edits: &[(&str, Option<&str>)]) -> Description {
        let mut parts: BTreeMap<String, String> = BASE
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        for (name, value) in edits {
            match value {
                Some(value) => parts.insert((*name).to_owned(), (*value).to_owned()),
                None => parts.remove(*name),
            };
        }
        Description::from_parts(parts)
    }

    #[track_caller]
    fn check(edits: &[(&str, Option<&str>)], expect: &[&str]) {
        let files = |_: &str, _: &str| {
            vec![FileChange {
                path: "raw/a.csv".to_owned(),
                change: Change::Changed,
            }]
        };
        let reasons = reasons(&description(&[]), &description(edits), &files);
        let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expect);
    }

    #[test]
    fn equal_descriptions_have_no_reason() {
        check(&[], &[]);
    }

    #[test]
    fn each_difference_is_said_in_its_own_words() {
        check(&[("param.gap", Some("45"))], &["parameter gap: 30 -> 45"]);
        check(
            &[("param.new", Some("1"))],
            &["parameter new: (unset) -> 1"],
        );
        check(
            &[("sql", Some("SELECT a FROM data.b WHERE a > 2"))],
            &["query: 1 -> 2"],
        );
        check(&[("shell", Some("echo 2"))], &["command: 1 -> 2"]);
        check(
            &[("tool.jq", Some("jq-1.7"))],
            &["tool jq: (unset) -> jq-1.7"],
        );
        check(&[("env.LEVEL", None)], &["environment LEVEL: 1 -> (unset)"]);
        check(&[("rule", Some("command"))], &["rule: sql -> command"]);
        check(&[("key", Some("[\"a\"]"))], &["key: [] -> [\"a\"]"]);
        check(
            &[("toolchain", Some("datafusion 56 epoch 2"))],
            &["tools: datafusion 55 epoch 1 -> datafusion 56 epoch 2"],
        );
        check(
            &[("input.predictions.recs.files", Some("34"))],
            &["predictions.recs: raw/a.csv changed"],
        );
    }

    #[test]
    fn code_is_named_by_file_and_function() {
        check(
            &[("code.lib/text.py.scale", Some("function 56"))],
            &["lib/text.py: function scale changed"],
        );
        check(
            &[
                ("code.lib/text.py.Text", None),
                ("code.lib/text.py.trim", Some("function 77")),
            ],
            &[
                "lib/text.py: class Text removed",
                "lib/text.py: function trim added",
            ],
        );
        check(
            &[("code.lib/text.py", Some("statements 45"))],
            &["lib/text.py: statements outside of functions and classes changed"],
        );
        check(
            &[
                ("code.lib/more.py", Some("statements 1")),
                ("code.lib/more.py.f", Some("function 2")),
                ("code.lib/text.py", None),
                ("code.lib/text.py.scale", None),
                ("code.lib/text.py.Text", None),
            ],
            &["lib/more.py: code added", "lib/text.py: code removed"],
        );
    }

    #[test]
    fn packages_and_the_interpreter_are_named_by_version() {
        check(
            &[("package.polars", Some("1.10.0"))],
            &["package polars: 1.9.0 -> 1.10.0"],
        );
        check(
            &[("package.numpy", Some("2.1.0"))],
            &["package numpy: (unset) -> 2.1.0"],
        );
        check(
            &[("python", Some("cpython 3.12.1"))],
            &["python: cpython 3.11.7 -> cpython 3.12.1"],
        );
    }

    #[test]
    fn a_tables_change_names_rows_and_columns() {
        check(
            &[
                ("input.data:b.rows", Some("4")),
                ("input.data:b.column.a", Some("Int64 12")),
                ("input.data:b.column.c", None),
                ("input.data:b.columns", Some("[\"a\"]")),
            ],
            &["data:b: 3 -> 4 rows", "data:b: column a changed, c removed"],
        );
        check(
            &[("input.data:b.columns", Some("[\"c\",\"a\"]"))],
            &["column order: [\"a\",\"c\"] -> [\"c\",\"a\"]"],
        );
    }

    #[test]
    fn of_a_table_of_which_only_some_columns_are_read_reading_is_what_changes() {
        check(
            &[
                ("input.data:d.column.e", None),
                ("input.data:d.column.f", Some("Utf8 33")),
            ],
            &["data:d: column e no longer read, f now read"],
        );
    }

    #[test]
    fn a_plan_is_said_where_nothing_else_explains_it() {
        let text = "a name or type in the query now means another column";
        check(&[("plan", Some("78"))], &[text]);
        check(
            &[("plan", Some("78")), ("param.gap", Some("45"))],
            &["parameter gap: 30 -> 45"],
        );
    }

    #[test]
    fn what_changed_and_is_not_read_is_told_apart() {
        let table = |columns: &[(&str, &str)]| Table {
            rows: 1,
            columns: columns
                .iter()
                .map(|(name, values)| mlbuild_action::Column {
                    name: (*name).to_owned(),
                    data_type: "Int64".to_owned(),
                    digest: mlbuild_digest::Digest::of(values.as_bytes()),
                })
                .collect(),
            key: Vec::new(),
        };
        let old = table(&[("id", "1"), ("amount", "2"), ("note", "3"), ("gone", "4")]);
        let new = table(&[("id", "1"), ("amount", "5"), ("note", "6"), ("new", "7")]);
        let input: Label = "data:orders".parse().unwrap();
        let read = BTreeSet::from(["id".to_owned(), "amount".to_owned()]);
        let unread = Unread::between(&input, &old, &new, &read).unwrap();
        assert_eq!(
            unread.to_string(),
            "data:orders: column gone removed, new added, note changed, not read"
        );
        assert_eq!(Unread::between(&input, &old, &old, &read), None);
    }

    #[test]
    fn an_input_that_came_or_went_is_said_once() {
        let gone: Vec<_> = BASE
            .iter()
            .filter(|(name, _)| name.starts_with("input.data:b"))
            .map(|(name, _)| (*name, None))
            .collect();
        check(&gone, &["data:b: read before, not now"]);
    }

    /// The parts that `spec/action-key.md` lists, with a name for each placeholder.
    fn documented_parts() -> BTreeSet<String> {
        let page = include_str!("../../../spec/action-key.md");
        let (_, table) = page.split_once("\n| part | of | value |\n").unwrap();
        let rows = table
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        // Every other piece between backticks of the first cell is a name.
        let names =
            rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
        let part = |name: &str| {
            // `input.NAME.key`, `.columns`: the second is short for the same beginning.
            let whole = match name.strip_prefix('.') {
                Some(end) => format!("input.NAME.{end}"),
                None => name.to_owned(),
            };
            let names = [
                ("NAME", "n"),
                ("INPUT", "data:x"),
                ("COLUMN", "a"),
                ("FILE", "lib/a.py"),
                (".N", ".0"),
                ("*", "a"),
            ];
            names
                .iter()
                .fold(whole, |name, (place, like)| name.replace(place, like))
        };
        names.map(part).collect()
    }

    #[test]
    fn no_documented_part_of_a_key_lacks_a_reason_with_what_was_and_is() {
        let parts = documented_parts();
        assert!(parts.len() > 40, "{parts:?}");
        // What a reason says of old and new by name, not by value: contents have no value that people know.
        let by_name = [
            "input.n.files",
            "input.n.column.a",
            "plan",
            "code.lib/a.py",
            "code.lib/a.py.n",
        ];
        for part in &parts {
            let with = |value: Option<&str>| {
                let mut all: BTreeMap<String, String> = parts
                    .iter()
                    .map(|name| (name.clone(), "1".to_owned()))
                    .collect();
                match value {
                    Some(value) => all.insert(part.clone(), value.to_owned()),
                    None => all.remove(part),
                };
                Description::from_parts(all)
            };
            for (old, new) in [
                (Some("71"), Some("72")),
                (None, Some("72")),
                (Some("71"), None),
            ] {
                let files = |_: &str, _: &str| Vec::new();
                let reasons = reasons(&with(old), &with(new), &files);
                let [reason] = &reasons[..] else {
                    panic!("{part}: one part, one reason: {reasons:?}");
                };
                let text = reason.to_string();
                let says = |value: Option<&str>| value.is_none_or(|value| text.contains(value));
                assert!(
                    by_name.contains(&&**part) || (says(old) && says(new)),
                    "{part}: {text}"
                );
            }
        }
    }

    #[test]
    fn no_part_of_a_description_lacks_a_reason() {
        for (name, value) in BASE {
            for edit in [None, Some(format!("{value}9"))] {
                let files = |_: &str, _: &str| Vec::new();
                let new = description(&[(*name, edit.as_deref())]);
                let reasons = reasons(&description(&[]), &new, &files);
                assert!(!reasons.is_empty(), "{name} -> {edit:?}");
            }
        }
    }
}
