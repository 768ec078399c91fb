//! `spec/manifest.md` is what it says: its examples are right, or wrong in the way shown.

use crate::common;

use std::fmt::Write;

use mlbuild_manifest::{ARCHITECTURES, ParamRange};

const SPEC: &str = include_str!("../../../../spec/manifest.md");

/// A manifest with its files, and what is wrong with it.
#[derive(Default)]
struct Example {
    files: Vec<(String, String)>,
    expected: Option<String>,
}

/// The fenced blocks of the page as projects.
fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = SPEC.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else {
            continue;
        };
        let mut body: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        match fence.split_once(' ').unwrap_or((fence, "mlbuild.toml")) {
            ("toml", path) => {
                if !body.contains("[project]") {
                    body.insert_str(0, "[project]\nname = \"example\"\n");
                }
                examples.push(Example {
                    files: vec![(path.to_owned(), body)],
                    expected: None,
                });
            }
            ("sql", path) => examples
                .last_mut()
                .unwrap()
                .files
                .push((path.to_owned(), body)),
            ("text", _) => examples.last_mut().unwrap().expected = Some(body),
            _ => panic!("what is a block of `{fence}`?"),
        }
    }
    examples
}

#[test]
fn examples_are_right_or_wrong_as_shown() {
    let examples = examples();
    assert!(examples.len() > 10);
    for Example { files, expected } in examples {
        let (_, mut diagnostics) = common::project(&files);
        if expected.is_none() {
            diagnostics.retain(|found| {
                !matches!(found.code, "graph::unknown-target" | "sql::unknown-table")
            });
        }
        let found = common::render_diagnostics(&diagnostics, &files);
        assert_eq!(found, expected.unwrap_or_default(), "\n{}", files[0].1);
    }
}

#[test]
fn the_page_lists_every_architecture_and_parameter() {
    let mut table = String::new();
    for architecture in ARCHITECTURES {
        writeln!(table, "`{}`: {}.", architecture.name, architecture.doc).unwrap();
        if !architecture.params.is_empty() {
            table += "\n| parameter | default | allowed | meaning |\n|---|---|---|---|\n";
        }
        for param in architecture.params {
            let default = match param.range {
                ParamRange::Int { default, .. } => default.to_string(),
                ParamRange::Float { default, .. } => default.to_string(),
                ParamRange::Choice { default, .. } => format!("`\"{default}\"`"),
                ParamRange::Bool { default } => default.to_string(),
                ParamRange::Ints { default, .. } => {
                    format!("`[{}]`", default.replace(',', ", "))
                }
            };
            writeln!(
                table,
                "| `{}` | {default} | {} | {} |",
                param.name,
                param.range.describe(),
                param.doc
            )
            .unwrap();
        }
        table += "\n";
    }
    let (_, page) = SPEC.split_once("held by the test -->\n").unwrap();
    let (page, _) = page.split_once("<!-- end -->").unwrap();
    assert_eq!(
        page.trim(),
        table.trim(),
        "\nthe page should have:\n{table}"
    );
}
