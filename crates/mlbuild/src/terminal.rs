//! How diagnostics and figures look: the only place that knows about colour and width.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::ops::Range;
use std::time::Duration;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use mlbuild_action::{Diagnostic, Severity, SourceSpan};
use mlbuild_manifest::SourceText;

/// What the user's terminal can do.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    /// Whether standard error is a terminal that can redraw lines.
    pub(crate) live: bool,
    /// Whether to colour.
    pub(crate) color: bool,
    /// Whether to print only results and errors.
    pub(crate) quiet: bool,
    /// Whether to print more.
    pub(crate) verbose: bool,
    /// Whether results are JSON on standard output.
    pub(crate) json: bool,
}

impl Terminal {
    pub(crate) fn new(global: &crate::cli::Global) -> Self {
        use crate::cli::ColorWhen;
        let live =
            std::io::stderr().is_terminal() && crate::env::var("TERM").is_none_or(|t| t != "dumb");
        let color = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => {
                live && crate::env::var("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self {
            live,
            color,
            quiet: global.quiet,
            verbose: global.verbose,
            json: global.json,
        }
    }

    /// Prints diagnostics to standard error, each with the lines of `sources` that it is about; with `--json` also to
    /// standard output, for programs.
    pub(crate) fn diagnostics(&self, diagnostics: &[Diagnostic], sources: &[SourceText]) {
        for diagnostic in diagnostics {
            if self.json {
                crate::json::print(&crate::json::problem(diagnostic, sources));
            }
            if self.quiet && diagnostic.severity == Severity::Warning {
                continue;
            }
            let _ = write!(
                std::io::stderr().lock(),
                "{}",
                self.render(diagnostic, sources)
            );
        }
    }

    /// The text of one diagnostic.
    pub(crate) fn render(&self, diagnostic: &Diagnostic, sources: &[SourceText]) -> String {
        let theme = if self.color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .with_links(false);
        let mut text = String::new();
        let rendered = handler.render_report(&mut text, &Report::new(diagnostic, sources));
        if rendered.is_err() {
            text = format!("{diagnostic}\n");
        }
        for line in &diagnostic.detail {
            let _ = writeln!(text, "    {line}");
        }
        if !diagnostic.detail.is_empty() {
            text.push('\n');
        }
        text
    }

    /// Prints a line about what is going on to standard error, unless asked to be quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// `text` in bold, where colour is on.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    /// `text` in green.
    pub(crate) fn good(&self, text: &str) -> String {
        self.styled("32", text)
    }

    /// `text` in red.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.styled("31", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A diagnostic as miette wants it.
#[derive(Debug)]
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<NamedSource<String>>,
    help: Option<String>,
}

impl<'a> Report<'a> {
    fn new(diagnostic: &'a Diagnostic, sources: &[SourceText]) -> Self {
        let text_of = |file: &str| {
            sources
                .iter()
                .find(|source| source.path == file)
                .map(|source| &source.text)
        };
        let first = diagnostic.spans.first();
        let text = first.and_then(|span| Some((&span.file, text_of(&span.file)?)));
        let is_shown = text.is_none_or(|(_, text)| can_be_shown(text));
        let source = text
            .filter(|_| is_shown)
            .map(|(file, text)| NamedSource::new(file, text.clone()));
        // miette shows one source a report: places in other files are named by line.
        let mut help = diagnostic.help.clone();
        let is_named =
            |span: &&SourceSpan| !is_shown || Some(&span.file) != first.map(|first| &first.file);
        for span in diagnostic.spans.iter().filter(is_named) {
            let line = text_of(&span.file).map_or(1, |text| line_of(text, span.range.start));
            let place = format!("{}:{line}: {}", span.file, span.label);
            help = Some(help.map_or_else(|| place.clone(), |help| format!("{help}\n{place}")));
        }
        Self {
            diagnostic,
            source,
            help,
        }
    }
}

/// miette cannot count columns beyond 65,535, and nobody would read them.
const LONGEST_LINE_BYTES: usize = 10_000;

fn can_be_shown(text: &str) -> bool {
    text.lines().all(|line| line.len() <= LONGEST_LINE_BYTES)
}

/// The part of a range that is whole characters of `text`: a place that is slightly wrong must not cost the message.
fn within(text: &str, range: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start);
    start..text.ceil_char_boundary(range.end).max(start)
}

/// The line, from 1, of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn std::fmt::Display + 'b>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn std::fmt::Display + 'b>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let source = self.source.as_ref()?;
        let spans = self
            .diagnostic
            .spans
            .iter()
            .filter(|span| span.file == source.name());
        Some(Box::new(spans.map(|span| {
            let range = within(source.inner(), &span.range);
            LabeledSpan::new(Some(span.label.clone()), range.start, range.len())
        })))
    }
}

/// How many characters a line of standard output may have: as `COLUMNS` says, else as wide as the terminal is; `None` if it
/// is none.
pub(crate) fn width() -> Option<usize> {
    let told = crate::env::var("COLUMNS").and_then(|columns| columns.parse().ok());
    let stdout = std::io::stdout();
    let seen = || {
        let (_, columns) = stdout
            .is_terminal()
            .then(|| console::Term::stdout().size_checked())??;
        Some(usize::from(columns))
    };
    told.filter(|columns| *columns > 0).or_else(seen)
}

/// A duration for people: `12 ms`, `3.4 s`, `2 min 5 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {} s", s as u64 / 60, s as u64 % 60),
        s => format!("{} h {} min", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

/// A number with thousands separated: `100,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in bytes for people, in powers of ten: `1.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `1 target`, `3 targets`.
pub(crate) fn plural(number: usize, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(number as u64),
        if number == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: places behind the end, within a character, the wrong way round.
    #[test]
    fn a_place_that_is_not_in_the_text_is_shown_where_it_almost_is() {
        let text = "a ä";
        let places = [
            (6..9, 4..4),
            (3..4, 2..4),
            (usize::MAX - 1..usize::MAX, 4..4),
            (0..2, 0..2),
        ];
        for (place, shown) in places {
            assert_eq!(within(text, &place), shown, "{place:?}");
        }
        let backwards = Range { start: 2, end: 1 };
        assert_eq!(within(text, &backwards), 2..2);
    }

    #[test]
    fn a_mistake_in_a_line_too_long_to_be_shown_is_named_by_its_line() {
        let text = format!("[project]\nx = {}\n", "[".repeat(70_000));
        let source = SourceText {
            path: "mlbuild.toml".to_owned(),
            text,
        };
        let diagnostic =
            Diagnostic::error("test::deep", "too deep").at("mlbuild.toml", 69_000..69_001, "here");
        let report = Report::new(&diagnostic, std::slice::from_ref(&source));
        assert!(report.source.is_none());
        assert_eq!(report.help.as_deref(), Some("mlbuild.toml:2: here"));
    }

    #[test]
    fn figures_read_well() {
        let d = |ms| duration(Duration::from_millis(ms));
        assert_eq!(
            [d(0), d(999), d(1000), d(59_940), d(61_000), d(3_700_000)],
            [
                "0 ms",
                "999 ms",
                "1.0 s",
                "59.9 s",
                "1 min 1 s",
                "1 h 1 min"
            ]
        );
        assert_eq!(
            [count(0), count(999), count(1000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [size(0), size(999), size(1500), size(123_456_789)],
            ["0 B", "999 B", "1.5 kB", "123 MB"]
        );
        assert_eq!([plural(1, "row"), plural(2, "row")], ["1 row", "2 rows"]);
    }
}
