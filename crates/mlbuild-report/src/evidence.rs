//! Reads truth, catalog and predictions, and joins them: what there is to measure.
//!
//! Predictions are read batch by batch and kept only as the ranks at which relevant items stand, so memory grows with
//! the rows of `truth`, not with the length of the lists. Everything that would make a figure mean something else
//! than its definition (a row twice, a list too short, an item twice in a list) is an error here.

use std::collections::BTreeMap;

use mlbuild_action::{
    Cancel, Diagnostic, Evaluate, Failure, InputFolder, MetricName, Request, Schema, Table,
};

use crate::ITEMS;
use crate::keys::{ItemId, Items, Keys, NotAKey};
use crate::lists::ListReader;
use crate::metrics::Hits;
use crate::table::{Batch, Kind, Scalars, Source};

/// What there is to measure.
pub(crate) struct Evidence {
    /// The inputs, as far as they were read: `truth`, `catalog`, then the predictions in the models' order.
    pub inputs: Vec<InputRead>,
    /// The relevant item of each row of truth.
    pub relevant: Vec<ItemId>,
    /// The histories, if truth has them.
    pub history: Option<History>,
    /// Number of items in the catalog, if it was needed.
    pub catalog_items: Option<u64>,
    /// What each model predicted, in the order of [`Evaluate::models`].
    pub predictions: Vec<Predictions>,
}

/// An input, and the columns read from it.
pub(crate) struct InputRead {
    pub name: String,
    pub rows: u64,
    /// The columns read, with their digests. The other columns may change without the report changing, so it cannot
    /// speak of them. Empty if the engine said nothing about the table.
    pub columns: Vec<mlbuild_action::Column>,
}

/// The histories of the rows of truth.
pub(crate) struct History {
    /// Number of entries of each row's history.
    pub lengths: Vec<u64>,
    /// How often each item occurs in all histories; items beyond the end do not.
    pub occurrences: Vec<u64>,
}

/// What one model predicted.
pub(crate) struct Predictions {
    /// Per row of truth: the ranks of its relevant items, from 1, rising, up to the largest k.
    pub ranks: Vec<Vec<u32>>,
    /// Number of distinct items in the first k of all lists, by k, for each k of a coverage metric.
    pub covered: BTreeMap<u32, u64>,
}

impl Predictions {
    /// Where the relevant items of row `row` stand.
    pub(crate) fn hits(&self, row: usize) -> Hits<'_> {
        Hits {
            ranks: &self.ranks[row],
            relevant: 1,
        }
    }
}

/// Reads all inputs of `work`.
pub(crate) fn read(work: &Evaluate, request: &Request<'_>) -> Result<Evidence, Failure> {
    let mut reader = Reader {
        work,
        cancel: request.cancel,
        items: Items::default(),
        kind: Kind::Int,
        keys: Keys::new(&work.key),
        key_kinds: Vec::new(),
        relevant: Vec::new(),
        catalog_items: None,
        inputs: Vec::new(),
    };
    let history = {
        let truth = Source::open("truth", request.input("truth"))?;
        reader.kind = truth.scalar_kind(&work.label)?;
        // The catalog goes first, so that the items in it have the numbers below its size.
        reader.read_catalog(request.inputs.get("catalog"))?;
        reader.read_truth(truth)?
    };
    let mut predictions = Vec::new();
    for model in &work.models {
        let name = format!("predictions.{model}");
        predictions.push(reader.read_predictions(&name, request.input(&name))?);
    }
    let Reader {
        mut inputs,
        relevant,
        catalog_items,
        ..
    } = reader;
    // Truth first: it is what the reader of a report looks for.
    if catalog_items.is_some() {
        inputs.swap(0, 1);
    }
    Ok(Evidence {
        inputs,
        relevant,
        history,
        catalog_items,
        predictions,
    })
}

struct Reader<'a> {
    work: &'a Evaluate,
    cancel: &'a Cancel,
    items: Items,
    kind: Kind,
    keys: Keys,
    key_kinds: Vec<Kind>,
    relevant: Vec<ItemId>,
    catalog_items: Option<u64>,
    inputs: Vec<InputRead>,
}

impl Reader<'_> {
    fn read_catalog(&mut self, folder: Option<&InputFolder>) -> Result<(), Failure> {
        let Some(metric) = self
            .work
            .metrics
            .iter()
            .find(|m| m.name == MetricName::Coverage)
        else {
            return Ok(());
        };
        let Some(folder) = folder else {
            return Err(invalid(
                "report::no-catalog",
                format!("`{metric}` needs a catalog"),
                |d| {
                    d.help("name the table that lists all items, one row each: `catalog = \"data:items\"`")
                },
            ));
        };
        let source = Source::open("catalog", folder)?;
        let table = folder.table.as_ref().map(Table::schema);
        let column = table.as_ref().and_then(Schema::item_column);
        let column = column.unwrap_or("item_id");
        self.same_kind("catalog", column, source.scalar_kind(column)?)?;
        self.note(&source, &[column]);
        let mut batches = source.read(&[column], self.cancel)?;
        let mut rows = 0;
        while let Some(batch) = batches.next()? {
            let values = batch.scalars(column)?;
            for row in 0..values.len() {
                let item = values.get(row).ok_or_else(|| null("catalog", column))?;
                self.items.intern(item);
                rows += 1;
                if self.items.len() != rows {
                    return Err(invalid(
                        "report::duplicate-item",
                        format!("item {item} stands twice in column `{column}` of `catalog`"),
                        |d| d.help("a catalog has one row an item"),
                    ));
                }
            }
        }
        self.catalog_items = Some(rows as u64);
        Ok(())
    }

    fn read_truth(&mut self, source: Source<'_>) -> Result<Option<History>, Failure> {
        let Evaluate {
            label,
            key,
            sequence,
            ..
        } = self.work;
        for column in key {
            self.key_kinds.push(source.scalar_kind(column)?);
        }
        let has_history = source.columns().any(|name| name == sequence);
        if has_history {
            let kind = source.list_kind(sequence)?;
            self.same_kind("truth", sequence, kind)?;
        }
        let mut columns: Vec<&str> = key.iter().map(String::as_str).collect();
        columns.push(label);
        columns.extend(has_history.then_some(sequence.as_str()));
        self.note(&source, &columns);
        let mut history = History {
            lengths: Vec::new(),
            occurrences: Vec::new(),
        };
        let mut batches = source.read(&columns, self.cancel)?;
        while let Some(batch) = batches.next()? {
            self.take_truth(&batch)?;
            if has_history {
                self.take_history(&batch, &mut history)?;
            }
        }
        if self.relevant.is_empty() {
            return Err(invalid(
                "report::no-rows",
                "`truth` has no rows to measure on".to_owned(),
                |d| d,
            ));
        }
        Ok(has_history.then_some(history))
    }

    fn take_truth(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let keys = key_columns(batch, &self.work.key)?;
        let labels = batch.scalars(&self.work.label)?;
        for row in 0..batch.rows() {
            self.keys
                .insert(&keys, row, self.relevant.len())
                .map_err(|problem| {
                    let key = self.keys.display(&keys, row);
                    match problem {
                        NotAKey::Null => {
                            invalid("report::null", "a key of `truth` is null".to_owned(), |d| {
                                d.detail([key])
                            })
                        }
                        NotAKey::Taken => invalid(
                            "report::duplicate-key",
                            "a key of `truth` stands twice".to_owned(),
                            |d| {
                                d.detail([key])
                                    .help("every row of `truth` needs a key of its own")
                            },
                        ),
                    }
                })?;
            let item = labels
                .get(row)
                .ok_or_else(|| null("truth", &self.work.label))?;
            let item = self.items.intern(item);
            self.relevant.push(item);
        }
        Ok(())
    }

    fn take_history(&mut self, batch: &Batch<'_>, history: &mut History) -> Result<(), Failure> {
        let lists = batch.lists(&self.work.sequence)?;
        for row in 0..batch.rows() {
            let mut length = 0;
            for item in lists.get(row).into_iter().flatten().flatten() {
                let item = self.items.intern(item) as usize;
                if history.occurrences.len() <= item {
                    history.occurrences.resize(item + 1, 0);
                }
                history.occurrences[item] += 1;
                length += 1;
            }
            history.lengths.push(length);
        }
        Ok(())
    }

    fn read_predictions(
        &mut self,
        name: &str,
        folder: &InputFolder,
    ) -> Result<Predictions, Failure> {
        let source = Source::open(name, folder)?;
        for (column, expected) in self.work.key.iter().zip(&self.key_kinds) {
            let kind = source.scalar_kind(column)?;
            if kind != *expected {
                return Err(mismatch(
                    name,
                    column,
                    kind,
                    &format!("`{column}` of `truth`"),
                    *expected,
                ));
            }
        }
        self.same_kind(name, ITEMS, source.list_kind(ITEMS)?)?;
        let mut columns: Vec<&str> = self.work.key.iter().map(String::as_str).collect();
        columns.push(ITEMS);
        self.note(&source, &columns);
        let mut batches = source.read(&columns, self.cancel)?;
        let mut lists = ListReader::new(
            name,
            self.work,
            &self.keys,
            &self.relevant,
            self.catalog_items,
            &mut self.items,
        );
        while let Some(batch) = batches.next()? {
            lists.take(&batch)?;
        }
        lists.finish()
    }

    fn same_kind(&self, input: &str, column: &str, kind: Kind) -> Result<(), Failure> {
        if kind == self.kind {
            return Ok(());
        }
        let label = format!("`{}` of `truth`", self.work.label);
        Err(mismatch(input, column, kind, &label, self.kind))
    }

    fn note(&mut self, source: &Source<'_>, read: &[&str]) {
        let table = source.folder().table.as_ref();
        let columns = table.map_or(&[][..], |table| &table.columns);
        self.inputs.push(InputRead {
            name: source.name().to_owned(),
            rows: source.rows(),
            columns: columns
                .iter()
                .filter(|column| read.contains(&column.name.as_str()))
                .cloned()
                .collect(),
        });
    }
}

/// The key columns of a batch, in the order of the key.
pub(crate) fn key_columns(batch: &Batch<'_>, key: &[String]) -> Result<Vec<Scalars>, Failure> {
    key.iter().map(|column| batch.scalars(column)).collect()
}

/// The user's mistake `code`, completed by `rest`.
pub(crate) fn invalid(
    code: &'static str,
    message: String,
    rest: impl FnOnce(Diagnostic) -> Diagnostic,
) -> Failure {
    Failure::Invalid(rest(Diagnostic::error(code, message)))
}

/// A null where a value must stand.
pub(crate) fn null(input: &str, column: &str) -> Failure {
    invalid(
        "report::null",
        format!("column `{column}` of `{input}` holds a null"),
        |d| d,
    )
}

fn mismatch(input: &str, column: &str, kind: Kind, other: &str, expected: Kind) -> Failure {
    invalid(
        "report::type-mismatch",
        format!(
            "`{column}` of `{input}` holds {}, but {other} holds {}",
            kind.as_str(),
            expected.as_str()
        ),
        |d| d.help("both must hold integers, or both text; cast one in its query"),
    )
}
