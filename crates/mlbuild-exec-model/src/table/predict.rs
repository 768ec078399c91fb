//! Applying a model to a table, block by block.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use mlbuild_action::{Failure, Output, Predict, Progress, Request, Task};
use mlbuild_table::{FILE_NAME, TableWriter, parse_type};
use rayon::prelude::*;

use super::INPUT;
use super::artifact::{self, Model};
use super::columns::same_columns;
use super::encoder::Unseen;
use super::label::Label;
use super::matrix::Matrix;
use super::model::{Fitted, Prediction};
use super::read::Collector;
use crate::predict::refuse_clashes;
use crate::sequences::open;
use crate::stop_if_cancelled;
use crate::tensors::broken;
use crate::train::on_threads;

/// The columns that predictions add to the key; of amounts only the first.
pub(super) const COLUMNS: [&str; 3] = ["prediction", "classes", "scores"];

pub(crate) fn execute(predict: &Predict, request: &Request<'_>) -> Result<Output, Failure> {
    refuse_clashes(&predict.key, &COLUMNS)?;
    let (model, fitted) = artifact::read(&request.input("model").path)?;
    let input = request.input(INPUT);
    if let Some(table) = &input.table {
        let needed = model.encoder.needed();
        let needed = needed.map(|feature| (feature.name.as_str(), feature.data_type.as_str()));
        same_columns(INPUT, needed, &table.schema())?;
    }
    on_threads(request.threads, || write(predict, request, &model, &fitted))
}

fn write(
    predict: &Predict,
    request: &Request<'_>,
    model: &Model,
    fitted: &Fitted,
) -> Result<Output, Failure> {
    let reads = model.encoder.reads();
    let mut names: Vec<&str> = predict.key.iter().map(String::as_str).collect();
    let key = names.len();
    // A feature may be part of the key too; a column is read once.
    let features: Vec<usize> = reads
        .iter()
        .map(|(name, _)| {
            names
                .iter()
                .position(|known| known == name)
                .unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                })
        })
        .collect();
    let reader = open(INPUT, request.input(INPUT), &names)?;
    let fields = reader.schema().fields().iter().take(key);
    let mut fields: Vec<Field> = fields.map(|field| (**field).clone()).collect();
    fields.extend(output_fields(model)?);
    let schema = Arc::new(Schema::new(fields));
    let mut writer = TableWriter::create(&request.output.join(FILE_NAME), &schema)?;
    let mut unseen = Unseen::default();
    let mut from = 0;
    for block in reader {
        stop_if_cancelled(request.cancel)?;
        let block = block?;
        let column = |((name, kind), index): (&(&str, _), &usize)| {
            let mut collector = Collector::new(INPUT, name, *kind).starting_at(from);
            collector.add(block.column(*index));
            collector.finish()
        };
        let columns = reads.iter().zip(&features).map(column);
        let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
        let encoder = &model.encoder;
        let matrix = encoder.encode(INPUT, &columns, block.num_rows(), from, &mut unseen)?;
        let mut output = block.columns()[..key].to_vec();
        output.extend(predictions(model, fitted, &matrix));
        let batch = RecordBatch::try_new(schema.clone(), output)
            .expect("the schema is made of these columns");
        writer.write(&batch)?;
        from += block.num_rows();
        (request.progress)(Progress::Rows { rows: from as u64 });
    }
    Ok(Output {
        table: Some(writer.finish(&predict.key)?),
        warnings: model.encoder.warnings(INPUT, &unseen),
        ..Output::default()
    })
}

/// The type of a label's values.
fn value_type(label: &Label) -> Result<DataType, Failure> {
    let data_type = parse_type(&label.data_type);
    data_type.ok_or_else(|| {
        broken(
            "`model.json`",
            format!("has a label of type `{}`", label.data_type),
        )
    })
}

fn output_fields(model: &Model) -> Result<Vec<Field>, Failure> {
    let list = |data_type| DataType::new_list(data_type, true);
    let [prediction, classes, scores] = COLUMNS;
    let label = value_type(&model.labels[0])?;
    let (one, several) = match model.task {
        Task::Regression => return Ok(vec![Field::new(prediction, DataType::Float64, true)]),
        Task::Binary | Task::Multiclass => (label.clone(), label),
        Task::Multilabel => (list(DataType::Utf8), DataType::Utf8),
    };
    Ok(vec![
        Field::new(prediction, one, true),
        Field::new(classes, list(several), true),
        Field::new(scores, list(DataType::Float64), true),
    ])
}

/// Predicts the rows of a block, on the threads of the current pool.
fn predictions(model: &Model, fitted: &Fitted, matrix: &Matrix) -> Vec<ArrayRef> {
    let labels = &model.labels;
    let predict = |row| fitted.predict(model.task, labels, matrix, row);
    let predicted: Vec<Prediction> = (0..matrix.rows).into_par_iter().map(predict).collect();
    let mut amounts: Vec<f64> = Vec::new();
    // Of each row what is likely, and everything, best first.
    let mut chosen: Vec<Vec<usize>> = Vec::new();
    let mut ranked: Vec<Vec<(usize, f64)>> = Vec::new();
    for prediction in predicted {
        match prediction {
            Prediction::Amount(amount) => amounts.push(amount),
            Prediction::Shares(shares) => {
                let best_first = best_first(&shares);
                chosen.push(vec![best_first[0].0]);
                ranked.push(best_first);
            }
            Prediction::Chances(chances) => {
                let likely = (0..chances.len()).filter(|label| chances[*label] >= 0.5);
                chosen.push(likely.collect());
                ranked.push(best_first(&chances));
            }
        }
    }
    match model.task {
        Task::Regression => vec![Arc::new(Float64Array::from(amounts))],
        Task::Binary | Task::Multiclass => {
            let label = &labels[0];
            let data_type = value_type(label).expect("it was looked at before");
            let words = |indices: &mut dyn Iterator<Item = usize>| -> ArrayRef {
                let words: StringArray = indices
                    .map(|class| Some(label.classes[class].as_str()))
                    .collect();
                cast(&words, &data_type).expect("classes are values of the label's type")
            };
            let prediction = words(&mut chosen.iter().map(|classes| classes[0]));
            vec![
                prediction,
                list(&ranked, words(&mut flat(&ranked))),
                scores(&ranked),
            ]
        }
        Task::Multilabel => {
            let words = |indices: &mut dyn Iterator<Item = usize>| -> ArrayRef {
                let words = indices.map(|label| Some(labels[label].name.as_str()));
                Arc::new(words.collect::<StringArray>())
            };
            vec![
                list(&chosen, words(&mut chosen.iter().flatten().copied())),
                list(&ranked, words(&mut flat(&ranked))),
                scores(&ranked),
            ]
        }
    }
}

/// What has which probability, the likeliest first, ties in order.
fn best_first(shares: &[f64]) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = shares.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked
}

fn flat(ranked: &[Vec<(usize, f64)>]) -> impl Iterator<Item = usize> + '_ {
    ranked.iter().flatten().map(|(index, _)| *index)
}

fn scores(ranked: &[Vec<(usize, f64)>]) -> ArrayRef {
    let scores = ranked.iter().flatten().map(|(_, score)| Some(*score));
    list(ranked, Arc::new(scores.collect::<Float64Array>()))
}

/// Lists as long as those of `rows`.
fn list<T>(rows: &[Vec<T>], values: ArrayRef) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    let field = Field::new_list_field(values.data_type().clone(), true);
    Arc::new(ListArray::new(field.into(), offsets, values, None))
}
