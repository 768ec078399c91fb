//! Names: kinds, labels, paths inside the project.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mlbuild_action::Value;
use mlbuild_digest::Digest;

/// What a target is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A dataset.
    Data,
    /// A table of features.
    Features,
    /// A model.
    Model,
    /// A report.
    Report,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 4] = [Self::Data, Self::Features, Self::Model, Self::Report];

    /// The kind as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Features => "features",
            Self::Model => "model",
            Self::Report => "report",
        }
    }

    /// The kind written so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What a target of this kind is, in a sentence: `dataset`.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Data => "dataset",
            Self::Features => "feature table",
            Self::Model => "model",
            Self::Report => "report",
        }
    }

    /// Whether its targets are tables, unless their files are kept as they are.
    pub const fn is_tabular(self) -> bool {
        matches!(self, Self::Data | Self::Features)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a target: `kind:name`, unique in the project.
///
/// A point of a `foreach` has the name of the target that declares it and its own parameters behind that:
/// `model:recs@dim=32@lr=0.001`. Nobody can declare such a name, and no point has another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label {
    kind: Kind,
    name: String,
}

/// What stands before the parameters of a point, and between them.
const POINT: char = '@';

/// How long the parameters in a point's label may be, counting three bytes for what file names have to escape.
const POINT_LENGTH: usize = 120;

impl Label {
    /// A label; `None` unless [`is_name`] holds for the name.
    pub fn new(kind: Kind, name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        is_name(&name).then_some(Self { kind, name })
    }

    /// What the target is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name, unique in its kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The label of a point of this target, by its parameters.
    ///
    /// They stand in the order of their names, so that the label does not depend on how they are written down. Text is
    /// cut down to what needs no quotes anywhere; what is long is shortened, with a digest of all of it. So two points may
    /// come out alike: [`Self::point_by_digest`] tells them apart.
    pub fn point(&self, params: &BTreeMap<String, Value>) -> Self {
        let text = written(params, &plain);
        match escaped_length(&text) <= POINT_LENGTH {
            true => self.with_point(&text),
            false => self.point_by_digest(params),
        }
    }

    /// As [`Self::point`], with a digest of the parameters at the end.
    pub fn point_by_digest(&self, params: &BTreeMap<String, Value>) -> Self {
        let all = written(params, &|value| value.to_string());
        let digest = Digest::of(all.as_bytes()).short();
        let mut text = written(params, &plain);
        let with_digest = |text: &str| format!("{text}.{digest}");
        while escaped_length(&with_digest(&text)) > POINT_LENGTH {
            text.pop();
        }
        self.with_point(&with_digest(&text))
    }

    /// The point of this target whose label has `text` behind the target's.
    #[must_use]
    pub fn with_point(&self, text: &str) -> Self {
        Self {
            kind: self.kind,
            name: format!("{}{POINT}{text}", self.name),
        }
    }

    /// The parameters of a point, as they stand in its label: `dim=32@lr=0.001`; `None` if it is a target of its own.
    pub fn point_name(&self) -> Option<&str> {
        self.name.split_once(POINT).map(|(_, point)| point)
    }

    /// Whether it is a point of a `foreach`.
    pub fn is_point(&self) -> bool {
        self.name.contains(POINT)
    }

    /// The target that declares this one: of a point that with the `foreach`, else itself.
    pub fn declared(&self) -> Self {
        let name = self.name.split(POINT).next().unwrap_or(&self.name);
        Self {
            kind: self.kind,
            name: name.to_owned(),
        }
    }
}

fn written(params: &BTreeMap<String, Value>, value: &dyn Fn(&Value) -> String) -> String {
    let pairs = params
        .iter()
        .map(|(name, of)| format!("{}={}", simple(name), value(of)));
    pairs.collect::<Vec<_>>().join("@")
}

/// A value without what shells, globs or selections would take for theirs.
fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => simple(text),
        other => other.to_string(),
    }
}

fn simple(text: &str) -> String {
    let keep = |c: char| if is_point_char(c) { c } else { '-' };
    text.chars().map(keep).collect()
}

fn is_point_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn escaped_length(text: &str) -> usize {
    let width = |c: char| match c {
        '_' | '-' => 1,
        _ if c.is_ascii_alphanumeric() => 1,
        _ => 3,
    };
    text.chars().map(width).sum()
}

/// Whether a text may stand behind the `@` of a label. What was shortened may end within a name.
fn is_point_name(text: &str) -> bool {
    let is_plain =
        |pair: &str| !pair.is_empty() && pair.chars().all(|c| c == '=' || is_point_char(c));
    let first = text.split(POINT).next().unwrap_or_default();
    let is_short = escaped_length(text) <= POINT_LENGTH;
    is_short && first.contains('=') && text.split(POINT).all(is_plain)
}

/// Whether a text may name a target: `[a-z][a-z0-9_]*`, at most 100 bytes, so that it also names a file.
pub fn is_name(text: &str) -> bool {
    text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// Why a text is no [`Label`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLabel {
    /// The text.
    pub text: String,
    /// How to write it.
    pub help: String,
}

impl fmt::Display for BadLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a label", self.text)
    }
}

impl std::error::Error for BadLabel {}

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Self, BadLabel> {
        let bad = |help: String| BadLabel {
            text: text.to_owned(),
            help,
        };
        let Some((kind, name)) = text.split_once(':') else {
            let dotted = text
                .split_once('.')
                .filter(|(kind, name)| Kind::from_name(kind).is_some() && is_name(name));
            return Err(bad(match dotted {
                Some((kind, name)) => format!("write `{kind}:{name}`"),
                None => "a label is written `kind:name`, as in `data:sessions`".to_owned(),
            }));
        };
        let Some(kind) = Kind::from_name(kind) else {
            let kinds = Kind::ALL.map(Kind::as_str);
            return Err(bad(match crate::nearest(kind, kinds) {
                Some(near) => format!("did you mean `{near}:{name}`?"),
                None => format!("the kinds are {}", crate::list(kinds)),
            }));
        };
        let (declared, point) = match name.split_once(POINT) {
            Some((declared, point)) => (declared, Some(point)),
            None => (name, None),
        };
        let label = Self::new(kind, declared).filter(|_| point.is_none_or(is_point_name));
        label
            .map(|label| match point {
                Some(point) => label.with_point(point),
                None => label,
            })
            .ok_or_else(|| {
                bad(
                    "a name is lower case letters, digits and `_`, and begins with a letter"
                        .to_owned(),
                )
            })
    }
}

/// A path or glob inside the project: relative, with `/`, without `.` and `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProjectPath(String);

impl ProjectPath {
    /// The path as written, without a trailing `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no [`ProjectPath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadPath {
    /// It is empty, or has an empty component or a control character.
    Malformed,
    /// It begins at the root of a file system, or at somebody's home.
    Absolute,
    /// It has a `..`.
    Leaves,
    /// It has a `.` component.
    Dot,
    /// It is written with `\`.
    Backslash,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "is not a path",
            Self::Absolute => "is an absolute path",
            Self::Leaves => "leaves the project",
            Self::Dot => "has a `.` in it",
            Self::Backslash => "is written with `\\`",
        })
    }
}

impl std::error::Error for BadPath {}

impl FromStr for ProjectPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let drive = text.as_bytes().get(1) == Some(&b':');
        if text.starts_with(['/', '~']) || drive {
            return Err(BadPath::Absolute);
        }
        if text.contains('\\') {
            return Err(BadPath::Backslash);
        }
        let path = text.strip_suffix('/').unwrap_or(text);
        for component in path.split('/') {
            match component {
                "" => return Err(BadPath::Malformed),
                "." => return Err(BadPath::Dot),
                ".." => return Err(BadPath::Leaves),
                _ if component.contains(char::is_control) => return Err(BadPath::Malformed),
                _ => {}
            }
        }
        Ok(Self(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn point(params: &[(&str, Value)]) -> Label {
        let model = Label::new(Kind::Model, "recs").unwrap();
        let params = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        model.point(&params.collect())
    }

    #[test]
    fn a_point_is_named_by_its_parameters_in_one_order_and_reads_back() {
        let lr = ("lr", Value::Float(1e-3));
        let dim = ("dim", Value::Int(32));
        let label = point(&[lr.clone(), dim.clone()]);
        assert_eq!(label.to_string(), "model:recs@dim=32@lr=0.001");
        assert_eq!(label, point(&[dim, lr]));
        assert_eq!(label.to_string().parse(), Ok(label.clone()));
        assert_eq!(label.point_name(), Some("dim=32@lr=0.001"));
        assert_eq!(label.declared().to_string(), "model:recs");
        assert!(
            Label::new(Kind::Model, label.name()).is_none(),
            "nobody declares it"
        );
    }

    #[test]
    fn what_a_shell_or_a_file_name_would_mind_is_not_in_a_label() {
        let text = |text: &str| point(&[("loss", Value::Text(text.to_owned()))]);
        assert_eq!(text("a b/*'$").to_string(), "model:recs@loss=a-b----");
        let long = [
            text(&"x".repeat(400)),
            text(&format!("{}y", "x".repeat(399))),
        ];
        assert_ne!(long[0], long[1], "a digest tells them apart");
        for label in &long {
            assert_eq!(label.to_string().parse().as_ref(), Ok(label));
            assert!(escaped_length(label.name()) < 200);
        }
    }

    #[test]
    fn what_is_no_point_is_no_label() {
        for text in [
            "model:recs@",
            "model:recs@dim",
            "model:recs@a=1@",
            "model:recs@a=*",
            "model:@a=1",
            "model:Recs@a=1",
        ] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }
}
