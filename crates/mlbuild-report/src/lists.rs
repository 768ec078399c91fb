//! Reads the ranked lists of one model: checks them, and keeps of them what the metrics need.
//!
//! That is the ranks at which relevant items stand, one value a row for each metric of the items themselves, and which
//! items each block of rows holds. So memory grows with the rows of truth, not with the length of the lists.

use std::collections::BTreeMap;

use mlbuild_action::{Failure, Metric, RankedMetric};

use crate::ITEMS;
use crate::evidence::{invalid, null};
use crate::items::{Counts, ItemFacts, ListRow, is_of_items};
use crate::keys::{ItemId, Items, Keys, NO_ITEM};
use crate::metrics::Hits;
use crate::parts::{Offenders, Part, Reading, in_order};
use crate::statistic::{block, blocks};
use crate::table::{Batch, Scalar};
use crate::words::plural;

/// The relevant items of all rows of truth.
pub(crate) struct Relevant {
    /// Where each row's items end in `items`.
    pub ends: Vec<u32>,
    /// The items, each once a row.
    pub items: Vec<ItemId>,
}

impl Relevant {
    /// How many rows.
    pub(crate) fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Those of one row; at least one.
    pub(crate) fn of(&self, row: usize) -> &[ItemId] {
        slice(&self.ends, &self.items, row)
    }
}

fn slice<'a>(ends: &[u32], values: &'a [u32], row: usize) -> &'a [u32] {
    let start = row.checked_sub(1).map_or(0, |before| ends[before]) as usize;
    &values[start..ends[row] as usize]
}

/// What one model recommended.
pub(crate) struct RankedLists {
    k_max: u32,
    /// Where the ranks of each row of truth end in `ranks`.
    ends: Vec<u32>,
    /// The ranks of relevant items, from 1, rising in a row, up to the largest k.
    ranks: Vec<u32>,
    /// Per metric of the items: its value on each row of truth, NaN where it does not apply.
    values: BTreeMap<Metric, Vec<f64>>,
    /// Per metric over all lists: the items of each block of rows.
    items: BTreeMap<Metric, BlockItems>,
}

impl RankedLists {
    /// Where the relevant items of row `row` stand.
    pub(crate) fn hits<'a>(&'a self, row: usize, relevant: &Relevant) -> Hits<'a> {
        Hits {
            ranks: slice(&self.ends, &self.ranks, row),
            relevant: relevant.of(row).len(),
        }
    }

    /// The largest k of a metric.
    pub(crate) fn k_max(&self) -> usize {
        self.k_max as usize
    }

    /// The values of a metric of the items, one a row.
    pub(crate) fn values(&self, metric: Metric) -> Option<&[f64]> {
        self.values.get(&metric).map(Vec::as_slice)
    }

    /// The items of each block, for a metric over all lists.
    pub(crate) fn items(&self, metric: Metric) -> Option<&BlockItems> {
        self.items.get(&metric)
    }
}

/// Which items the lists of each block of rows hold, and how often.
#[derive(Clone, Default)]
pub(crate) struct BlockItems {
    /// Where each block's items end.
    ends: Vec<usize>,
    items: Vec<(ItemId, u32)>,
}

impl BlockItems {
    fn new(blocks: usize, mut entries: Vec<(u32, ItemId, u32)>) -> Self {
        entries.sort_unstable();
        let mut made = Self::default();
        let mut entries = entries.into_iter().peekable();
        for block in 0..blocks as u32 {
            let start = made.items.len();
            while let Some((_, item, count)) = entries.next_if(|(of, ..)| *of == block) {
                match made.items[start..].last_mut() {
                    Some((last, total)) if *last == item => *total += count,
                    _ => made.items.push((item, count)),
                }
            }
            made.ends.push(made.items.len());
        }
        made
    }

    /// Those of one block.
    pub(crate) fn of(&self, block: usize) -> &[(ItemId, u32)] {
        let start = block.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[start..self.ends[block]]
    }

    /// Those of all blocks, one block after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ItemId, u32)> + '_ {
        self.items.iter().copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Those that `keep` keeps.
    pub(crate) fn filtered(&self, keep: impl Fn(ItemId) -> bool) -> Self {
        let mut kept = Self::default();
        for block in 0..self.ends.len() {
            let items = self.of(block).iter().filter(|(item, _)| keep(*item));
            kept.items.extend(items);
            kept.ends.push(kept.items.len());
        }
        kept
    }
}

/// What the lists are measured against.
pub(crate) struct ListTruth<'a> {
    pub metrics: &'a [Metric],
    pub relevant: &'a Relevant,
    /// The last item of each row's history, [`NO_ITEM`] if there is none; empty if no metric asks.
    pub query: &'a [ItemId],
    pub items: &'a Items,
    pub facts: &'a ItemFacts,
}

/// Reads the lists of one model.
///
/// # Errors
/// Lists that are too short, hold an item twice, or one that the catalog lacks; rows that do not match those of truth.
pub(crate) fn read(reading: &Reading<'_>, truth: &ListTruth<'_>) -> Result<RankedLists, Failure> {
    let reader = ListReader::new(reading, truth);
    let mut parts = reading.parts(
        || reader.begin(),
        |part, batch, rows| reader.take(part, batch, rows),
    )?;
    let rows = truth.relevant.rows();
    let place = reading.join(&mut parts, rows)?;
    reader.finish(parts, place.as_deref())
}

struct ListReader<'a> {
    name: &'a str,
    keys: &'a Keys,
    truth: &'a ListTruth<'a>,
    k_max: u32,
    /// Metrics with one value a row.
    of_items: Vec<(Metric, RankedMetric, usize)>,
    /// Metrics over all lists.
    of_lists: Vec<(Metric, RankedMetric, u32)>,
    blocks: usize,
}

/// What is taken of a part of the rows.
struct Taken {
    ends: Vec<u32>,
    ranks: Vec<u32>,
    values: Vec<f64>,
    blocks: Vec<BlockCounts>,
    short: Offenders,
    /// Items that nobody has numbered, in this part.
    others: Items,
    /// Per item, the number of the last list that it stood in.
    last_list: Vec<u32>,
    list: u32,
    ids: Vec<ItemId>,
    counts: Counts,
}

impl<'a> ListReader<'a> {
    fn new(reading: &Reading<'a>, truth: &'a ListTruth<'a>) -> Self {
        let ranked = truth.metrics.iter().filter_map(|metric| match metric {
            Metric::Ranked { name, k } => Some((*metric, *name, k.get())),
            _ => None,
        });
        let is_of_lists = |name| matches!(name, RankedMetric::Coverage | RankedMetric::Gini);
        Self {
            name: reading.source.name(),
            keys: reading.keys,
            truth,
            k_max: ranked.clone().map(|(.., k)| k).max().unwrap_or(0),
            of_items: ranked
                .clone()
                .filter(|(_, name, _)| is_of_items(*name))
                .map(|(metric, name, k)| (metric, name, k as usize))
                .collect(),
            of_lists: ranked.filter(|(_, name, _)| is_of_lists(*name)).collect(),
            blocks: blocks(truth.relevant.rows()),
        }
    }

    fn begin(&self) -> Taken {
        let blocks = self.of_lists.iter().map(|(_, name, _)| {
            // Coverage needs no more of an item than that many blocks hold it.
            BlockCounts::new(match name {
                RankedMetric::Coverage => 40,
                _ => u32::MAX,
            })
        });
        Taken {
            ends: Vec::new(),
            ranks: Vec::new(),
            values: Vec::new(),
            blocks: blocks.collect(),
            short: Offenders::default(),
            others: Items::default(),
            last_list: vec![0; self.truth.items.len()],
            list: 0,
            ids: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn take(
        &self,
        taken: &mut Taken,
        batch: &Batch<'_>,
        rows: &[Option<u32>],
    ) -> Result<(), Failure> {
        let lists = batch.lists(ITEMS)?;
        let ints = lists.values.ints();
        for (index, row) in rows.iter().enumerate() {
            let Some(row) = row.map(|row| row as usize) else {
                continue;
            };
            let range = lists.range(index).ok_or_else(|| null(self.name, ITEMS))?;
            let length = range.len();
            if (length as u64) < u64::from(self.k_max) {
                let items = plural(length as u64, "item");
                taken
                    .short
                    .add(|| format!("{}: {items}", self.keys.display(row)));
                taken.skip(self.of_items.len());
                continue;
            }
            taken.ids.clear();
            for place in range {
                let id = ints.map_or(NO_ITEM, |ints| self.truth.items.small(ints[place]));
                let id = if id == NO_ITEM {
                    let item = lists
                        .values
                        .get(place)
                        .ok_or_else(|| null(self.name, ITEMS))?;
                    taken.number(item, self.truth.items)
                } else {
                    id
                };
                taken.ids.push(id);
            }
            self.take_list(taken, row).map_err(|problem| {
                let place = lists.range(index).map_or(0, |range| range.start) + problem.place;
                let item = lists
                    .values
                    .get(place)
                    .map_or_else(String::new, |it| it.to_string());
                self.bad_item(&problem, &item, row)
            })?;
        }
        Ok(())
    }

    fn take_list(&self, taken: &mut Taken, row: usize) -> Result<(), BadItem> {
        let relevant = self.truth.relevant.of(row);
        let k_max = self.k_max as usize;
        taken.list += 1;
        for (place, id) in taken.ids.iter().enumerate() {
            let last = &mut taken.last_list[*id as usize];
            if *last == taken.list {
                return Err(BadItem { place, twice: true });
            }
            *last = taken.list;
        }
        let first = &taken.ids[..k_max];
        if let Some(catalog) = self.truth.facts.catalog {
            let known = |id: &ItemId| u64::from(*id) < catalog;
            if let Some(place) = first.iter().position(|id| !known(id)) {
                return Err(BadItem {
                    place,
                    twice: false,
                });
            }
        }
        let start = taken.ranks.len();
        match relevant {
            [only] => {
                let place = first.iter().position(|id| id == only);
                taken.ranks.extend(place.map(|place| place as u32 + 1));
            }
            some => {
                let ranks = (1u32..).zip(first).filter(|(_, id)| some.contains(id));
                taken.ranks.extend(ranks.map(|(rank, _)| rank));
            }
        }
        taken.ends.push(taken.ranks.len() as u32);
        for (_, name, k) in &self.of_items {
            let best = taken.ranks.get(start).copied();
            let query = self.truth.query.get(row).copied();
            let row = ListRow {
                items: &taken.ids[..*k],
                relevant,
                is_hit: best.is_some_and(|rank| rank as usize <= *k),
                query: query.filter(|item| *item != NO_ITEM),
            };
            let value = self.truth.facts.value(*name, &row, &mut taken.counts);
            taken.values.push(value);
        }
        let block = block(row, self.truth.relevant.rows(), self.blocks) as u32;
        for ((.., k), counts) in self.of_lists.iter().zip(&mut taken.blocks) {
            counts.add(block, &taken.ids[..*k as usize]);
        }
        Ok(())
    }

    fn bad_item(&self, problem: &BadItem, item: &str, row: usize) -> Failure {
        let input = self.name;
        let key = self.keys.display(row);
        if problem.twice {
            return invalid(
                "report::duplicate-item",
                format!("item {item} stands twice in a list of `{input}`"),
                |d| d.detail([key]),
            );
        }
        invalid(
            "report::unknown-item",
            format!("item {item} in a list of `{input}` is not in `catalog`"),
            |d| {
                d.detail([key]).help(
                    "the metrics look every item up in the catalog, so it must list all of them",
                )
            },
        )
    }

    fn finish(
        &self,
        parts: Vec<Part<Taken>>,
        place: Option<&[u32]>,
    ) -> Result<RankedLists, Failure> {
        let mut short = Offenders::default();
        let (mut ends, mut ranks, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut entries = vec![Vec::new(); self.of_lists.len()];
        for Part { taken, .. } in parts {
            short.append(taken.short);
            let before = ranks.len() as u32;
            ends.extend(taken.ends.iter().map(|end| before + end));
            ranks.extend(taken.ranks);
            values.extend(taken.values);
            for (all, counts) in entries.iter_mut().zip(taken.blocks) {
                all.extend(counts.finish());
            }
        }
        if short.count > 0 {
            let (name, needed) = (self.name, self.k_max);
            let rows = plural(short.count, "row");
            let message = format!("`{name}` has {rows} with a list of fewer than {needed} items");
            return Err(invalid("report::list-too-short", message, |d| {
                d.detail(short.examples).help(format!(
                    "a metric looks at the first {needed}: predict with `k = {needed}` or more"
                ))
            }));
        }
        if let Some(place) = place {
            let (mut ordered_ends, mut ordered) = (Vec::new(), Vec::with_capacity(ranks.len()));
            for row in place {
                ordered.extend_from_slice(slice(&ends, &ranks, *row as usize));
                ordered_ends.push(ordered.len() as u32);
            }
            (ends, ranks) = (ordered_ends, ordered);
        }
        let width = self.of_items.len();
        let values = in_order(values, width, place);
        let column = |index: usize| values.iter().skip(index).step_by(width).copied().collect();
        Ok(RankedLists {
            k_max: self.k_max,
            ends,
            ranks,
            values: (self.of_items.iter().enumerate())
                .map(|(index, (metric, ..))| (*metric, column(index)))
                .collect(),
            items: (self.of_lists.iter().zip(entries))
                .map(|((metric, ..), entries)| (*metric, BlockItems::new(self.blocks, entries)))
                .collect(),
        })
    }
}

impl Taken {
    /// Leaves a row out, which is an error in the end.
    fn skip(&mut self, values: usize) {
        self.ends.push(self.ranks.len() as u32);
        self.values.extend(std::iter::repeat_n(f64::NAN, values));
    }

    /// The number of an item; those that nobody numbered follow on those that somebody did.
    fn number(&mut self, item: Scalar<'_>, items: &Items) -> ItemId {
        if let Some(id) = items.get(item) {
            return id;
        }
        let id = items.len() as ItemId + self.others.intern(item);
        if self.last_list.len() <= id as usize {
            self.last_list.resize(id as usize + 1, 0);
        }
        id
    }
}

/// An entry of a list that may not be there: one that stands in it twice, else one that the catalog lacks.
struct BadItem {
    place: usize,
    twice: bool,
}

/// Counts the items of one block after the other.
struct BlockCounts {
    /// So many entries of an item are enough.
    most: u32,
    block: u32,
    counts: Vec<u32>,
    seen: Vec<ItemId>,
    kept: Vec<u32>,
    entries: Vec<(u32, ItemId, u32)>,
}

impl BlockCounts {
    fn new(most: u32) -> Self {
        Self {
            most,
            block: 0,
            counts: Vec::new(),
            seen: Vec::new(),
            kept: Vec::new(),
            entries: Vec::new(),
        }
    }

    fn add(&mut self, block: u32, items: &[ItemId]) {
        if block != self.block {
            self.close();
            self.block = block;
        }
        for item in items {
            let index = *item as usize;
            if self.counts.len() <= index {
                self.counts.resize(index + 1, 0);
                self.kept.resize(index + 1, 0);
            }
            if self.counts[index] == 0 {
                self.seen.push(*item);
            }
            self.counts[index] += 1;
        }
    }

    fn close(&mut self) {
        for item in self.seen.drain(..) {
            let index = item as usize;
            let count = std::mem::take(&mut self.counts[index]);
            if self.kept[index] < self.most {
                self.kept[index] += 1;
                self.entries.push((self.block, item, count));
            }
        }
    }

    fn finish(mut self) -> Vec<(u32, ItemId, u32)> {
        self.close();
        self.entries
    }
}
