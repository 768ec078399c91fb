//! Tests: no project makes resolving panic, no expression selecting, and every mistake is named at a place of whole
//! characters.

use mlbuild_manifest::{SourceText, parse};
use mlbuild_testing::{Corpus, assert_spans, fuzz};

use crate::{Graph, resolve};

const MANIFEST: &str = r#"[project]
name = "shop"
[data.orders]
path = "raw/*.csv"
key = ["id"]
tags = ["raw"]
[data.sessions]
params = { gap = 30 }
[data.sessions.checks]
relationships = { id = { to = "data:orders", column = "id" } }
[data.made]
command = "cp {data:orders} {out}"
inputs = ["data:orders"]
out = "made.csv"
format = "csv"
[model.recs]
train = "popularity"
input = "data:sessions"
sequence = "items"
[data.top]
predict = "model:recs"
input = "data:sessions"
k = 10
[report.recs]
predictions = "data:top"
truth = "data:sessions"
metrics = ["hit_rate@10"]
"#;

const QUERY: &str = "select id, count(*) as n from data.orders where id > $gap group by id";

/// A line that stands between the manifest and a query of the same input.
const BETWEEN: &str = "\n-- query --\n";

fn texts(bytes: &[u8]) -> (SourceText, [SourceText; 1]) {
    let text = String::from_utf8_lossy(bytes);
    let (manifest, query) = text.split_once(BETWEEN).unwrap_or((&text, QUERY));
    let source = |path: &str, text: &str| SourceText {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    (
        source("mlbuild.toml", manifest),
        [source("data/sessions.sql", query)],
    )
}

fn graph(bytes: &[u8]) -> Graph {
    let (manifest, sql) = texts(bytes);
    let (parsed, mut diagnostics) = parse(&manifest, &sql);
    let (graph, more) = resolve(&parsed);
    diagnostics.extend(more);
    assert_spans(&diagnostics, |path| match path {
        "mlbuild.toml" => Some(manifest.text.as_str()),
        "data/sessions.sql" => Some(sql[0].text.as_str()),
        _ => None,
    });
    graph
}

#[test]
fn no_project_breaks_resolving() {
    let whole = [MANIFEST, BETWEEN, QUERY].concat();
    let words = [
        "data.orders",
        "data:orders",
        "data:sessions",
        "model:recs",
        "data:top",
        "report:recs",
        "data:nothing",
        "inputs = [",
        "input = ",
        "predict = ",
        "train = ",
        "{data:orders}",
        "{out}",
        "$gap",
        "$x",
        "data.sessions",
        "data.made",
        BETWEEN,
        "[data.",
        "params = {",
    ];
    let corpus = Corpus {
        inputs: &[whole.as_bytes()],
        words: &words,
        rounds: 1_500,
    };
    fuzz("graph", corpus, |bytes| {
        let graph = graph(bytes);
        let labels: Vec<_> = graph.targets().map(|target| target.label.clone()).collect();
        for label in &labels {
            let needed = graph.upstream(std::iter::once(label));
            assert!(needed.contains(label), "{label} is needed for itself");
        }
    });
}

#[test]
fn no_expression_breaks_selecting() {
    let graph = graph(MANIFEST.as_bytes());
    let corpus = Corpus {
        inputs: &[
            b"+model:recs data:*",
            b"2+report:recs,tag:raw",
            b"@data:orders+3",
            b"kind:data state:stale",
            b"orders",
        ],
        words: &[
            "+",
            "@",
            ",",
            " ",
            "*",
            "data:",
            "tag:",
            "kind:",
            "state:",
            "stale",
            "99999999999999999999+",
            "recs",
        ],
        rounds: 3_000,
    };
    fuzz("selection", corpus, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let stale = |label: &mlbuild_manifest::Label| label.name() == "orders";
        match graph.select(&[text], &stale) {
            Ok(labels) => assert!(labels.iter().all(|label| graph.target(label).is_some())),
            Err(diagnostic) => assert!(!diagnostic.message.is_empty()),
        }
    });
}
