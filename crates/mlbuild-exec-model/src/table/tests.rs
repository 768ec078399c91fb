//! Whole actions over small tables: what they yield, and every way in which a table can be wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{Date32Type, Float64Type};
use mlbuild_action::*;
use mlbuild_table::{FILE_NAME, TableReader};

use crate::tests::{Bench, diagnostic, ints};
use crate::{ModelExecutor, WorkerSettings};

type Columns = Vec<(&'static str, ArrayRef)>;

fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn nullable(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn booleans(values: &[bool]) -> ArrayRef {
    Arc::new(BooleanArray::from(values.to_vec()))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn tabular(label: &[&str]) -> Tabular {
    Tabular {
        label: names(label),
        columns: None,
        key: names(&["id"]),
        categories: Vec::new(),
        task: None,
        allow_leak: Vec::new(),
        time: None,
    }
}

fn train(architecture: &str, l2: f64, tabular: Tabular) -> Work {
    let params = match architecture {
        "constant" => BTreeMap::new(),
        _ => BTreeMap::from([("l2".to_owned(), Value::Float(l2))]),
    };
    Work::Train(Train {
        architecture: architecture.to_owned(),
        params,
        subject: Subject::Table(tabular),
        threads: 1,
        device: Device::Cpu,
    })
}

fn predict(key: &[&str]) -> Work {
    Work::Predict(Predict {
        question: Question::Table {
            columns: None,
            without: names(&["y"]),
        },
        key: names(key),
        threads: 1,
        device: Device::Cpu,
    })
}

/// Six sittings: whether one bought, and how it came about.
fn visits() -> Columns {
    vec![
        ("id", ints(0..6)),
        ("y", booleans(&[true, false, true, false, false, true])),
        ("seconds", floats(&[30.0, 5.0, 90.0, 40.0, 10.0, 20.0])),
        ("device", texts(&["web", "app", "app", "web", "app", "web"])),
    ]
}

/// The columns with some of them replaced or added.
fn with(mut columns: Columns, others: Columns) -> Columns {
    for (name, values) in others {
        columns.retain(|(known, _)| *known != name);
        columns.push((name, values));
    }
    columns
}

/// Trains on `input`, and applies the model to `test`.
fn applied(work: &Work, input: &Columns, test: &Columns) -> (Vec<String>, RecordBatch) {
    let mut bench = Bench::new().table("input", &["id"], input);
    let (trained, path) = bench.run(work).unwrap();
    bench = bench.table("test", &["id"], test);
    let test = bench.inputs["test"].clone();
    bench.inputs.insert("input".to_owned(), test);
    bench
        .inputs
        .insert("model".to_owned(), InputFolder { path, table: None });
    let (output, folder) = bench.run(&predict(&["id"])).unwrap();
    assert_eq!(output.table.unwrap().key, ["id"]);
    ([trained.warnings, output.warnings].concat(), read(&folder))
}

fn read(folder: &Path) -> RecordBatch {
    let reader = TableReader::open(&folder.join(FILE_NAME)).unwrap();
    reader.map(Result::unwrap).next().unwrap()
}

/// Why the work fails, as it is shown.
fn refusal(work: &Work, input: &Columns, validate: Option<&Columns>) -> String {
    let mut bench = Bench::new().table("input", &["id"], input);
    if let Some(validate) = validate {
        bench = bench.table("validate", &["id"], validate);
    }
    shown(bench.run(work).unwrap_err())
}

fn shown(failure: Failure) -> String {
    let Diagnostic {
        code,
        message,
        help,
        detail,
        ..
    } = diagnostic(failure);
    let lines = [
        vec![format!("{code}: {message}")],
        detail,
        help.into_iter().collect(),
    ];
    lines.concat().join("\n")
}

/// The first column of lists of numbers named `scores`.
fn scores(batch: &RecordBatch) -> Vec<Vec<f64>> {
    let lists = batch.column_by_name("scores").unwrap();
    let lists = lists.as_list::<i32>();
    (0..lists.len())
        .map(|row| {
            lists
                .value(row)
                .as_primitive::<Float64Type>()
                .values()
                .to_vec()
        })
        .collect()
}

#[test]
fn a_constant_predicts_shares_in_order_whatever_the_row() {
    let (warnings, batch) = applied(
        &train(
            "constant",
            0.0,
            Tabular {
                columns: Some(Vec::new()),
                ..tabular(&["device"])
            },
        ),
        &with(
            visits(),
            vec![("device", texts(&["b", "c", "a", "c", "c", "b"]))],
        ),
        &vec![("id", ints([7, 8]))],
    );
    assert!(
        warnings == ["class \"a\" of label `device` has a single row in `input`"],
        "{warnings:?}"
    );
    let schema: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(schema, ["id", "prediction", "classes", "scores"]);
    let prediction = batch.column(1).as_string::<i32>();
    assert_eq!((prediction.value(0), prediction.value(1)), ("c", "c"));
    let classes = batch.column(2).as_list::<i32>().value(0);
    let classes: Vec<_> = classes.as_string::<i32>().iter().flatten().collect();
    assert_eq!(classes, ["c", "b", "a"]);
    for (found, expected) in scores(&batch)[1]
        .iter()
        .zip([3.0 / 6.0, 2.0 / 6.0, 1.0 / 6.0])
    {
        assert!((found - expected).abs() < 1e-15);
    }
}

#[test]
fn a_constant_of_amounts_is_their_mean() {
    let work = train(
        "constant",
        0.0,
        Tabular {
            columns: Some(Vec::new()),
            ..tabular(&["seconds"])
        },
    );
    let (_, batch) = applied(&work, &visits(), &vec![("id", ints([7]))]);
    assert_eq!(batch.num_columns(), 2);
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().value(0), 32.5);
}

/// By hand: over x = -1, 1 (standardised from 2, 4) and y = 0, 10, ridge with penalty 2 has slope 10 / (2 + 2) and mean 5.
#[test]
fn linear_is_ridge_over_standardised_columns() {
    let input: Columns = vec![
        ("id", ints([1, 2])),
        ("x", floats(&[2.0, 4.0])),
        ("y", floats(&[0.0, 10.0])),
    ];
    let test = vec![("id", ints([3, 4])), ("x", floats(&[4.0, 5.0]))];
    let (_, batch) = applied(&train("linear", 2.0, tabular(&["y"])), &input, &test);
    let found = batch.column(1).as_primitive::<Float64Type>().values();
    for (found, expected) in found.iter().zip([7.5, 10.0]) {
        assert!((found - expected).abs() < 1e-12, "{found}");
    }
}

/// Without a penalty categories have effects that add up to nothing, so that an unseen one has the mean effect.
#[test]
fn least_squares_with_categories_has_one_answer() {
    let input: Columns = vec![
        ("id", ints(0..6)),
        ("x", floats(&[0.0, 1.0, 2.0, 0.0, 1.0, 3.0])),
        ("city", texts(&["a", "a", "a", "b", "b", "c"])),
        ("y", floats(&[1.0, 3.0, 5.0, 11.0, 13.0, 10.0])),
    ];
    // y = 2 x + (a: 1, b: 11, c: 4): a mean of 16 / 3.
    let test = vec![
        ("id", ints([1, 2, 3])),
        ("x", floats(&[10.0, 10.0, 10.0])),
        ("city", texts(&["a", "c", "new"])),
    ];
    let (warnings, batch) = applied(&train("linear", 0.0, tabular(&["y"])), &input, &test);
    let found = batch.column(1).as_primitive::<Float64Type>().values();
    for (found, expected) in found.iter().zip([21.0, 24.0, 20.0 + 16.0 / 3.0]) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
    assert_eq!(
        warnings,
        [
            "column `city` of `input` holds categories in 1 row that training did not see, such as \"new\": the model knows \
          nothing of them"
        ]
    );
}

#[test]
fn logistic_gives_both_classes_of_a_boolean() {
    let (_, batch) = applied(
        &train("logistic", 1.0, tabular(&["y"])),
        &visits(),
        &visits(),
    );
    let prediction = batch.column(1).as_boolean();
    let classes = batch.column(2).as_list::<i32>();
    for (row, shares) in scores(&batch).iter().enumerate() {
        assert_eq!(shares.len(), 2);
        assert!(shares[0] >= 0.5 && (shares[0] + shares[1] - 1.0).abs() < 1e-15);
        let classes = classes.value(row);
        let classes = classes.as_boolean();
        assert_eq!(classes.value(0), prediction.value(row));
        assert_ne!(classes.value(0), classes.value(1));
    }
}

#[test]
fn several_labels_are_predicted_each_for_itself() {
    let input = with(
        visits(),
        vec![("late", booleans(&[true, true, false, false, true, false]))],
    );
    let both = train("logistic", 1.0, tabular(&["y", "late"]));
    let (_, batch) = applied(&both, &input, &input);
    let alone = train(
        "logistic",
        1.0,
        Tabular {
            columns: Some(names(&["device", "seconds"])),
            ..tabular(&["late"])
        },
    );
    let (_, late) = applied(&alone, &input, &input);
    for row in 0..6 {
        let classes = batch.column(2).as_list::<i32>().value(row);
        let place = classes
            .as_string::<i32>()
            .iter()
            .position(|name| name == Some("late"))
            .unwrap();
        let chance = scores(&batch)[row][place];
        let alone = match late.column(1).as_boolean().value(row) {
            true => scores(&late)[row][0],
            false => scores(&late)[row][1],
        };
        assert!((chance - alone).abs() < 1e-12);
        let likely = batch.column(1).as_list::<i32>().value(row);
        let is_likely = likely
            .as_string::<i32>()
            .iter()
            .any(|name| name == Some("late"));
        assert_eq!(is_likely, chance >= 0.5);
    }
}

#[test]
fn integers_keep_their_type_and_their_order_as_classes() {
    let stars = ints([10, 9, 10, 9, 100, 100]);
    let input = with(visits(), vec![("stars", stars)]);
    let task = Tabular {
        task: Some(Task::Multiclass),
        ..tabular(&["stars"])
    };
    let (_, batch) = applied(
        &train(
            "constant",
            0.0,
            Tabular {
                columns: Some(Vec::new()),
                ..task
            },
        ),
        &input,
        &input,
    );
    let classes = batch.column(2).as_list::<i32>().value(0);
    // All are equally likely, so they are in order of value.
    assert_eq!(
        classes
            .as_primitive::<arrow::datatypes::Int64Type>()
            .values(),
        &[9, 10, 100]
    );
}

#[test]
fn a_models_bytes_depend_on_neither_threads_nor_the_order_of_columns() {
    let rows = 5000;
    let value = |row: usize, by: usize| ((row * by) % 101) as f64;
    let city = |row: usize| ["a", "b", "c"][row * row % 3];
    let column = |by| floats(&(0..rows).map(|row| value(row, by)).collect::<Vec<_>>());
    let input: Columns = vec![
        ("id", ints(0..rows as i64)),
        ("u", column(7)),
        ("v", column(13)),
        ("city", texts(&(0..rows).map(city).collect::<Vec<_>>())),
        (
            "y",
            booleans(
                &(0..rows)
                    .map(|row| value(row, 7) + value(row, 31) > 99.0)
                    .collect::<Vec<_>>(),
            ),
        ),
    ];
    let bytes = |threads, columns: &Columns| {
        let mut bench = Bench::new().table("input", &["id"], columns);
        bench.threads = threads;
        let (_, path) = bench.run(&train("logistic", 0.5, tabular(&["y"]))).unwrap();
        ["model.json", "model.safetensors"].map(|file| fs::read(path.join(file)).unwrap())
    };
    let mut reversed = input.clone();
    reversed.reverse();
    assert!(bytes(1, &input) == bytes(4, &input));
    assert!(bytes(1, &input) == bytes(3, &reversed));
}

#[test]
fn the_description_of_a_model_is_as_specified() {
    let input = with(
        visits(),
        vec![(
            "age",
            nullable(&[None, Some(2.0), Some(4.0), Some(2.0), Some(4.0), None]),
        )],
    );
    let bench = Bench::new().table("input", &["id"], &input);
    let (_, path) = bench
        .run(&train(
            "constant",
            0.0,
            Tabular {
                columns: Some(Vec::new()),
                ..tabular(&["y"])
            },
        ))
        .unwrap();
    assert!(
        fs::read_to_string(path.join("model.json"))
            .unwrap()
            .contains("\"features\": []")
    );
    let (_, path) = bench.run(&train("logistic", 1.0, tabular(&["y"]))).unwrap();
    let text = fs::read_to_string(path.join("model.json")).unwrap();
    let (text, _) = text.split_once("\"metrics\"").unwrap();
    assert_eq!(
        text,
        r#"{
  "format": 2,
  "architecture": "logistic",
  "params": {
    "l2": 1.0
  },
  "library": "native 2",
  "task": "binary",
  "labels": [
    {
      "name": "y",
      "type": "Boolean",
      "classes": [
        "false",
        "true"
      ]
    }
  ],
  "features": [
    {
      "name": "age",
      "type": "Float64",
      "encoding": "number",
      "nulls": true
    },
    {
      "name": "device",
      "type": "Utf8",
      "encoding": "category",
      "nulls": false,
      "categories": [
        "app",
        "web"
      ]
    },
    {
      "name": "seconds",
      "type": "Float64",
      "encoding": "number",
      "nulls": false
    }
  ],
  "#
    );
}

#[test]
fn a_validation_table_gives_figures_by_their_definitions() {
    let validate: Columns = vec![
        ("id", ints(10..14)),
        ("y", booleans(&[true, true, true, false])),
    ];
    let bench =
        Bench::new()
            .table("input", &["id"], &visits())
            .table("validate", &["id"], &validate);
    let constant = |label| {
        train(
            "constant",
            0.0,
            Tabular {
                columns: Some(Vec::new()),
                ..tabular(&[label])
            },
        )
    };
    let (output, _) = bench.run(&constant("y")).unwrap();
    // Half of the six are true, and of equally likely classes the first one, `false`, is predicted.
    assert!((output.metrics["valid_log_loss"] - 2.0_f64.ln()).abs() < 1e-15);
    assert_eq!(output.metrics["valid_accuracy"], 0.25);
    let validate: Columns = vec![("id", ints([10, 11])), ("seconds", floats(&[30.5, 36.5]))];
    let bench =
        Bench::new()
            .table("input", &["id"], &visits())
            .table("validate", &["id"], &validate);
    let (output, _) = bench.run(&constant("seconds")).unwrap();
    // Errors of 2 and 4 around a mean that is 1 off.
    assert!((output.metrics["valid_rmse"] - 10.0_f64.sqrt()).abs() < 1e-12);
    assert_eq!(output.metrics["valid_mae"], 3.0);
    assert!((output.metrics["valid_r2"] + 1.0 / 9.0).abs() < 1e-12);
}

#[test]
fn labels_that_cannot_be_learned_are_refused() {
    let logistic = |label: &[&str]| train("logistic", 1.0, tabular(label));
    assert_eq!(
        refusal(&logistic(&["yy"]), &visits(), None),
        "model::no-column: `input` has no column `yy`\n\
         it has `id: Int64`, `y: Boolean`, `seconds: Float64`, `device: Utf8`"
    );
    let nulls = with(
        visits(),
        vec![(
            "y",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                None,
                Some(false),
                None,
                None,
            ])),
        )],
    );
    assert_eq!(
        refusal(&logistic(&["y"]), &nulls, None),
        "model::null-label: label `y` of `input` is null in row 2\n4 labels are null in all\n\
         filter out rows without a label in the query that makes the table"
    );
    let one = with(visits(), vec![("y", booleans(&[true; 6]))]);
    assert_eq!(
        refusal(&logistic(&["y"]), &one, None),
        "model::one-class: label `y` of `input` is true in every row\n\
         there is nothing to tell apart; see how the query that makes it chooses rows"
    );
    let three = with(
        visits(),
        vec![("y", texts(&["a", "b", "c", "a", "b", "c"]))],
    );
    assert_eq!(
        refusal(
            &train(
                "logistic",
                1.0,
                Tabular {
                    task: Some(Task::Binary),
                    ..tabular(&["y"])
                }
            ),
            &three,
            None
        ),
        "model::classes: label `y` of `input` has 3 classes, and the task is `binary`\n\
         they are \"a\", \"b\", \"c\"; say `task = \"multiclass\"`"
    );
    let whole = with(visits(), vec![("y", ints(0..6))]);
    assert_eq!(
        refusal(&logistic(&["y"]), &whole, None),
        "model::task: label `y` of `input` is Int64: are these amounts or classes?\n\
         say `task = \"regression\"`, `task = \"binary\"` or `task = \"multiclass\"`"
    );
    assert_eq!(
        refusal(&logistic(&["seconds"]), &visits(), None),
        "model::task: `logistic` has no task `regression`, and label `seconds` is Float64\n`linear` predicts numbers"
    );
    assert_eq!(
        refusal(&train("linear", 1.0, tabular(&["y"])), &visits(), None),
        "model::task: `linear` has no task `binary`, and label `y` is Boolean\n`logistic` predicts classes"
    );
    assert_eq!(
        refusal(&logistic(&["y", "device"]), &visits(), None),
        "model::label-type: label `device` of `input` is Utf8, and one of several\n\
         several labels are boolean columns, each predicted for itself"
    );
    let day: ArrayRef = Arc::new(PrimitiveArray::<Date32Type>::from(vec![1; 6]));
    let moments = with(visits(), vec![("y", day)]);
    assert!(
        refusal(&logistic(&["y"]), &moments, None)
            .starts_with("model::label-type: label `y` of `input` is Date32")
    );
    assert_eq!(
        refusal(
            &logistic(&["y"]),
            &vec![("id", ints([])), ("y", booleans(&[])), ("x", floats(&[]))],
            None
        ),
        "model::empty: `input` has no rows to train on\nsee whether the query that makes it filters too much"
    );
}

#[test]
fn features_that_make_no_sense_are_refused() {
    let work = train("logistic", 1.0, tabular(&["y"]));
    let broken = with(
        visits(),
        vec![(
            "seconds",
            floats(&[1.0, 2.0, f64::NAN, 3.0, f64::INFINITY, 4.0]),
        )],
    );
    assert_eq!(
        refusal(&work, &broken, None),
        "model::not-finite: column `seconds` of `input` is not a number in row 3\n2 values of it are not finite\n\
         make them null, or filter such rows out, in the query that makes the table"
    );
    let day: ArrayRef = Arc::new(PrimitiveArray::<Date32Type>::from(vec![1; 6]));
    assert_eq!(
        refusal(&work, &with(visits(), vec![("day", day)]), None),
        "model::feature-type: column `day` of `input` is Date32: a moment is no feature\n\
         make numbers of it in the query, such as `date_part('month', day)`; or name the features in `columns`, or say that \
         it is the `time` of the rows"
    );
    let lists: ArrayRef = crate::tests::sequences(&[&[1], &[2], &[], &[], &[], &[]]);
    assert!(
        refusal(&work, &with(visits(), vec![("list", lists)]), None).starts_with(
            "model::feature-type: column `list` of `input` is List(Int64), which is no feature"
        )
    );
    let none = vec![("id", ints(0..2)), ("y", booleans(&[true, false]))];
    assert!(
        refusal(&work, &none, None).starts_with("model::no-features: no column of `input` is left")
    );
    let listed = Tabular {
        categories: names(&["seconds"]),
        ..tabular(&["y"])
    };
    assert!(
        refusal(&train("logistic", 1.0, listed), &visits(), None).starts_with(
            "model::feature-type: column `seconds` of `input` is Float64: it holds no categories"
        )
    );
    let stray = Tabular {
        allow_leak: names(&["id"]),
        ..tabular(&["y"])
    };
    assert!(
        refusal(&train("logistic", 1.0, stray), &visits(), None)
            .starts_with("model::not-a-feature: `allow_leak` names `id`, which is no feature")
    );
}

#[test]
fn a_constant_column_is_left_out_with_a_word() {
    let input = with(visits(), vec![("shop", texts(&["x"; 6]))]);
    let bench = Bench::new().table("input", &["id"], &input);
    let (output, path) = bench.run(&train("logistic", 1.0, tabular(&["y"]))).unwrap();
    assert_eq!(
        output.warnings,
        ["column `shop` has one value only in `input`, and is left out"]
    );
    assert_eq!(output.metrics["features"], 2.0);
    assert!(
        fs::read_to_string(path.join("model.json"))
            .unwrap()
            .contains("\"encoding\": \"constant\"")
    );
}

#[test]
fn a_penalty_is_needed_where_rows_do_not_decide() {
    let few: Columns = vec![
        ("id", ints(0..3)),
        ("a", floats(&[1.0, 2.0, 4.0])),
        ("b", floats(&[3.0, 1.0, 2.0])),
        ("c", floats(&[1.0, 0.0, 5.0])),
        ("y", floats(&[1.0, 5.0, 2.0])),
    ];
    let least_squares = train("linear", 0.0, tabular(&["y"]));
    assert_eq!(
        refusal(&least_squares, &few, None),
        "model::too-few-rows: `input` has 3 rows for 4 weights, too few without a penalty\n\
         set `l2` above 0, or name fewer `columns`"
    );
    let twice: Columns = vec![
        ("id", ints(0..6)),
        ("a", floats(&[1.0, 2.0, 4.0, 0.0, 1.0, 3.0])),
        ("b", floats(&[2.0, 4.0, 8.0, 0.0, 2.0, 6.0])),
        ("y", floats(&[1.0, 5.0, 2.0, 2.0, 1.5, 0.0])),
    ];
    assert_eq!(
        refusal(&least_squares, &twice, None),
        "model::collinear: `b` is a combination of other columns: no one answer is best\n\
         set `l2` above 0, or leave one of them out with `columns`"
    );
    let apart = with(
        visits(),
        vec![("seconds", floats(&[30.0, 1.0, 31.0, 2.0, 3.0, 32.0]))],
    );
    let free = Tabular {
        columns: Some(names(&["seconds"])),
        ..tabular(&["y"])
    };
    assert_eq!(
        refusal(&train("logistic", 0.0, free), &apart, None),
        "model::no-minimum: no finite weights are best: some columns tell classes apart without a doubt\n\
         set `l2` above 0, or look for a column that knows the label"
    );
}

#[test]
fn a_table_of_another_shape_is_refused() {
    let work = train("logistic", 1.0, tabular(&["y"]));
    let without: Columns = visits()
        .into_iter()
        .filter(|(name, _)| *name != "device")
        .collect();
    assert_eq!(
        refusal(&work, &visits(), Some(&without)),
        "model::no-column: `validate` has no column `device`, which the model was trained on\n\
         it has `id: Int64`, `y: Boolean`, `seconds: Float64`"
    );
    let mut bench = Bench::new().table("input", &["id"], &visits());
    let (_, path) = bench.run(&work).unwrap();
    bench
        .inputs
        .insert("model".to_owned(), InputFolder { path, table: None });
    let mut predicting = |columns: Columns| {
        let name = format!("test{}", bench.inputs.len());
        let folder = std::mem::replace(&mut bench, Bench::new()).table(&name, &["id"], &columns);
        bench = folder;
        let table = bench.inputs[&name].clone();
        bench.inputs.insert("input".to_owned(), table);
        bench.run(&predict(&["id"])).map(|(output, _)| output)
    };
    assert_eq!(
        shown(predicting(without).unwrap_err()),
        "model::no-column: `input` has no column `device`, which the model was trained on\n\
         it has `id: Int64`, `y: Boolean`, `seconds: Float64`"
    );
    assert_eq!(
        shown(predicting(with(visits(), vec![("device", ints(0..6))])).unwrap_err()),
        "model::column-type: column `device` of `input` is Int64, and the model was trained on Utf8\n\
         cast it in the query that makes the table"
    );
    assert_eq!(
        shown(
            predicting(with(
                visits(),
                vec![(
                    "seconds",
                    nullable(&[Some(1.0), Some(2.0), None, None, None, None])
                )]
            ))
            .unwrap_err()
        ),
        "model::new-null: column `seconds` of `input` is null in row 3, and was never null in training\n\
         what a null means can only be learned from some; fill them in, or filter them out, in the query"
    );
    // Whole numbers are as good as others, and the label is not asked for.
    let whole: Columns = with(visits(), vec![("seconds", ints(0..6))])
        .into_iter()
        .filter(|(name, _)| *name != "y")
        .collect();
    assert_eq!(predicting(whole).unwrap().warnings, [""; 0]);
}

#[test]
fn a_column_that_knows_the_label_is_an_error_unless_it_is_meant() {
    let input = with(
        visits(),
        vec![
            ("bought", texts(&["yes", "no", "yes", "no", "no", "yes"])),
            ("refund", ints([1, 0, 1, 0, 0, 1])),
        ],
    );
    let message = "model::leak: column `bought` of `input` gives the label `y` away: each of its values goes with one value \
                   of the label, and the other way round\nso does `refund` with `y`\nleave it out with `columns`; if it is \
                   known before the label is, say `allow_leak = [\"bought\"]`";
    assert_eq!(
        refusal(&train("logistic", 1.0, tabular(&["y"])), &input, None),
        message
    );
    let allowed = Tabular {
        allow_leak: names(&["bought", "refund"]),
        ..tabular(&["y"])
    };
    let bench = Bench::new().table("input", &["id"], &input);
    assert!(bench.run(&train("logistic", 1.0, allowed)).is_ok());
    let amounts: Vec<f64> = (0..12).map(|i| f64::from(i * 5 % 12) + 0.5).collect();
    let cents: Vec<i64> = amounts
        .iter()
        .map(|amount| (amount * 100.0) as i64)
        .collect();
    let input: Columns = vec![
        ("id", ints(0..12)),
        ("cents", ints(cents)),
        ("x", ints((0..12).map(|i| i % 5))),
        ("y", floats(&amounts)),
    ];
    assert!(
        refusal(&train("linear", 1.0, tabular(&["y"])), &input, None)
            .starts_with("model::leak: column `cents`")
    );
}

#[test]
fn tables_that_share_rows_are_refused() {
    let work = train("logistic", 1.0, tabular(&["y"]));
    let validate = with(visits(), vec![("id", ints([9, 2, 8, 3, 10, 11]))]);
    assert_eq!(
        refusal(&work, &visits(), Some(&validate)),
        "model::overlap: row 2 of `validate` is also in `input`: `id` 2\n2 rows of `validate` have the key of a row of \
         `input`\nwhat a model was trained on cannot show how good it is: split rows by their key"
    );
    let without: Columns = visits()
        .into_iter()
        .filter(|(name, _)| *name != "id")
        .collect();
    let bench = Bench::new()
        .table("input", &["id"], &visits())
        .table("validate", &[], &without);
    let (output, _) = bench.run(&work).unwrap();
    assert_eq!(
        output.warnings,
        ["`validate` has not the key of `input`, `id`: whether rows are in both cannot be told"]
    );
}

#[test]
fn what_is_validated_on_comes_after_what_was_trained_on() {
    let days =
        |days: &[i32]| -> ArrayRef { Arc::new(PrimitiveArray::<Date32Type>::from(days.to_vec())) };
    let input = with(visits(), vec![("day", days(&[1, 2, 3, 4, 5, 6]))]);
    let work = train(
        "logistic",
        1.0,
        Tabular {
            time: Some("day".to_owned()),
            ..tabular(&["y"])
        },
    );
    let later = with(
        visits(),
        vec![("id", ints(10..16)), ("day", days(&[7, 7, 8, 9, 7, 7]))],
    );
    let bench = Bench::new()
        .table("input", &["id"], &input)
        .table("validate", &["id"], &later);
    let (output, _) = bench.run(&work).unwrap();
    assert_eq!(output.metrics["features"], 2.0, "the time is no feature");
    let mixed = with(later, vec![("day", days(&[7, 7, 6, 9, 2, 7]))]);
    assert_eq!(
        refusal(&work, &input, Some(&mixed)),
        "model::time: row 3 of `validate` is of 1970-01-07, and `input` goes to 1970-01-07\n2 rows of `validate` are no later \
         than that\na model is to foretell what comes after: split rows by `day`"
    );
}

#[test]
fn a_class_that_training_lacks_is_named() {
    let work = train("logistic", 1.0, tabular(&["device"]));
    let validate = with(
        visits(),
        vec![
            ("id", ints(10..16)),
            ("device", texts(&["web", "tv", "app", "tv", "app", "web"])),
        ],
    );
    assert_eq!(
        refusal(&work, &visits(), Some(&validate)),
        "model::unknown-class: label `device` of `validate` is \"tv\" in row 2, a class that training does not have\n\
         the classes of `input` are \"app\", \"web\""
    );
}

#[test]
fn what_is_read_is_what_counts() {
    let executor = ModelExecutor::new(WorkerSettings::default());
    let field = |name: &str, data_type: &str| Field {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
    };
    let schema = Schema {
        columns: vec![
            field("id", "Int64"),
            field("x", "Float64"),
            field("unused", "Date32"),
            field("y", "Boolean"),
        ],
        key: names(&["id"]),
    };
    let reads = |work: &Work, inputs: &[&str]| {
        let inputs = inputs
            .iter()
            .map(|name| ((*name).to_owned(), schema.clone()))
            .collect();
        let analysis = executor.analyze(work, &inputs).unwrap();
        let reads = analysis.reads.into_iter();
        reads
            .map(|(input, columns)| {
                format!(
                    "{input}: {}",
                    columns.into_iter().collect::<Vec<_>>().join(" ")
                )
            })
            .collect::<Vec<_>>()
    };
    let declared = || Tabular {
        columns: Some(names(&["x"])),
        ..tabular(&["y"])
    };
    let work = train("logistic", 1.0, declared());
    assert_eq!(reads(&work, &["input"]), ["input: x y"]);
    assert_eq!(
        reads(&work, &["input", "validate"]),
        ["input: id x y", "validate: id x y"]
    );
    let constant = train(
        "constant",
        0.0,
        Tabular {
            columns: Some(Vec::new()),
            ..tabular(&["y"])
        },
    );
    assert_eq!(reads(&constant, &["input"]), ["input: y"]);
    let question = Question::Table {
        columns: Some(names(&["x"])),
        without: Vec::new(),
    };
    let asked = |question| {
        Work::Predict(Predict {
            question,
            key: names(&["id"]),
            threads: 1,
            device: Device::Cpu,
        })
    };
    assert_eq!(reads(&asked(question), &["input"]), ["input: id x"]);
    let question = Question::Table {
        columns: None,
        without: names(&["y", "id"]),
    };
    assert_eq!(reads(&asked(question), &["input"]), ["input: id unused x"]);
}
