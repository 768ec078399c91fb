//! Performs [`Work::Predict`](mlbuild_action::Work::Predict): a model and a table in, a table of ranked items out.
//!
//! The input is read twice, first its sequences and then its key columns, block by block: what is held in memory
//! between is indices.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use mlbuild_action::{
    Cancel, Diagnostic, Failure, Flows, Origin, Output, Predict, Progress, Question, Request,
};
use mlbuild_table::{FILE_NAME, TableWriter};
use rayon::prelude::*;

use crate::artifact::{self, Model, WEIGHTS};
use crate::baseline::{self, Baseline};
use crate::catalog::Catalog;
use crate::rank::best;
use crate::sequences::{Lookup, Sequences, open, read_sequences};
use crate::tensors::TensorFile;
use crate::train::on_threads;
use crate::{stop_if_cancelled, table, worker};

const INPUT: &str = "input";

/// What lists of items are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'a> {
    /// The column with each row's items so far.
    sequence: &'a str,
    /// Length of each list.
    pub(crate) k: usize,
    /// Whether items of the row's own sequence are left out.
    pub(crate) exclude_seen: bool,
}

/// A row's items with their scores, best first.
pub(crate) type Ranked = Vec<(u32, f32)>;

/// The columns that predictions add to the key.
const ITEMS: &str = "items";
const SCORES: &str = "scores";

pub(crate) fn execute(
    predict: &Predict,
    request: &Request<'_>,
    settings: &worker::WorkerSettings,
) -> Result<Output, Failure> {
    let lists = match &predict.question {
        Question::Sequences {
            sequence,
            k,
            exclude_seen,
        } => Lists {
            sequence,
            k: *k as usize,
            exclude_seen: *exclude_seen,
        },
        Question::Table { .. } => return table::predict(predict, request),
    };
    refuse_clashes(&predict.key, &[ITEMS, SCORES])?;
    let folder = &request.input("model").path;
    let model = artifact::read(folder, request.cancel)?;
    let input = request.input(INPUT);
    let lookup = Lookup::In(&model.catalog);
    let sequences = read_sequences(INPUT, input, lists.sequence, lookup, request.cancel)?;
    let weights = folder.join(WEIGHTS);
    if baseline::is_baseline(&model.architecture) {
        let Model {
            architecture,
            params,
            catalog,
            ..
        } = &model;
        let file = TensorFile::read("the model", &weights)?;
        let baseline = baseline::read(architecture, params, &file, catalog.len())?;
        on_threads(request.threads, || {
            write(predict, request, catalog, |rows| {
                let items = catalog.len();
                rank_block(&*baseline, lists, request.cancel, &sequences, items, rows)
            })
        })
    } else {
        let ranked = worker::predict(
            predict, request, lists, settings, &model, &weights, &sequences,
        )?;
        write(predict, request, &model.catalog, |rows| {
            Ok(rows.map(|row| ranked.row(row)).collect())
        })
    }
}

/// Key columns are carried over; items and scores come from the sequence and, by way of the model, from elsewhere.
pub(crate) fn flows(key: &[String], sequence: &str) -> Flows {
    let from = |column: &str| {
        BTreeSet::from([Origin {
            input: INPUT.to_owned(),
            column: column.to_owned(),
        }])
    };
    let key = key.iter().map(|column| (column.clone(), from(column)));
    let ranked = [ITEMS, SCORES].map(|column| (column.to_owned(), from(sequence)));
    Flows {
        columns: key.chain(ranked).collect(),
        rows: BTreeSet::new(),
    }
}

/// Refuses a key with the name of one of the `columns` that predictions have.
pub(crate) fn refuse_clashes(key: &[String], columns: &[&str]) -> Result<(), Failure> {
    let clash = key.iter().find(|name| columns.contains(&name.as_str()));
    match clash {
        None => Ok(()),
        Some(column) => Err(Failure::Invalid(
            Diagnostic::error(
                "model::key-name",
                format!("the key column `{column}` has the name of a column of predictions"),
            )
            .help(format!(
                "rename `{column}` in the query that makes the input"
            )),
        )),
    }
}

/// Ranks a block of rows, on the threads of the current pool.
fn rank_block(
    baseline: &dyn Baseline,
    lists: Lists<'_>,
    cancel: &Cancel,
    sequences: &Sequences,
    items: usize,
    rows: Range<usize>,
) -> Result<Vec<Ranked>, Failure> {
    let ranked = rows.into_par_iter().map_init(
        || (vec![0.0; items], Vec::new()),
        |(scores, spare), row| {
            stop_if_cancelled(cancel)?;
            let sequence = sequences.get(row);
            baseline.score(sequence, scores);
            let seen = if lists.exclude_seen { sequence } else { &[] };
            let best = best(scores, seen, lists.k, spare);
            Ok(best
                .into_iter()
                .map(|(item, score)| (item, score as f32))
                .collect())
        },
    );
    ranked.collect()
}

/// Writes the output table: key columns, items, scores. `rank` ranks a range of
/// rows, from 0.
fn write(
    predict: &Predict,
    request: &Request<'_>,
    catalog: &Catalog,
    rank: impl Fn(Range<usize>) -> Result<Vec<Ranked>, Failure>,
) -> Result<Output, Failure> {
    let key: Vec<_> = predict.key.iter().map(String::as_str).collect();
    let reader = open(INPUT, request.input(INPUT), &key)?;
    let mut fields: Vec<Field> = reader
        .schema()
        .fields()
        .iter()
        .map(|field| (**field).clone())
        .collect();
    let item = |data_type| DataType::new_list(data_type, true);
    let item_type = catalog.item_type().data_type();
    fields.push(Field::new(ITEMS, item(item_type), true));
    fields.push(Field::new(SCORES, item(DataType::Float32), true));
    let schema = Arc::new(Schema::new(fields));
    let mut writer = TableWriter::create(&request.output.join(FILE_NAME), &schema)?;
    let mut from = 0;
    for block in reader {
        stop_if_cancelled(request.cancel)?;
        let block = block?;
        let rows = from..from + block.num_rows();
        from = rows.end;
        let ranked = rank(rows)?;
        let mut columns = block.columns().to_vec();
        columns.extend(list_columns(catalog, &ranked));
        let batch = RecordBatch::try_new(schema.clone(), columns)
            .expect("the schema is made of these columns");
        writer.write(&batch)?;
        (request.progress)(Progress::Rows { rows: from as u64 });
    }
    Ok(Output {
        table: Some(writer.finish(&predict.key)?),
        ..Output::default()
    })
}

fn list_columns(catalog: &Catalog, ranked: &[Ranked]) -> [ArrayRef; 2] {
    let offsets = OffsetBuffer::from_lengths(ranked.iter().map(Vec::len));
    let items = catalog.items_at(ranked.iter().flatten().map(|(item, _)| *item));
    let scores: Float32Array = ranked
        .iter()
        .flatten()
        .map(|(_, score)| Some(*score))
        .collect();
    let list = |values: ArrayRef| -> ArrayRef {
        let field = Field::new_list_field(values.data_type().clone(), true);
        Arc::new(ListArray::new(field.into(), offsets.clone(), values, None))
    };
    [list(items), list(Arc::new(scores))]
}
