//! Names: kinds, labels, paths inside the project.

use std::fmt;
use std::str::FromStr;

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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label {
    kind: Kind,
    name: String,
}

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
        Self::new(kind, name).ok_or_else(|| {
            bad("a name is lower case letters, digits and `_`, and begins with a letter".to_owned())
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
