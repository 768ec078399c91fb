//! Whole actions over small tables, worked out by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::*;
use arrow::datatypes::{Float32Type, Int64Type};
use mlbuild_action::*;
use mlbuild_table::{FILE_NAME, TableReader, TableWriter};
use tempfile::TempDir;

use crate::{ModelExecutor, WorkerSettings};

pub(crate) type Lists = Vec<Option<Vec<Option<i64>>>>;

/// Inputs of an action, and a place to perform it.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) inputs: BTreeMap<String, InputFolder>,
    pub(crate) settings: WorkerSettings,
    pub(crate) threads: usize,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Mutex<Vec<Progress>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            inputs: BTreeMap::new(),
            settings: WorkerSettings::default(),
            threads: 2,
            cancel: Cancel::new(),
            progress: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A table as the input `name`.
    pub(crate) fn table(mut self, name: &str, key: &[&str], columns: &[(&str, ArrayRef)]) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        let batch = RecordBatch::try_from_iter(columns.iter().cloned()).unwrap();
        let mut writer = TableWriter::create(&path.join(FILE_NAME), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let key: Vec<_> = key.iter().map(ToString::to_string).collect();
        let table = Some(writer.finish(&key).unwrap());
        self.inputs
            .insert(name.to_owned(), InputFolder { path, table });
        self
    }

    /// Performs the work; the output folder stays as long as the bench.
    pub(crate) fn run(&self, work: &Work) -> Result<(Output, std::path::PathBuf), Failure> {
        let number = fs::read_dir(self.path()).unwrap().count();
        let output = self.path().join(format!("output{number}"));
        let scratch = self.path().join(format!("scratch{number}"));
        fs::create_dir(&output).unwrap();
        fs::create_dir(&scratch).unwrap();
        let progress = |progress| self.progress.lock().unwrap().push(progress);
        let result = ModelExecutor::new(self.settings.clone()).execute(&Request {
            work,
            inputs: &self.inputs,
            analysis: &Analysis::default(),
            output: &output,
            scratch: &scratch,
            checkpoints: &self.path().join("checkpoints"),
            threads: self.threads,
            gpus: &[],
            memory_bytes: 1 << 30,
            progress: &progress,
            cancel: &self.cancel,
        });
        result.map(|done| (done, output))
    }

    /// Trains on `input`, then predicts for `input` with key `id`.
    fn train_and_predict(
        mut self,
        train: Work,
        k: u32,
        exclude_seen: bool,
    ) -> Vec<Vec<(i64, f32)>> {
        let (_, path) = self.run(&train).unwrap();
        self.inputs
            .insert("model".to_owned(), InputFolder { path, table: None });
        let (output, folder) = self.run(&predict(k, exclude_seen)).unwrap();
        assert_eq!(output.table.unwrap().key, ["id"]);
        ranked(&folder)
    }
}

pub(crate) fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<Int64Array>())
}

pub(crate) fn lists(rows: Lists) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows))
}

pub(crate) fn sequences(rows: &[&[i64]]) -> ArrayRef {
    lists(
        rows.iter()
            .map(|row| Some(row.iter().copied().map(Some).collect()))
            .collect(),
    )
}

pub(crate) fn train(architecture: &str, params: &[(&str, i64)]) -> Work {
    Work::Train(Train {
        architecture: architecture.to_owned(),
        params: params
            .iter()
            .map(|(name, value)| (name.to_string(), Value::Int(*value)))
            .collect(),
        subject: Subject::Sequences {
            sequence: "history".to_owned(),
            label: "label".to_owned(),
        },
        threads: 1,
        device: Device::Cpu,
    })
}

pub(crate) fn predict(k: u32, exclude_seen: bool) -> Work {
    Work::Predict(Predict {
        question: Question::Sequences {
            sequence: "history".to_owned(),
            k,
            exclude_seen,
        },
        key: vec!["id".to_owned()],
        threads: 1,
        device: Device::Cpu,
    })
}

/// The items and scores of a table of predictions.
pub(crate) fn ranked(folder: &Path) -> Vec<Vec<(i64, f32)>> {
    let reader = TableReader::open_columns(&folder.join(FILE_NAME), &["items", "scores"]).unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let (items, scores) = (
            batch.column(0).as_list::<i32>(),
            batch.column(1).as_list::<i32>(),
        );
        for row in 0..batch.num_rows() {
            let (items, scores) = (items.value(row), scores.value(row));
            let items = items.as_primitive::<Int64Type>().values().iter().copied();
            let scores = scores
                .as_primitive::<Float32Type>()
                .values()
                .iter()
                .copied();
            rows.push(items.zip(scores).collect());
        }
    }
    rows
}

/// Three sequences over items 10, 20, 30, 40, of which 40 occurs nowhere. `sequences / items`: 10: 3, 20: 2, 30: 2.
fn small() -> Bench {
    Bench::new()
        .table(
            "input",
            &["id"],
            &[
                ("id", ints([7, 8, 9])),
                (
                    "history",
                    sequences(&[&[10, 20, 30], &[10, 30, 10], &[20, 10]]),
                ),
            ],
        )
        .table(
            "catalog",
            &["item"],
            &[("x", ints([0, 0, 0, 0])), ("item", ints([10, 20, 30, 40]))],
        )
}

#[test]
fn popularity_counts_occurrences() {
    let ranked = small().train_and_predict(train("popularity", &[]), 10, false);
    let all = vec![(10, 4.0), (20, 2.0), (30, 2.0), (40, 0.0)];
    assert_eq!(ranked, vec![all; 3]);
    let ranked = small().train_and_predict(train("popularity", &[]), 2, true);
    assert_eq!(
        ranked,
        [
            vec![(40, 0.0)],
            vec![(20, 2.0), (40, 0.0)],
            vec![(30, 2.0), (40, 0.0)],
        ]
    );
}

#[test]
fn a_baseline_is_validated_by_the_place_of_what_came_next() {
    // By popularity, own items left out: after 10 come 20, 30, 40; after 20 and 10 come 30, 40; after 40 comes 10.
    let bench = small().table(
        "validate",
        &[],
        &[
            ("history", sequences(&[&[10], &[20, 10], &[40], &[10, 20]])),
            ("label", ints([20, 40, 10, 10])),
        ],
    );
    let (output, path) = bench.run(&train("popularity", &[])).unwrap();
    let metric = |name: &str| output.metrics[name];
    let second = 1.0 / 3.0_f64.log2();
    assert_eq!(
        metric("valid_hit_rate@10"),
        0.75,
        "10 is among its own row's items"
    );
    assert_eq!(metric("valid_mrr@10"), (1.0 + 0.5 + 1.0) / 4.0);
    assert!((metric("valid_ndcg@10") - (1.0 + second + 1.0) / 4.0).abs() < 1e-15);
    let model = fs::read_to_string(path.join("model.json")).unwrap();
    assert!(model.contains("\"valid_ndcg@10\""), "{model}");
}

#[test]
fn markov_counts_what_followed_the_last_item() {
    // Pairs: 10-20, 20-30, 10-30, 30-10, 20-10.
    let ranked = small().train_and_predict(train("markov", &[]), 10, false);
    let score = |pairs: f64, count: f64| (pairs + count * 1e-6) as f32;
    let after_10 = vec![
        (20, score(1.0, 2.0)),
        (30, score(1.0, 2.0)),
        (10, score(0.0, 4.0)),
        (40, score(0.0, 0.0)),
    ];
    let after_30 = vec![
        (10, score(1.0, 4.0)),
        (20, score(0.0, 2.0)),
        (30, score(0.0, 2.0)),
        (40, score(0.0, 0.0)),
    ];
    assert_eq!(ranked, [after_30, after_10.clone(), after_10]);
}

#[test]
fn item_knn_sums_cosines_of_the_last_items() {
    // Rows with 10: 3, with 20: 2, with 30: 2; together 10+20: 2, 10+30: 2, 20+30: 1.
    let ten = (2.0 / 6.0_f64.sqrt()) as f32;
    let ranked = small().train_and_predict(
        train("item_knn", &[("neighbours", 9), ("last", 1)]),
        10,
        false,
    );
    assert_eq!(ranked[0], [(10, ten), (20, 0.5), (30, 0.0), (40, 0.0)]);
    assert_eq!(ranked[1], [(20, ten), (30, ten), (10, 0.0), (40, 0.0)]);

    // With one neighbour, 20 and 30 keep 10, and 10 keeps 20: the tie with 30 goes to the lower index.
    let ranked = small().train_and_predict(
        train("item_knn", &[("neighbours", 1), ("last", 2)]),
        10,
        false,
    );
    assert_eq!(ranked[0], [(10, ten), (20, 0.0), (30, 0.0), (40, 0.0)]);
    assert_eq!(ranked[1], [(20, ten), (30, ten), (10, 0.0), (40, 0.0)]);
    assert_eq!(ranked[2], [(10, ten), (20, ten), (30, ten), (40, 0.0)]);
}

#[test]
fn a_catalog_is_optional_and_items_may_be_texts() {
    let item = |text: &str| Some(text.to_owned());
    let mut histories = ListBuilder::new(StringBuilder::new());
    histories.append_value([item("b"), item("a")]);
    histories.append_value([item("b")]);
    let mut bench = Bench::new().table(
        "input",
        &["id"],
        &[
            ("id", ints([1, 2])),
            ("history", Arc::new(histories.finish())),
        ],
    );
    let (_, path) = bench.run(&train("popularity", &[])).unwrap();
    let model = fs::read_to_string(path.join("model.json")).unwrap();
    assert!(model.contains("\"item_type\": \"Utf8\""), "{model}");
    bench
        .inputs
        .insert("model".to_owned(), InputFolder { path, table: None });
    let (output, folder) = bench.run(&predict(1, true)).unwrap();
    let types: Vec<_> = output
        .table
        .unwrap()
        .columns
        .into_iter()
        .map(|c| c.data_type)
        .collect();
    assert_eq!(types, ["Int64", "List(Utf8)", "List(Float32)"]);
    let reader = TableReader::open_columns(&folder.join(FILE_NAME), &["items"]).unwrap();
    let items = reader.map(Result::unwrap).next().unwrap().column(0).clone();
    let items = items.as_list::<i32>();
    // Both items of the first row are seen.
    assert_eq!(items.value_length(0), 0);
    assert_eq!(items.value(1).as_string::<i32>().value(0), "a");
}

#[test]
fn a_models_bytes_do_not_depend_on_threads() {
    let rows: Vec<Vec<i64>> = (0..200_i64)
        .map(|row| (0..9).map(|i| row * i * i % 41).collect())
        .collect();
    let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
    let bytes = |threads| {
        let mut bench = Bench::new().table(
            "input",
            &["id"],
            &[("id", ints(0..200)), ("history", sequences(&rows))],
        );
        bench.threads = threads;
        let mut all = Vec::new();
        for (architecture, params) in [
            ("popularity", &[][..]),
            ("markov", &[]),
            ("item_knn", &[("neighbours", 5), ("last", 3)]),
        ] {
            let (_, path) = bench.run(&train(architecture, params)).unwrap();
            for file in ["model.json", "catalog.parquet", "model.safetensors"] {
                all.push(fs::read(path.join(file)).unwrap());
            }
            bench
                .inputs
                .insert("model".to_owned(), InputFolder { path, table: None });
            let (_, path) = bench.run(&predict(7, true)).unwrap();
            all.push(fs::read(path.join(FILE_NAME)).unwrap());
        }
        all
    };
    assert!(bytes(1) == bytes(4));
}

#[test]
fn the_description_of_a_model_is_as_specified() {
    let (_, path) = small()
        .run(&train("item_knn", &[("last", 5), ("neighbours", 2)]))
        .map(|(o, p)| (o, fs::read_to_string(p.join("model.json")).unwrap()))
        .unwrap();
    assert_eq!(
        path,
        r#"{
  "format": 1,
  "architecture": "item_knn",
  "params": {
    "last": 5,
    "neighbours": 2
  },
  "library": "native 2",
  "items": 4,
  "item_type": "Int64",
  "sequence": "history",
  "label": "label",
  "metrics": {
    "interactions": 8.0,
    "items": 4.0,
    "sequences": 3.0
  },
  "curve": []
}
"#
    );
}

pub(crate) fn diagnostic(failure: Failure) -> Diagnostic {
    match failure {
        Failure::Failed(diagnostic)
        | Failure::Rejected(diagnostic)
        | Failure::Invalid(diagnostic)
        | Failure::Environment(diagnostic) => diagnostic,
        Failure::Cancelled => panic!("cancelled"),
    }
}

/// Why training on this table fails, as it is shown.
fn refusal(columns: &[(&str, ArrayRef)], catalog: &[(&str, ArrayRef)]) -> String {
    let mut bench = Bench::new().table("input", &[], columns);
    if !catalog.is_empty() {
        bench = bench.table("catalog", &[], catalog);
    }
    let failure = bench.run(&train("popularity", &[])).unwrap_err();
    assert!(matches!(failure, Failure::Invalid(_)));
    let Diagnostic {
        message,
        help,
        detail,
        ..
    } = diagnostic(failure);
    [vec![message], detail, help.into_iter().collect()]
        .concat()
        .join("\n")
}

#[test]
fn bad_sequences_are_refused_with_their_rows() {
    let items: ArrayRef = ints([1, 2]);
    let good = sequences(&[&[1, 2], &[2, 1]]);
    assert_eq!(
        refusal(&[("a", ints([1])), ("b", sequences(&[&[1]]))], &[]),
        "`input` has no column `history`\nit has `a: Int64`, `b: List(Int64)`"
    );
    assert_eq!(
        refusal(&[("history", ints([1]))], &[]),
        "column `history` of `input` is Int64, not a list of items\n`sequence` names the column with each row's items, \
         oldest first; `input` has `history: Int64`"
    );
    let floats = ListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.0)])]);
    assert_eq!(
        refusal(&[("history", Arc::new(floats))], &[]),
        "column `history` of `input` is List(Float32): items are integers or texts"
    );
    assert_eq!(
        refusal(
            &[("history", sequences(&[&[1, 2], &[2, 5, 6]]))],
            &[("item_id", items.clone())]
        ),
        "item 5 in column `history` of `input`, row 2, is not in the catalog\n2 of this kind in all\n\
         every item needs a row in the catalog; filter out those it lacks"
    );
    assert_eq!(
        refusal(&[("history", lists(vec![Some(vec![Some(1)]), None]))], &[]),
        "column `history` of `input` is null in row 2\nfilter out nulls in the query that makes the table"
    );
    assert_eq!(
        refusal(&[("history", lists(vec![Some(vec![Some(1), None])]))], &[]),
        "column `history` of `input` holds a null item in row 1\nfilter out nulls in the query that makes the table"
    );
    assert_eq!(
        refusal(
            &[("history", good.clone())],
            &[("item_id", ints([1, 2, 1]))]
        ),
        "item 1 in column `item_id` of `catalog`, row 3, occurs twice\na catalog has one row an item"
    );
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    assert_eq!(
        refusal(&[("history", good)], &[("item_id", texts)]),
        "items in column `history` of `input` are Int64, those of the catalog Utf8"
    );
}

#[test]
fn nothing_to_learn_from_is_an_error() {
    assert_eq!(
        refusal(&[("history", sequences(&[]))], &[]),
        "`input` has no rows to train on"
    );
    assert_eq!(
        refusal(&[("history", sequences(&[&[1], &[]]))], &[]),
        "every sequence in column `history` of `input` is shorter than 2\n\
         what follows what can only be learned from two items or more"
    );
}

#[test]
fn a_bad_parameter_or_key_is_named() {
    let failure = small()
        .run(&train("item_knn", &[("neighbours", 0), ("last", 1)]))
        .unwrap_err();
    assert_eq!(
        diagnostic(failure).message,
        "parameter `neighbours` is `0`; it is an integer of 1 or more"
    );
    let Work::Predict(mut bad) = predict(1, true) else {
        unreachable!()
    };
    bad.key = vec!["items".to_owned()];
    let failure = small().run(&Work::Predict(bad)).unwrap_err();
    assert_eq!(diagnostic(failure).code, "model::key-name");
}

#[test]
fn a_cancelled_action_stops() {
    let bench = small();
    bench.cancel.cancel();
    assert_eq!(
        bench.run(&train("popularity", &[])).unwrap_err(),
        Failure::Cancelled
    );
}

#[test]
fn a_broken_model_is_an_error() {
    let mut bench = small();
    let (_, path) = bench.run(&train("markov", &[])).unwrap();
    bench.inputs.insert(
        "model".to_owned(),
        InputFolder {
            path: path.clone(),
            table: None,
        },
    );
    let fails = |file: &str, bytes: &[u8]| {
        let whole = fs::read(path.join(file)).unwrap();
        fs::write(path.join(file), bytes).unwrap();
        let failure = bench.run(&predict(1, true)).unwrap_err();
        fs::write(path.join(file), whole).unwrap();
        diagnostic(failure).message
    };
    assert_eq!(
        fails("model.json", b"{\"format\": 2, \"new\": 1}"),
        "`model.json` has format 2; this version reads 1"
    );
    assert!(fails("model.json", b"{").starts_with("`model.json` cannot be read: "));
    assert!(fails("model.safetensors", b"junk").starts_with("the model is not a safetensors file"));
}
