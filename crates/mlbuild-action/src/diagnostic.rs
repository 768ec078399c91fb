//! Diagnostics: what went wrong, where, and what to do now, as data.

use std::fmt;
use std::ops::Range;

/// Whether a diagnostic stops the build.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Nothing that depends on this can go on.
    Error,
    /// Worth a look; the build goes on.
    Warning,
}

/// A place in a file of the project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceSpan {
    /// The file, relative to the project's root, with `/`.
    pub file: String,
    /// Byte range in the file's text.
    pub range: Range<usize>,
    /// What stands there, in a few words.
    pub label: String,
}

/// What went wrong, where, and what to do now. Rendered by the binary alone.
///
/// The message is lower case, has no final period, and sets names in backticks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// A stable name: `manifest::unknown-key`.
    pub code: &'static str,
    /// Whether it stops the build.
    pub severity: Severity,
    /// One sentence: what is wrong.
    pub message: String,
    /// The places, first the one to change.
    pub spans: Vec<SourceSpan>,
    /// What to do about it.
    pub help: Option<String>,
    /// More lines, shown as they are: offending rows, the end of a log.
    pub detail: Vec<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            spans: Vec::new(),
            help: None,
            detail: Vec::new(),
        }
    }

    /// A warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(
        mut self,
        file: impl Into<String>,
        range: Range<usize>,
        label: impl Into<String>,
    ) -> Self {
        self.spans.push(SourceSpan {
            file: file.into(),
            range,
            label: label.into(),
        });
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds lines to show as they are.
    #[must_use]
    pub fn detail(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.detail.extend(lines);
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
