//! Tests: no text makes parsing panic, and every mistake is named at a place of whole characters.

use mlbuild_testing::{Corpus, assert_spans, fuzz};

use crate::{Label, SourceText, Variant, memory_bytes, parse_variant};

/// Every rule, with most of its keys.
const ALL: &str = r#"
[project]
name = "shop"
description = "all of it"

[data.orders]
path = "raw/*.csv"
key = ["id"]
tags = ["raw", "däily"]
[data.orders.checks]
not_null = ["id"]
rows = ">= 10"
accepted_values = { status = ["open", "paid"] }
relationships = { user = { to = "data:users", column = "id" } }
[data.orders.checks.warn]
unique = [["id", "at"]]
range = { amount = { min = 0, max = 1e6 } }

[data.sessions]
key = ["session_id", "position"]
params = { gap_minutes = 30, name = 'x' }

[features.parts]
split = "data:orders"
by = "group"
group = ["user"]
parts = { train = 0.8, test = 0.2 }
seed = 3

[features.periods]
split = "data:orders"
by = "time"
time = "at"
until = { train = 2024-01-01, valid = "2024-02-01" }
rest = "late"

[model.swept]
train = "item_knn"
input = "features:parts@part=train"
foreach = { neighbours = [5, 10], last = [1, 2] }
pick = { metric = "valid_ndcg@10", max = true }

[model.listed]
python = "lib.fit:main"
params = { depth = 2 }
foreach = [{ depth = 3 }, { depth = 4, rate = 0.1 }]
pick = { metric = "loss", min = true }

[data.made]
command = "prog --in {src}/a > {out}"
srcs = ["a/**", "b"]
out = "made.csv"
format = "csv"
env = { LANG = "C" }
timeout = "10min"
digest = "sha256:0000"

[data.fetched]
url = "https://example.org/x.parquet"
digest = "blake3:00"

[features.train]
python = "features.train:build"
inputs = ["data:sessions"]
columns = { "data:sessions" = ["a"] }

[model.recs]
train = "sasrec"
input = "features:train"
validate = "features:valid"
params = { dim = 64, lr = 1e-3, seed = 7 }
resources = { gpus = 0, cpus = 2, memory = "4GB" }

[data.top10]
predict = "model:recs"
input = "features:test"
k = 10

[report.recs]
predictions = "data:top10"
truth = "features:test"
metrics = ["hit_rate@10", "ndcg@10"]
[[report.recs.gate]]
metric = "hit_rate@10"
min = 0.18
[[report.recs.slice]]
column = "country"

[profile.small]
description = "less"
data.orders.path = "raw/sample.csv"
[profile.small.data.sessions]
sql = "select 1 as session_id"
params = { gap_minutes = 45 }
"#;

const SMALL: &str = "[project]\nname = \"a\"\n[data.x]\npath = \"x.csv\"\n";

const WORDS: [&str; 43] = [
    "[profile.small.",
    "profile.",
    "params.",
    "[",
    "[[",
    "]]",
    "[data.",
    "[model.x]",
    "[report.x]",
    "[features.x]",
    "[project]",
    " = ",
    "path = ",
    "key = ",
    "checks",
    "train = ",
    "input = ",
    "params = ",
    "command = ",
    "python = ",
    "url = ",
    "digest = ",
    "resources = ",
    "format = ",
    "out = ",
    "inputs = ",
    "metrics = ",
    "gate",
    "timeout = ",
    "columns = ",
    "tags = ",
    "\"data:x\"",
    "\"data:\"",
    "\"\"\"",
    "'''",
    "{}",
    "[]",
    "true",
    "nan",
    "inf",
    "1979-05-27T07:32:00Z",
    "0x7fffffffffffffff",
    "data.x.",
];

#[test]
fn no_manifest_breaks_parsing() {
    let corpus = Corpus {
        inputs: &[ALL.as_bytes(), SMALL.as_bytes()],
        words: &WORDS,
        rounds: 1_500,
    };
    fuzz("manifest", corpus, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let sql =
            ["data/sessions.sql", "data/made.sql", "features/ä b.sql"].map(|path| SourceText {
                path: path.to_owned(),
                text: "select 1 as x from data.orders".to_owned(),
            });
        let manifest = SourceText {
            path: "mlbuild.toml".to_owned(),
            text,
        };
        check(&manifest, &sql, &Variant::default());
    });
}

fn check(manifest: &SourceText, sql: &[SourceText], variant: &Variant) {
    let (_, diagnostics) = parse_variant(manifest, sql, variant);
    let given = variant.source();
    let files: Vec<_> = [manifest].into_iter().chain(sql).chain(&given).collect();
    assert_spans(&diagnostics, |path| {
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| file.text.as_str())
    });
}

#[test]
fn no_parameter_of_the_command_line_breaks_parsing() {
    let corpus = Corpus {
        inputs: &[
            b"model:recs.epochs=3",
            b"data:sessions.name='\xc3\xa4'",
            b"data:orders.a={ b = [1] }",
        ],
        words: &[
            "=",
            ".",
            ":",
            "\"",
            "\"\"\"",
            "\n",
            "#",
            "data:",
            "data:sessions.gap=",
            "nan",
        ],
        rounds: 1_500,
    };
    let manifest = SourceText {
        path: "mlbuild.toml".to_owned(),
        text: ALL.to_owned(),
    };
    fuzz("param", corpus, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let params = [text, "model:recs.dim=\"ä\"".to_owned()];
        check(&manifest, &[], &Variant::new(Some("small"), &params));
    });
}

#[test]
fn no_label_breaks_parsing_and_each_has_one_spelling() {
    let corpus = Corpus {
        inputs: &[
            b"data:orders",
            b"model:recs_2",
            b"features:a",
            b"report:x",
            b"model:recs@dim=32@lr=0.001",
        ],
        words: &["data", "model:", ":", "_", "A", "@", "=", "@a=1"],
        rounds: 5_000,
    };
    fuzz("label", corpus, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(label) = text.parse::<Label>() {
            assert_eq!(label.to_string(), text);
        }
    });
}

#[test]
fn no_quantity_breaks_parsing() {
    let corpus = Corpus {
        inputs: &[b"512MB", b"4 GiB", b"1.5TB", b"100"],
        words: &["KB", "PiB", "e", ".", "+", "-"],
        rounds: 5_000,
    };
    fuzz("quantity", corpus, |bytes| {
        let _ = memory_bytes(&String::from_utf8_lossy(bytes));
    });
}
