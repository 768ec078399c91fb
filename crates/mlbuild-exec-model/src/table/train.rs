//! Training on a table: columns in, a model's folder out.

use std::collections::BTreeMap;

use mlbuild_action::{Diagnostic, Failure, Output, Request, Schema, Table, Tabular, Task, Train};

use super::artifact::{self, Model};
use super::columns::{self, Kind, Layout, refuse};
use super::encoder::{Encoder, Unseen};
use super::figures::{Classified, regression};
use super::label::{Label, Truth, learn, look_up};
use super::leak::{refuse_leaks, refuse_overlap, refuse_the_past};
use super::matrix::Matrix;
use super::model::{Fitted, Prediction, best, outputs_of};
use super::read::{Column, read};
use super::solve::{Minimum, NoMinimum};
use super::{INPUT, linear, logistic};
use crate::train::on_threads;
use crate::{NATIVE, stop_if_cancelled};

const VALIDATE: &str = "validate";

/// Scores further apart than this mean probabilities that floats can hardly tell from 0 and 1: without a penalty, that
/// there is no best answer.
const CERTAIN: f64 = 30.0;

/// Encoded rows with what is true of them.
struct Rows {
    matrix: Matrix,
    truth: Truth,
}

pub(crate) fn execute(
    train: &Train,
    tabular: &Tabular,
    request: &Request<'_>,
) -> Result<Output, Failure> {
    let input = request.input(INPUT);
    let schema = input.table.as_ref().map(Table::schema);
    let schema =
        schema.ok_or_else(|| crate::invalid("model::no-table", "`input` is not a table"))?;
    let layout = columns::layout(&train.architecture, tabular, &schema)?;
    let cancel = request.cancel;
    let mut warnings = compare_tables(tabular, &layout, request)?;
    let (labels, truth, odd) = learn(layout.task, &layout.labels, input, cancel)?;
    warnings.extend(odd);
    let wanted: Vec<(&str, Kind)> = layout
        .features
        .iter()
        .map(|feature| (feature.name.as_str(), feature.kind))
        .collect();
    let columns = match wanted.is_empty() {
        true => Vec::new(),
        false => read(INPUT, input, &wanted, cancel)?,
    };
    refuse_leaks(
        &layout.features,
        &columns,
        &labels,
        &truth,
        &tabular.allow_leak,
    )?;
    let (encoder, constant) = Encoder::fit(&layout.features, &columns);
    warnings.extend(constant);
    let rows = Rows {
        matrix: encode(&encoder, &layout, columns, &truth)?,
        truth,
    };
    let (fitted, iterations) = on_threads(request.threads, || {
        fit(train, layout.task, &labels, &encoder, &rows, request)
    })?;
    let mut metrics = BTreeMap::from([
        ("rows".to_owned(), rows.matrix.rows as f64),
        ("features".to_owned(), encoder.needed().count() as f64),
        ("weights".to_owned(), fitted.weights.len() as f64),
    ]);
    if iterations > 0 {
        metrics.insert("iterations".to_owned(), iterations as f64);
    }
    figures("train_", layout.task, &labels, &fitted, &rows, &mut metrics);
    if let Some(input) = request.inputs.get(VALIDATE) {
        let mut unseen = Unseen::default();
        let columns = match encoder.reads() {
            reads if reads.is_empty() => Vec::new(),
            reads => read(VALIDATE, input, &reads, cancel)?,
        };
        let truth = look_up(VALIDATE, layout.task, &labels, input, cancel)?;
        let rows = rows_of(&truth);
        if rows == 0 {
            let help = "leave `validate` away, or see whether its query filters too much";
            return Err(refuse("model::empty", "`validate` has no rows", help));
        }
        let matrix = encoder.encode(VALIDATE, &columns, rows, 0, &mut unseen)?;
        warnings.extend(encoder.warnings(VALIDATE, &unseen));
        let rows = Rows { matrix, truth };
        figures("valid_", layout.task, &labels, &fitted, &rows, &mut metrics);
    }
    stop_if_cancelled(cancel)?;
    let model = Model {
        architecture: train.architecture.clone(),
        params: train.params.clone(),
        library: NATIVE.to_owned(),
        task: layout.task,
        labels,
        encoder,
        metrics: metrics.clone(),
        curve: Vec::new(),
    };
    artifact::write(request.output, &model, &fitted)?;
    Ok(Output {
        table: None,
        metrics,
        warnings,
    })
}

/// Whether the table `validate` has the labels and features of `input`.
pub(super) fn same_table(layout: &Layout, validate: &Schema) -> Result<(), Failure> {
    let features = layout.features.iter();
    let features = features.map(|feature| (feature.name.as_str(), feature.data_type.as_str()));
    let labels = layout.labels.iter();
    let labels = labels.map(|label| (label.name.as_str(), label.data_type.as_str()));
    columns::same_columns(VALIDATE, features.chain(labels), validate)
}

/// Compares the two tables before anything is learned.
fn compare_tables(
    tabular: &Tabular,
    layout: &Layout,
    request: &Request<'_>,
) -> Result<Vec<String>, Failure> {
    let Some(validate) = request.inputs.get(VALIDATE) else {
        return Ok(Vec::new());
    };
    if let Some(table) = &validate.table {
        same_table(layout, &table.schema())?;
    }
    let input = request.input(INPUT);
    let warning = refuse_overlap(&tabular.key, input, validate, request.cancel)?;
    if let Some(time) = &tabular.time {
        refuse_the_past(time, input, validate, request.cancel)?;
    }
    Ok(warning.into_iter().collect())
}

fn rows_of(truth: &Truth) -> usize {
    match truth {
        Truth::Classes(labels) => labels[0].len(),
        Truth::Amounts(amounts) => amounts.len(),
    }
}

/// Encodes the columns that the encoder was fitted on, less those that were constant.
fn encode(
    encoder: &Encoder,
    layout: &Layout,
    columns: Vec<Column>,
    truth: &Truth,
) -> Result<Matrix, Failure> {
    let needed: Vec<&str> = encoder.reads().into_iter().map(|(name, _)| name).collect();
    let kept = layout.features.iter().zip(columns);
    let kept = kept.filter(|(feature, _)| needed.contains(&&*feature.name));
    let kept: Vec<Column> = kept.map(|(_, column)| column).collect();
    encoder.encode(INPUT, &kept, rows_of(truth), 0, &mut Unseen::default())
}

/// Fits the model; also says in how many steps.
fn fit(
    train: &Train,
    task: Task,
    labels: &[Label],
    encoder: &Encoder,
    rows: &Rows,
    request: &Request<'_>,
) -> Result<(Fitted, usize), Failure> {
    let l2 = train.params.get("l2").and_then(|value| value.as_f64());
    let (l2, width) = (l2.unwrap_or(0.0), rows.matrix.width);
    if train.architecture == "constant" {
        return Ok((constant(task, labels, &rows.truth), 0));
    }
    if l2 == 0.0 && rows.matrix.rows <= width {
        let message = format!(
            "`input` has {} rows for {} weights, too few without a penalty",
            rows.matrix.rows,
            width + 1
        );
        return Err(refuse(
            "model::too-few-rows",
            message,
            "set `l2` above 0, or name fewer `columns`",
        ));
    }
    let stop = || request.cancel.is_cancelled();
    let groups = encoder.groups();
    let failed = |no: NoMinimum| no_minimum(no, encoder, width);
    match &rows.truth {
        Truth::Amounts(target) => {
            let problem = linear::Problem {
                matrix: &rows.matrix,
                target,
                l2,
                groups: &groups,
            };
            let Minimum { at, iterations } = linear::fit(&problem, &stop).map_err(failed)?;
            Ok((fitted(&at, width), iterations))
        }
        Truth::Classes(all) => {
            let balanced = train
                .params
                .get("class_weight")
                .and_then(|value| value.as_str());
            let (mut variables, mut steps) = (Vec::new(), 0);
            for (label, classes) in labels.iter().zip(all) {
                let weights = match balanced {
                    Some("balanced") => balance(classes, label.classes.len()),
                    _ => vec![1.0; classes.len()],
                };
                let problem = logistic::Problem {
                    matrix: &rows.matrix,
                    classes,
                    outputs: outputs_of(label.classes.len()),
                    weights: &weights,
                    l2,
                    groups: &groups,
                };
                let Minimum { at, iterations } = logistic::fit(&problem, &stop).map_err(failed)?;
                let found = fitted(&at, width);
                if l2 == 0.0 && told_apart(&found, &rows.matrix) {
                    return Err(no_minimum(NoMinimum::Endless, encoder, width));
                }
                variables.extend(at);
                steps += iterations;
            }
            Ok((fitted(&variables, width), steps))
        }
    }
}

/// The shares of classes as biases, or the mean.
fn constant(task: Task, labels: &[Label], truth: &Truth) -> Fitted {
    let bias = match truth {
        Truth::Amounts(amounts) => vec![amounts.iter().sum::<f64>() / amounts.len() as f64],
        Truth::Classes(all) => labels
            .iter()
            .zip(all)
            .flat_map(|(label, codes)| {
                let mut counts = vec![0.0_f64; label.classes.len()];
                codes.iter().for_each(|code| counts[*code as usize] += 1.0);
                match (task, &counts[..]) {
                    (Task::Multiclass, [_, _, _, ..]) => counts.iter().map(|n| n.ln()).collect(),
                    _ => vec![(counts[1] / counts[0]).ln()],
                }
            })
            .collect(),
    };
    Fitted {
        weights: Vec::new(),
        bias,
    }
}

/// Splits variables, `[outputs, width + 1]`, into weights and biases.
fn fitted(variables: &[f64], width: usize) -> Fitted {
    let outputs = variables.chunks_exact(width + 1);
    Fitted {
        weights: outputs
            .clone()
            .flat_map(|output| &output[..width])
            .copied()
            .collect(),
        bias: outputs.map(|output| output[width]).collect(),
    }
}

/// `rows / (classes * rows of its class)` for each row.
fn balance(classes: &[u32], count: usize) -> Vec<f64> {
    let mut counts = vec![0.0; count];
    classes
        .iter()
        .for_each(|class| counts[*class as usize] += 1.0);
    let rows = classes.len() as f64;
    let weight = |class: &u32| rows / (count as f64 * counts[*class as usize]);
    classes.iter().map(weight).collect()
}

/// Whether some row is certain.
fn told_apart(fitted: &Fitted, matrix: &Matrix) -> bool {
    let outputs = fitted.bias.len();
    (0..matrix.rows).any(|row| {
        let scores = (0..outputs).map(|k| {
            let weights = &fitted.weights[k * matrix.width..(k + 1) * matrix.width];
            matrix.score(row, weights, fitted.bias[k])
        });
        let (low, high) = scores.fold((0.0, f64::NEG_INFINITY), |(low, high), score| {
            (f64::min(low, score), f64::max(high, score))
        });
        f64::max(high, 0.0) - low > CERTAIN
    })
}

fn no_minimum(no: NoMinimum, encoder: &Encoder, width: usize) -> Failure {
    match no {
        NoMinimum::Stopped => Failure::Cancelled,
        NoMinimum::Flat(column) => {
            let column = match column % (width + 1) {
                bias if bias == width => "a column".to_owned(),
                column => encoder.column_name(column),
            };
            let message =
                format!("{column} is a combination of other columns: no one answer is best");
            refuse(
                "model::collinear",
                message,
                "set `l2` above 0, or leave one of them out with `columns`",
            )
        }
        NoMinimum::Endless => Failure::Failed(
            Diagnostic::error(
                "model::no-minimum",
                "no finite weights are best: some columns tell classes apart without a doubt",
            )
            .help("set `l2` above 0, or look for a column that knows the label"),
        ),
    }
}

/// Adds the figures of a model on rows.
fn figures(
    prefix: &str,
    task: Task,
    labels: &[Label],
    fitted: &Fitted,
    Rows { matrix, truth }: &Rows,
    metrics: &mut BTreeMap<String, f64>,
) {
    let predicted = (0..matrix.rows).map(|row| fitted.predict(task, labels, matrix, row));
    match truth {
        Truth::Amounts(amounts) => {
            let amount = |prediction| match prediction {
                Prediction::Amount(amount) => amount,
                _ => unreachable!("a regression predicts amounts"),
            };
            let predicted: Vec<f64> = predicted.map(amount).collect();
            regression(prefix, amounts, &predicted, metrics);
        }
        Truth::Classes(all) => {
            let mut classified = Classified::default();
            for (row, prediction) in predicted.enumerate() {
                match prediction {
                    Prediction::Shares(shares) => {
                        let class = all[0][row] as usize;
                        classified.add(shares[class], best(&shares) == class);
                    }
                    Prediction::Chances(chances) => {
                        for (chance, classes) in chances.iter().zip(all) {
                            let is = classes[row] == 1;
                            let share = if is { *chance } else { 1.0 - chance };
                            classified.add(share, (*chance >= 0.5) == is);
                        }
                    }
                    Prediction::Amount(_) => unreachable!("classes are predicted as shares"),
                }
            }
            classified.figures(prefix, metrics);
        }
    }
}
