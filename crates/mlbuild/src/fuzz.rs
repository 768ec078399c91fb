//! Tests: whatever places a diagnostic names, in whatever text, it is shown and not lost to a panic.

use clap::Parser;
use mlbuild_action::Diagnostic;
use mlbuild_manifest::SourceText;
use mlbuild_testing::{Corpus, Draw, fuzz};

use crate::cli::Cli;
use crate::json;
use crate::terminal::Terminal;

const TEXTS: [&[u8]; 4] = [
    b"[project]\nname = \"shop\"\n\n[data.orders]\npath = \"raw/*.csv\"\n",
    "select \"ä\", '\u{1f980}' -- \u{202e}x\r\nfrom data.orders\tt\n\n".as_bytes(),
    b"",
    b"\n\n\n",
];

/// A place in a text of `length` bytes, or rather beside it: in whole characters or not, empty, behind the end.
fn place(length: usize, draw: &mut Draw) -> std::ops::Range<usize> {
    let start = draw.below(length + 3);
    let end = start + draw.below(length + 3 - start.min(length));
    match draw.below(16) {
        0 => start..start,
        1 => 0..length,
        2 => usize::MAX - 1..usize::MAX,
        #[expect(
            clippy::reversed_empty_ranges,
            reason = "a mistake that must not cost the message"
        )]
        3 => 5..2,
        _ => start..end,
    }
}

#[test]
fn no_place_and_no_text_keeps_a_diagnostic_from_being_shown() {
    let terminal = Terminal::new(&Cli::parse_from(["mlbuild", "ls"]).global);
    let corpus = Corpus {
        inputs: &TEXTS,
        words: &[
            "\u{200d}",
            "e\u{301}",
            "\u{1b}[31m",
            "\u{2028}",
            "\r",
            "\t\t",
        ],
        rounds: 1_000,
    };
    fuzz("diagnostic", corpus, |bytes| {
        let mut draw = Draw::new(bytes.iter().map(|byte| u64::from(*byte)).sum());
        let text = String::from_utf8_lossy(bytes).into_owned();
        let sources = ["mlbuild.toml", "data/a.sql"].map(|path| SourceText {
            path: path.to_owned(),
            text: text.clone(),
        });
        let mut diagnostic = Diagnostic::error("test::mistake", format!("what it says: {text}"))
            .help(text.clone())
            .detail([text.clone()]);
        for _ in 0..draw.below(4) {
            let file = *draw.one(&[&"mlbuild.toml", &"data/a.sql", &"data/nowhere.sql"]);
            diagnostic = diagnostic.at(file, place(text.len(), &mut draw), text.clone());
        }
        let shown = terminal.render(&diagnostic, &sources);
        assert!(shown.contains("test::mistake"), "{shown:?}");
        let value = json::diagnostic(&diagnostic, &sources);
        let line = value.to_string();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(
            value["places"].as_array().unwrap().len(),
            diagnostic.spans.len()
        );
    });
}
