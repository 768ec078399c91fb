//! Reads truth, catalog, training and predictions, and joins them: what there is to measure.
//!
//! Tables are read batch by batch, and of each only what the metrics need is kept, by row of truth. Everything that would
//! make a figure mean something else than its definition (a row twice, a list too short, an item twice in a list) is an
//! error here.

use std::collections::BTreeMap;

use mlbuild_action::{
    Cancel, ClassMetric, Diagnostic, Evaluate, Failure, Metric, NumberMetric, Request, Schema,
    Slicing, Table,
};

use crate::ITEMS;
use crate::classes::{
    self, Answers, CLASSES, ClassPredictions, ClassTruth, Decisions, PREDICTION, RawClasses, SCORES,
};
use crate::items::{ItemFacts, needs_catalog, needs_occurrences, needs_query};
use crate::keys::{ItemId, Items, Keys, NO_ITEM};
use crate::lists::{ListTruth, RankedLists, Relevant};
use crate::metrics::{Hits, Task};
use crate::numbers::{self, Numbers, finite};
use crate::parts::{Offenders, Reading};
use crate::stability::What;
use crate::table::{Batch, Kind, Scalars, Source};
use crate::words::plural;

/// What there is to measure.
pub(crate) struct Evidence {
    /// The inputs, as far as they were read: `truth` first.
    pub inputs: Vec<InputRead>,
    /// Number of rows of truth.
    pub rows: usize,
    /// What came true.
    pub truth: Truth,
    /// The histories, if truth has them.
    pub history: Option<History>,
    /// What is known of the items.
    pub facts: ItemFacts,
    /// Whether `facts` holds how often items occur in training: else what it holds was counted in the histories.
    pub has_training: bool,
    /// The values by which rows are parted, one column a declared slicing.
    pub slicings: Vec<SliceValues>,
    /// What each model predicted, in the order of [`Evaluate::models`].
    pub models: Vec<Predicted>,
    /// What predictions for changed inputs say, in the order of [`Evaluate::stability`].
    pub stability: Vec<Vec<f64>>,
}

/// What came true.
pub(crate) enum Truth {
    /// The relevant items.
    Items(Relevant),
    /// The class, or the labels.
    Classes(ClassTruth),
    /// The number.
    Numbers(Vec<f64>),
}

/// What a model predicted: of the same kind as the truth.
pub(crate) enum Predicted {
    /// Ranked lists.
    Lists(RankedLists),
    /// Classes or labels.
    Classes(ClassPredictions),
    /// Numbers.
    Numbers(Vec<f64>),
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
    /// The last item of each, [`NO_ITEM`] if there is none.
    pub last: Vec<ItemId>,
}

/// A column of truth by which rows are parted.
pub(crate) enum SliceValues {
    /// Numbers, to be parted by bounds; `None` is null.
    Numbers(Vec<Option<f64>>),
    /// Values as text, each once, and which one each row has; `None` is null.
    Values(Vec<String>, Vec<Option<u32>>),
}

impl Evidence {
    /// Where the relevant items of a row stand in a model's list; `None` if the report is not of lists.
    pub(crate) fn hits(&self, model: usize, row: usize) -> Option<Hits<'_>> {
        match (&self.truth, &self.models[model]) {
            (Truth::Items(relevant), Predicted::Lists(lists)) => Some(lists.hits(row, relevant)),
            _ => None,
        }
    }

    /// A model's classes against the truth; `None` if the report is not of classes or labels.
    pub(crate) fn decisions(&self, model: usize) -> Option<Decisions<'_>> {
        match (&self.truth, &self.models[model]) {
            (Truth::Classes(truth), Predicted::Classes(model)) => Some(Decisions { truth, model }),
            _ => None,
        }
    }

    /// A model's numbers against the truth; `None` if the report is not of numbers.
    pub(crate) fn numbers(&self, model: usize) -> Option<Numbers<'_>> {
        match (&self.truth, &self.models[model]) {
            (Truth::Numbers(truth), Predicted::Numbers(model)) => Some(Numbers { truth, model }),
            _ => None,
        }
    }
}

/// Reads all inputs of `work`.
pub(crate) fn read(
    work: &Evaluate,
    task: Task,
    request: &Request<'_>,
) -> Result<Evidence, Failure> {
    let mut reader = Reader {
        work,
        task,
        request,
        cancel: request.cancel,
        items: Items::default(),
        kind: Kind::Int,
        keys: Keys::new(&work.key),
        key_kinds: Vec::new(),
        facts: ItemFacts::default(),
        inputs: Vec::new(),
    };
    let truth_source = Source::open("truth", request.input("truth"))?;
    reader.kind = reader.label_kind(&truth_source)?;
    if task == Task::Ranking {
        // The catalog goes first, so that the items in it have the numbers below its size.
        reader.read_catalog()?;
    }
    let catalog_inputs = reader.inputs.len();
    let ReadTruth {
        truth,
        history,
        slicings,
    } = reader.read_truth(&truth_source)?;
    // Truth first: it is what the reader of a report looks for.
    reader.inputs[..].rotate_right(usize::from(catalog_inputs > 0));
    let has_training = task == Task::Ranking && reader.read_training()?;
    if task == Task::Ranking && !has_training {
        reader.count_histories(history.as_ref())?;
    }
    reader.leaks()?;
    let (truth, models) = reader.read_models(truth, history.as_ref())?;
    let stability = reader.read_stability(&truth)?;
    Ok(Evidence {
        inputs: reader.inputs,
        rows: reader.keys.rows(),
        truth,
        history,
        facts: reader.facts,
        has_training,
        slicings,
        models,
        stability,
    })
}

/// What [`Reader::read_truth`] found.
struct ReadTruth {
    truth: RawTruth,
    history: Option<History>,
    slicings: Vec<SliceValues>,
}

/// What came true, with classes by the number that they were first seen with.
enum RawTruth {
    Items(Relevant),
    Classes(Vec<ItemId>),
    Labels(Vec<bool>),
    Numbers(Vec<f64>),
}

pub(crate) struct Reader<'a> {
    pub work: &'a Evaluate,
    pub task: Task,
    request: &'a Request<'a>,
    cancel: &'a Cancel,
    /// Items of lists, or classes.
    pub items: Items,
    /// What items or classes are.
    kind: Kind,
    pub keys: Keys,
    key_kinds: Vec<Kind>,
    facts: ItemFacts,
    inputs: Vec<InputRead>,
}

impl<'a> Reader<'a> {
    fn ranked(&self) -> impl Iterator<Item = (Metric, mlbuild_action::RankedMetric)> + '_ {
        self.work.metrics.iter().filter_map(|metric| match metric {
            Metric::Ranked { name, .. } => Some((*metric, *name)),
            _ => None,
        })
    }

    fn label(&self) -> &'a str {
        &self.work.labels[0]
    }

    fn label_kind(&self, truth: &Source<'_>) -> Result<Kind, Failure> {
        let label = self.label();
        match self.task {
            Task::Ranking if truth.is_list(label)? => truth.list_kind(label),
            Task::Ranking | Task::Classes => truth.scalar_kind(label),
            Task::Labels => {
                for label in &self.work.labels {
                    truth.must_be_boolean(label)?;
                }
                // What predictions call the labels by.
                Ok(Kind::Text)
            }
            Task::Numbers => truth.must_be_numeric(label).map(|()| Kind::Int),
        }
    }

    fn read_catalog(&mut self) -> Result<(), Failure> {
        let Some((metric, _)) = self.ranked().find(|(_, name)| needs_catalog(*name)) else {
            return Ok(());
        };
        let Some(folder) = self.request.inputs.get("catalog") else {
            let message = format!("`{metric}` needs a catalog");
            return Err(invalid("report::no-catalog", message, |d| {
                d.help(
                    "name the table that lists all items, one row each: `catalog = \"data:items\"`",
                )
            }));
        };
        let source = Source::open("catalog", folder)?;
        let table = folder.table.as_ref().map(Table::schema);
        let item = table.as_ref().and_then(Schema::item_column);
        let item = item.unwrap_or("item_id");
        self.same_kind("catalog", item, source.scalar_kind(item)?)?;
        let columns = &self.work.catalog;
        let mut read = vec![item];
        if let Some(column) = &columns.category {
            source.must_be_single(column)?;
            read.push(column);
        }
        if let Some(column) = &columns.price {
            source.must_be_numeric(column)?;
            read.push(column);
        }
        if let Some(column) = &columns.vector {
            source.must_be_numeric_lists(column)?;
            read.push(column);
        }
        self.note(&source, &read);
        let mut categories = Items::default();
        let mut rows = 0;
        let mut batches = source.read(&read, self.cancel)?;
        while let Some(batch) = batches.next()? {
            self.take_catalog_items(&batch, item, &mut rows)?;
            if let Some(column) = &columns.category {
                let texts = batch.texts(column)?;
                for category in texts.iter() {
                    let category = category.ok_or_else(|| null("catalog", column))?;
                    let scalar = crate::table::Scalar::Text(category);
                    self.facts.category.push(categories.intern(scalar));
                }
            }
            if let Some(column) = &columns.price {
                self.take_prices(&batch, column)?;
            }
            if let Some(column) = &columns.vector {
                self.take_vectors(&batch, column)?;
            }
        }
        self.facts.catalog = Some(rows as u64);
        Ok(())
    }

    fn take_catalog_items(
        &mut self,
        batch: &Batch<'_>,
        column: &str,
        rows: &mut usize,
    ) -> Result<(), Failure> {
        let values = batch.scalars(column)?;
        for row in 0..values.len() {
            let item = values.get(row).ok_or_else(|| null("catalog", column))?;
            self.items.intern(item);
            *rows += 1;
            if self.items.len() != *rows {
                return Err(invalid(
                    "report::duplicate-item",
                    format!("item {item} stands twice in column `{column}` of `catalog`"),
                    |d| d.help("a catalog has one row an item"),
                ));
            }
        }
        Ok(())
    }

    fn take_prices(&mut self, batch: &Batch<'_>, column: &str) -> Result<(), Failure> {
        for price in batch.numbers(column)?.iter() {
            let price = price.ok_or_else(|| null("catalog", column))?;
            if !(price > 0.0 && price.is_finite()) {
                let message =
                    format!("price {price} in column `{column}` of `catalog` is not above 0");
                return Err(invalid("report::bad-price", message, |d| {
                    d.help("prices are compared by their ratio")
                }));
            }
            self.facts.price.push(price);
        }
        Ok(())
    }

    fn take_vectors(&mut self, batch: &Batch<'_>, column: &str) -> Result<(), Failure> {
        let lists = batch.number_lists(column)?;
        for row in 0..batch.rows() {
            let range = lists.range(row).ok_or_else(|| null("catalog", column))?;
            if self.facts.dimensions == 0 {
                self.facts.dimensions = range.len();
            }
            let numbers = &lists.values.values()[range];
            let length = numbers.iter().map(|it| it * it).sum::<f64>().sqrt();
            if numbers.len() != self.facts.dimensions || !(length > 0.0 && length.is_finite()) {
                let message =
                    format!("a vector in column `{column}` of `catalog` has no direction");
                return Err(invalid("report::bad-vector", message, |d| {
                    d.help("all vectors have as many numbers, all finite, and not all of them 0")
                }));
            }
            let direction = numbers.iter().map(|it| (it / length) as f32);
            self.facts.vector.extend(direction);
        }
        Ok(())
    }

    fn read_truth(&mut self, source: &Source<'_>) -> Result<ReadTruth, Failure> {
        let Evaluate {
            labels,
            key,
            sequence,
            slices,
            ..
        } = self.work;
        for column in key {
            self.key_kinds.push(source.scalar_kind(column)?);
        }
        let has_history = self.task == Task::Ranking && source.has(sequence);
        if has_history {
            let kind = source.list_kind(sequence)?;
            self.same_kind("truth", sequence, kind)?;
        }
        let mut columns: Vec<&str> = key.iter().chain(labels).map(String::as_str).collect();
        columns.extend(has_history.then_some(sequence.as_str()));
        for Slicing { column, bins } in slices {
            if bins.is_empty() {
                source.must_be_single(column)?;
            } else {
                source.must_be_numeric(column)?;
            }
            columns.push(column);
        }
        columns.sort_unstable();
        columns.dedup();
        self.note(source, &columns);
        let mut found = TruthRows::new(self.task, slices, source.is_list(self.label())?);
        let mut batches = source.read(&columns, self.cancel)?;
        while let Some(batch) = batches.next()? {
            self.take_keys(&batch)?;
            self.take_truth(&batch, &mut found)?;
            if has_history {
                self.take_history(&batch, &mut found.history)?;
            }
        }
        if self.keys.rows() == 0 {
            let message = "`truth` has no rows to measure on".to_owned();
            return Err(invalid("report::no-rows", message, |d| d));
        }
        if let Some(row) = self.keys.duplicate() {
            let message = "a key of `truth` stands twice".to_owned();
            return Err(invalid("report::duplicate-key", message, |d| {
                d.detail([self.keys.display(row)])
                    .help("every row of `truth` needs a key of its own")
            }));
        }
        Ok(ReadTruth {
            truth: found.truth,
            history: has_history.then_some(found.history),
            slicings: found
                .slicings
                .into_iter()
                .map(SliceColumn::finish)
                .collect(),
        })
    }

    fn take_keys(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let keys = key_columns(batch, &self.work.key)?;
        self.keys.extend(&keys, batch.rows()).map_err(|row| {
            let key = self.keys.display_other(&keys, row);
            invalid("report::null", "a key of `truth` is null".to_owned(), |d| {
                d.detail([key])
            })
        })
    }

    fn take_truth(&mut self, batch: &Batch<'_>, found: &mut TruthRows<'_>) -> Result<(), Failure> {
        let label = self.label();
        let is_null = || null("truth", label);
        match &mut found.truth {
            RawTruth::Items(relevant) if found.of_lists => {
                let lists = batch.lists(label)?;
                for row in 0..batch.rows() {
                    let start = relevant.items.len();
                    for item in lists.get(row).ok_or_else(is_null)? {
                        let item = self.items.intern(item.ok_or_else(is_null)?);
                        if !relevant.items[start..].contains(&item) {
                            relevant.items.push(item);
                        }
                    }
                    if relevant.items.len() == start {
                        let row = relevant.ends.len();
                        let message = format!("a list in column `{label}` of `truth` is empty");
                        return Err(invalid("report::no-relevant-item", message, |d| {
                            d.detail([self.keys.display(row)]).help(
                                "a row without a relevant item cannot be judged: leave it out",
                            )
                        }));
                    }
                    relevant.ends.push(relevant.items.len() as u32);
                }
            }
            RawTruth::Items(relevant) => {
                let values = batch.scalars(label)?;
                for row in 0..batch.rows() {
                    let item = values.get(row).ok_or_else(is_null)?;
                    relevant.items.push(self.items.intern(item));
                    relevant.ends.push(relevant.items.len() as u32);
                }
            }
            RawTruth::Classes(classes) => {
                let values = batch.scalars(label)?;
                for row in 0..batch.rows() {
                    let class = values.get(row).ok_or_else(is_null)?;
                    classes.push(self.items.intern(class));
                }
            }
            RawTruth::Labels(flags) => {
                let columns = key_columns(batch, &self.work.labels)?;
                for row in 0..batch.rows() {
                    for (column, name) in columns.iter().zip(&self.work.labels) {
                        match column.get(row) {
                            Some(crate::table::Scalar::Bool(flag)) => flags.push(flag),
                            _ => return Err(null("truth", name)),
                        }
                    }
                }
            }
            RawTruth::Numbers(numbers) => {
                for value in batch.numbers(label)?.iter() {
                    numbers.push(finite(value.ok_or_else(is_null)?, "truth", label)?);
                }
                let is_relative =
                    |metric: &&Metric| **metric == Metric::Numbers(NumberMetric::Mape);
                if self.work.metrics.iter().any(|metric| is_relative(&metric))
                    && let Some(row) = numbers.iter().position(|number| *number == 0.0)
                {
                    let message = format!("`mape` has no meaning where `{label}` of `truth` is 0");
                    return Err(invalid("report::zero-truth", message, |d| {
                        d.detail([self.keys.display(row)])
                            .help("measure `mae`, or leave such rows out of `truth`")
                    }));
                }
            }
        }
        for column in &mut found.slicings {
            column.take(batch)?;
        }
        Ok(())
    }

    fn take_history(&mut self, batch: &Batch<'_>, history: &mut History) -> Result<(), Failure> {
        let lists = batch.lists(&self.work.sequence)?;
        for row in 0..batch.rows() {
            let (mut length, mut last) = (0, NO_ITEM);
            for item in lists.get(row).into_iter().flatten().flatten() {
                last = self.items.intern(item);
                count(&mut history.occurrences, last);
                length += 1;
            }
            history.lengths.push(length);
            history.last.push(last);
        }
        Ok(())
    }

    /// Counts the items of the table that was trained on; false if there is none.
    fn read_training(&mut self) -> Result<bool, Failure> {
        let Some(folder) = self.request.inputs.get("training") else {
            return Ok(false);
        };
        let source = Source::open("training", folder)?;
        let sequence = self.work.sequence.as_str();
        self.same_kind("training", sequence, source.list_kind(sequence)?)?;
        self.note(&source, &[sequence]);
        let mut batches = source.read(&[sequence], self.cancel)?;
        while let Some(batch) = batches.next()? {
            let lists = batch.lists(sequence)?;
            for row in 0..batch.rows() {
                for item in lists.get(row).into_iter().flatten().flatten() {
                    let item = self.items.intern(item);
                    count(&mut self.facts.occurrences, item);
                    self.facts.occurrences_total += 1;
                }
            }
        }
        Ok(true)
    }

    fn count_histories(&mut self, history: Option<&History>) -> Result<(), Failure> {
        let Some((metric, _)) = self.ranked().find(|(_, name)| needs_occurrences(*name)) else {
            return Ok(());
        };
        let Some(history) = history else {
            let message = format!("`{metric}` needs to know how often items occur");
            return Err(invalid("report::no-training", message, |d| {
                d.help("name the table that was trained on: `training = \"features:train\"`")
            }));
        };
        self.facts.occurrences.clone_from(&history.occurrences);
        self.facts.occurrences_total = history.occurrences.iter().sum();
        Ok(())
    }

    /// Complains about rows of truth whose key a model was fitted on.
    fn leaks(&mut self) -> Result<(), Failure> {
        for (name, folder) in self.request.inputs.range("trained.".to_owned()..) {
            let Some(model) = name.strip_prefix("trained.") else {
                break;
            };
            let source = Source::open(name, folder)?;
            if self.work.key.iter().any(|column| !source.has(column)) {
                continue;
            }
            for (column, expected) in self.work.key.iter().zip(&self.key_kinds) {
                if source.scalar_kind(column)? != *expected {
                    return Ok(());
                }
            }
            let columns: Vec<_> = self.work.key.iter().map(String::as_str).collect();
            self.note(&source, &columns);
            let mut leaked = Offenders::default();
            let mut seen = vec![false; self.keys.rows()];
            let mut batches = source.read(&columns, self.cancel)?;
            while let Some(batch) = batches.next()? {
                let keys = key_columns(&batch, &self.work.key)?;
                for index in 0..batch.rows() {
                    if let Some(row) = self.keys.find(&keys, index, usize::MAX)
                        && !std::mem::replace(&mut seen[row], true)
                    {
                        leaked.add(|| self.keys.display(row));
                    }
                }
            }
            if leaked.count > 0 {
                let rows = plural(self.keys.rows() as u64, "row");
                let message = format!(
                    "{} of {rows} of `truth` have a key that `{model}` was trained on",
                    leaked.count
                );
                return Err(invalid("report::leak", message, |d| {
                    d.detail(leaked.examples)
                        .help("a model that has seen the answers is not measured: split the rows before training")
                }));
            }
        }
        Ok(())
    }

    fn read_models(
        &mut self,
        truth: RawTruth,
        history: Option<&History>,
    ) -> Result<(Truth, Vec<Predicted>), Failure> {
        let rows = self.keys.rows();
        let names: Vec<_> = (self.work.models.iter())
            .map(|model| format!("predictions.{model}"))
            .collect();
        match truth {
            RawTruth::Items(relevant) => {
                let asks = self.ranked().any(|(_, name)| needs_query(name));
                let query = history
                    .filter(|_| asks)
                    .map_or(&[][..], |history| &history.last);
                if let Some((metric, _)) = self.ranked().find(|(_, name)| needs_query(*name))
                    && history.is_none()
                {
                    let (sequence, metric) = (&self.work.sequence, metric.to_string());
                    let message = format!(
                        "`{metric}` needs the histories, and `truth` has no column `{sequence}`"
                    );
                    return Err(invalid("report::no-history", message, |d| d));
                }
                let mut models = Vec::new();
                for name in &names {
                    let lists = self.read_lists(name, &relevant, query)?;
                    models.push(Predicted::Lists(lists));
                }
                Ok((Truth::Items(relevant), models))
            }
            RawTruth::Numbers(truth) => {
                let mut models = Vec::new();
                for name in &names {
                    let read = |reading: &Reading<'_>| numbers::read(reading, rows);
                    let numbers = self.reading(name, &[PREDICTION], read)?;
                    self.note_predictions(name, &[PREDICTION])?;
                    models.push(Predicted::Numbers(numbers));
                }
                Ok((Truth::Numbers(truth), models))
            }
            RawTruth::Classes(_) | RawTruth::Labels(_) => self.read_classes(truth, &names),
        }
    }

    fn read_lists(
        &mut self,
        name: &str,
        relevant: &Relevant,
        query: &[ItemId],
    ) -> Result<RankedLists, Failure> {
        let kind = Source::open(name, self.request.input(name))?.list_kind(ITEMS)?;
        self.same_kind(name, ITEMS, kind)?;
        let truth = ListTruth {
            metrics: &self.work.metrics,
            relevant,
            query,
            items: &self.items,
            facts: &self.facts,
        };
        let lists = self.reading(name, &[ITEMS], |reading| {
            crate::lists::read(reading, &truth)
        })?;
        self.note_predictions(name, &[ITEMS])?;
        Ok(lists)
    }

    fn read_classes(
        &mut self,
        truth: RawTruth,
        names: &[String],
    ) -> Result<(Truth, Vec<Predicted>), Failure> {
        let of_labels = self.task == Task::Labels;
        let metrics: Vec<ClassMetric> = self
            .work
            .metrics
            .iter()
            .filter_map(|metric| match metric {
                Metric::Classes(metric) => Some(*metric),
                _ => None,
            })
            .collect();
        let with_scores = metrics.iter().any(|metric| classes::needs_scores(*metric));
        let columns: &[&str] = if with_scores {
            &[PREDICTION, CLASSES, SCORES]
        } else {
            &[PREDICTION]
        };
        let mut known = std::mem::take(&mut self.items);
        let rows = self.keys.rows();
        let mut raw: Vec<RawClasses> = Vec::new();
        for name in names {
            raw.push(self.reading(name, columns, |reading| {
                classes::read(reading, &mut known, self.kind, of_labels, with_scores, rows)
            })?);
            self.note_predictions(name, columns)?;
        }
        let (names, class_of) = if of_labels {
            classes::only_labels(&known, &self.work.labels)?;
            let mut class_of = vec![0; known.len()];
            for (scalar, id) in known.sorted() {
                let of = |label: &String| crate::table::Scalar::Text(label) == scalar;
                let class = self.work.labels.iter().position(of);
                class_of[id as usize] = class.map_or(0, |class| class as u32);
            }
            (self.work.labels.clone(), class_of)
        } else {
            classes::in_class_order(&known, self.label())?
        };
        let positive = match of_labels {
            true => None,
            false => classes::positive(self.work.positive.as_ref(), &names, &metrics)?,
        };
        self.items = known;
        let answers = match truth {
            RawTruth::Labels(flags) => Answers::Any(flags),
            RawTruth::Classes(ids) => {
                Answers::One(ids.into_iter().map(|id| class_of[id as usize]).collect())
            }
            _ => unreachable!("only truth of classes or labels comes here"),
        };
        let count = names.len();
        let models = raw
            .into_iter()
            .map(|raw| Predicted::Classes(raw.finish(&class_of, of_labels, count)));
        let models = models.collect();
        Ok((
            Truth::Classes(ClassTruth {
                names,
                answers,
                positive,
            }),
            models,
        ))
    }

    fn read_stability(&mut self, truth: &Truth) -> Result<Vec<Vec<f64>>, Failure> {
        let positive = match truth {
            Truth::Classes(truth) => truth.positive.map(|it| truth.names[it].clone()),
            _ => None,
        };
        let mut all = Vec::new();
        for compared in &self.work.stability {
            let what = What {
                metric: compared.metric,
                task: self.task,
                rows: self.keys.rows(),
                positive: positive.as_deref(),
            };
            let columns = what.columns()?;
            let mut both = Vec::new();
            for name in [&compared.baseline, &compared.perturbed] {
                both.push(self.reading(name, columns, |reading| what.read(reading))?);
                self.note_predictions(name, columns)?;
            }
            all.push(what.compare(&both[0], &both[1]));
        }
        Ok(all)
    }

    /// Opens a table of predictions, holds its key against truth's, and lets `read` read these columns of it.
    fn reading<T>(
        &self,
        name: &str,
        columns: &[&str],
        read: impl FnOnce(&Reading<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let source = Source::open(name, self.request.input(name))?;
        for (column, expected) in self.work.key.iter().zip(&self.key_kinds) {
            let kind = source.scalar_kind(column)?;
            if kind != *expected {
                let other = format!("`{column}` of `truth`");
                return Err(mismatch(name, column, kind, &other, *expected));
            }
        }
        let key = self.work.key.iter().map(String::as_str);
        let columns: Vec<&str> = key.chain(columns.iter().copied()).collect();
        read(&Reading {
            source: &source,
            columns: &columns,
            key: &self.work.key,
            keys: &self.keys,
            threads: self.request.threads,
            cancel: self.cancel,
        })
    }

    /// Notes that the key and these columns of a table of predictions were read.
    fn note_predictions(&mut self, name: &str, columns: &[&str]) -> Result<(), Failure> {
        if self.inputs.iter().any(|input| input.name == name) {
            return Ok(());
        }
        let work = self.work;
        let key = work.key.iter().map(String::as_str);
        let columns: Vec<&str> = key.chain(columns.iter().copied()).collect();
        let source = Source::open(name, self.request.input(name))?;
        self.note(&source, &columns);
        Ok(())
    }

    fn same_kind(&self, input: &str, column: &str, kind: Kind) -> Result<(), Failure> {
        if kind == self.kind {
            return Ok(());
        }
        let label = format!("`{}` of `truth`", self.label());
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

fn count(occurrences: &mut Vec<u64>, item: ItemId) {
    let item = item as usize;
    if occurrences.len() <= item {
        occurrences.resize(item + 1, 0);
    }
    occurrences[item] += 1;
}

/// What is taken of the rows of truth.
struct TruthRows<'a> {
    truth: RawTruth,
    of_lists: bool,
    history: History,
    slicings: Vec<SliceColumn<'a>>,
}

impl<'a> TruthRows<'a> {
    fn new(task: Task, slices: &'a [Slicing], of_lists: bool) -> Self {
        Self {
            truth: match task {
                Task::Ranking => RawTruth::Items(Relevant {
                    ends: Vec::new(),
                    items: Vec::new(),
                }),
                Task::Classes => RawTruth::Classes(Vec::new()),
                Task::Labels => RawTruth::Labels(Vec::new()),
                Task::Numbers => RawTruth::Numbers(Vec::new()),
            },
            of_lists,
            history: History {
                lengths: Vec::new(),
                occurrences: Vec::new(),
                last: Vec::new(),
            },
            slicings: slices.iter().map(SliceColumn::new).collect(),
        }
    }
}

/// A column by which rows are parted, as it is read.
struct SliceColumn<'a> {
    slicing: &'a Slicing,
    numbers: Vec<Option<f64>>,
    known: BTreeMap<String, u32>,
    values: Vec<Option<u32>>,
}

impl<'a> SliceColumn<'a> {
    fn new(slicing: &'a Slicing) -> Self {
        Self {
            slicing,
            numbers: Vec::new(),
            known: BTreeMap::new(),
            values: Vec::new(),
        }
    }

    fn take(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        if !self.slicing.bins.is_empty() {
            self.numbers
                .extend(batch.numbers(&self.slicing.column)?.iter());
            return Ok(());
        }
        for value in batch.texts(&self.slicing.column)?.iter() {
            let next = self.known.len() as u32;
            self.values
                .push(value.map(|value| match self.known.get(value) {
                    Some(id) => *id,
                    None => {
                        self.known.insert(value.to_owned(), next);
                        next
                    }
                }));
        }
        Ok(())
    }

    fn finish(self) -> SliceValues {
        if !self.slicing.bins.is_empty() {
            return SliceValues::Numbers(self.numbers);
        }
        let mut names = vec![String::new(); self.known.len()];
        for (name, id) in self.known {
            names[id as usize] = name;
        }
        SliceValues::Values(names, self.values)
    }
}

/// Columns of a batch, in this order.
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
