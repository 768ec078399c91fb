//! Diagnostics as text, for snapshots, and the law of their places.

use std::fmt::Write;

use mlbuild_action::{Diagnostic, Severity};

/// Each diagnostic with its places as line, column and what is written there, and its help. `text_of` gives the texts of
/// files by path.
///
/// # Panics
/// If a place is not in its file.
pub fn render_diagnostics<'t>(
    diagnostics: &[Diagnostic],
    text_of: impl Fn(&str) -> Option<&'t str>,
) -> String {
    let mut out = String::new();
    let mut say = |line: String| writeln!(out, "{line}").expect("a text takes everything");
    for diagnostic in diagnostics {
        let warning = match diagnostic.severity {
            Severity::Warning => "warning ",
            Severity::Error => "",
        };
        say(format!("{warning}{diagnostic}"));
        for span in &diagnostic.spans {
            let text = text_of(&span.file).expect("a place is in a file that was given");
            let before = &text[..span.range.start];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
            let written = &text[span.range.clone()];
            say(format!(
                "  {}:{line}:{column} `{written}`: {}",
                span.file, span.label
            ));
        }
        if let Some(help) = &diagnostic.help {
            say(format!("  help: {help}"));
        }
    }
    out
}

/// Holds diagnostics to their law: something is said, and every place is one of whole characters in a file that was given.
///
/// # Panics
/// If one breaks it.
#[track_caller]
pub fn assert_spans<'t>(diagnostics: &[Diagnostic], text_of: impl Fn(&str) -> Option<&'t str>) {
    for diagnostic in diagnostics {
        assert!(!diagnostic.message.is_empty(), "{diagnostic:?}");
        for span in &diagnostic.spans {
            let text = text_of(&span.file).expect("a place is in a file that was given");
            assert!(
                text.get(span.range.clone()).is_some(),
                "{span:?} in {text:?}"
            );
        }
    }
}
