//! Profiles and parameters of the command line: what they make of a manifest.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use mlbuild_action::Value;
use mlbuild_manifest::{Declaration, Definition, SourceText, Variant, parse_variant};

const MANIFEST: &str = r#"
[project]
name = "shop"

[data.events]
path = "raw/*.csv"
columns = { id = "int64", at = "timestamp" }
row_number = "line"
key = ["id"]
tags = ["raw", "big"]
[data.events.checks]
not_null = ["id"]
rows = ">= 1000"

[data.late]
params = { after = 10, name = "x" }
tags = ["late"]

[model.recs]
train = "sasrec"
input = "features:train"
params = { dim = 64, epochs = 30 }

[profile.small.project]
sandbox = "off"
[profile.small.data.events]
path = "raw/sample.csv"
columns = { id = "utf8" }
tags = ["small"]
checks = { rows = ">= 1" }
[profile.small.model.recs.params]
epochs = 1
[profile.small.features]
train.owner = "anna"

[profile.made.data.events]
sql = "select * from data.late"
[profile.made.data.late]
command = "make > {out}"
format = "csv"
out = "a.csv"

[profile.other.data.late]
sql = "select $until as until"
params = { until = 2 }
[profile.other.model.recs]
train = "item_knn"
params = { last = 3 }
"#;

fn read(profile: Option<&str>, params: &[&str]) -> Vec<Declaration> {
    let source = |path: &str, text: &str| SourceText {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let sql = [
        source(
            "data/late.sql",
            "select * from data.events where at > $after and name = $name",
        ),
        source("features/train.sql", "select id from data.late"),
    ];
    let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
    let variant = Variant::new(profile, &params);
    let (manifest, diagnostics) = parse_variant(&source("mlbuild.toml", MANIFEST), &sql, &variant);
    assert_eq!(diagnostics, [], "{profile:?} {params:?}");
    assert_eq!(manifest.profiles, ["made", "other", "small"]);
    manifest.targets
}

fn target(targets: &[Declaration], label: &str) -> Declaration {
    let label = label.parse().unwrap();
    targets
        .iter()
        .find(|target| target.label == label)
        .unwrap()
        .clone()
}

/// Parameters of `data:late`, by name.
fn late_params(targets: &[Declaration]) -> Vec<(String, Value)> {
    let Definition::Sql(sql) = target(targets, "data:late").definition else {
        panic!("it is a query");
    };
    let params = sql.params.into_iter();
    params.map(|(name, value)| (name, value.value)).collect()
}

fn epochs(targets: &[Declaration]) -> (String, Option<Value>, usize) {
    let Definition::Train(train) = target(targets, "model:recs").definition else {
        panic!("it is trained");
    };
    let epochs = train.params.get("epochs").cloned();
    (train.architecture, epochs, train.params.len())
}

#[test]
fn tables_are_merged_and_everything_else_is_replaced() {
    let small = read(Some("small"), &[]);
    let events = target(&small, "data:events");
    let Definition::Path(path) = &events.definition else {
        panic!("it is a path");
    };
    assert_eq!(path.patterns[0].value.as_str(), "raw/sample.csv");
    let types: Vec<_> = path
        .ingestion
        .types
        .iter()
        .map(|(name, of)| format!("{name} {of}"))
        .collect();
    assert_eq!(types, ["at timestamp", "id utf8"]);
    assert_eq!(path.ingestion.row_number.as_deref(), Some("line"));
    assert_eq!(
        (events.key.len(), &events.tags[..]),
        (1, &["small".to_owned()][..])
    );
    assert_eq!(events.checks.len(), 2, "one of them is another");
    assert_eq!(epochs(&small).1, Some(Value::Int(1)));
    assert_eq!(
        target(&small, "features:train").owner.as_deref(),
        Some("anna")
    );

    let without = read(None, &[]);
    assert_eq!(
        epochs(&without),
        ("sasrec".to_owned(), Some(Value::Int(30)), epochs(&small).2)
    );
    assert_eq!(target(&without, "data:events").tags, ["big", "raw"]);
    assert_eq!(read(Some("default"), &[]), without);
}

#[test]
fn another_way_to_make_a_target_is_a_whole_one() {
    let made = read(Some("made"), &[]);
    let events = target(&made, "data:events");
    assert!(matches!(events.definition, Definition::Sql(_)));
    assert_eq!(
        (events.key.len(), events.checks.len(), events.tags.len()),
        (1, 2, 2)
    );
    // Nor is its SQL file used, with its parameters.
    let late = target(&made, "data:late");
    assert!(matches!(late.definition, Definition::Command(_)));
    assert_eq!(late.tags, ["late"]);

    let other = read(Some("other"), &[]);
    assert_eq!(late_params(&other), [("until".to_owned(), Value::Int(2))]);
    assert_eq!(epochs(&other).0, "item_knn");
}

#[test]
fn parameters_of_the_command_line_lie_over_profiles_and_the_last_one_counts() {
    let given = [
        "model:recs.epochs=2",
        "model:recs.epochs=3",
        "data:late.name=\"a=b.c\"",
    ];
    let small = read(Some("small"), &given);
    assert_eq!(epochs(&small).1, Some(Value::Int(3)));
    let params = late_params(&small);
    assert_eq!(
        params,
        [
            ("after".to_owned(), Value::Int(10)),
            ("name".to_owned(), Value::Text("a=b.c".to_owned())),
        ]
    );
    // A target that is an SQL file alone is declared there, whatever else is said of it.
    let train = read(None, &["features:train.x=1"]);
    assert_eq!(
        target(&train, "features:train").declared_at.file,
        "features/train.sql"
    );
}
