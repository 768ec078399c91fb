//! Reads the lists of one model: joins them to truth, checks them, keeps the ranks of relevant items.

use std::collections::BTreeMap;

use mlbuild_action::{Evaluate, Failure, MetricName};

use crate::ITEMS;
use crate::evidence::{Predictions, invalid, key_columns, null};
use crate::keys::{ItemId, Items, Keys};
use crate::table::{Batch, Scalar};
use crate::words::plural;

/// How many offending rows a diagnostic shows.
const EXAMPLES: usize = 5;

/// Rows that are not as they must be: how many, and the first few of them.
#[derive(Default)]
struct Offenders {
    count: u64,
    examples: Vec<String>,
}

impl Offenders {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Reads the lists of one model.
pub(crate) struct ListReader<'a> {
    name: &'a str,
    work: &'a Evaluate,
    keys: &'a Keys,
    relevant: &'a [ItemId],
    /// Items below this number are in the catalog; set if a metric needs it.
    catalog_items: Option<u64>,
    items: &'a mut Items,
    /// The largest k of a metric.
    k_max: u32,
    ranks: Vec<Vec<u32>>,
    seen: Vec<bool>,
    /// Per item, its best rank in any list; 0 if it is in none.
    best_rank: Vec<u32>,
    /// Per item, one more than the last row in whose list it stood: shows items that stand in one list twice.
    last_row: Vec<usize>,
    unknown: Offenders,
    repeated: Offenders,
    short: Offenders,
}

impl<'a> ListReader<'a> {
    /// A reader of input `name` that has read nothing.
    pub(crate) fn new(
        name: &'a str,
        work: &'a Evaluate,
        keys: &'a Keys,
        relevant: &'a [ItemId],
        catalog_items: Option<u64>,
        items: &'a mut Items,
    ) -> Self {
        Self {
            name,
            work,
            keys,
            relevant,
            catalog_items,
            items,
            k_max: work
                .metrics
                .iter()
                .map(|metric| metric.k.get())
                .max()
                .unwrap_or(0),
            ranks: vec![Vec::new(); relevant.len()],
            seen: vec![false; relevant.len()],
            best_rank: Vec::new(),
            last_row: Vec::new(),
            unknown: Offenders::default(),
            repeated: Offenders::default(),
            short: Offenders::default(),
        }
    }

    /// Takes the next rows.
    pub(crate) fn take(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let keys = key_columns(batch, &self.work.key)?;
        let lists = batch.lists(ITEMS)?;
        for index in 0..batch.rows() {
            let show = || self.keys.display(&keys, index);
            let Some(row) = self.keys.get(&keys, index) else {
                self.unknown.add(show);
                continue;
            };
            if self.seen[row] {
                self.repeated.add(show);
                continue;
            }
            self.seen[row] = true;
            let list = lists.get(index).ok_or_else(|| null(self.name, ITEMS))?;
            let length = list.len();
            if (length as u64) < u64::from(self.k_max) {
                self.short
                    .add(|| format!("{}: {}", show(), plural(length as u64, "item")));
                continue;
            }
            for (rank, item) in (1u32..).zip(list) {
                let item = item.ok_or_else(|| null(self.name, ITEMS))?;
                self.take_item(row, rank, item)
                    .map_err(|problem| problem.at(show()))?;
            }
        }
        Ok(())
    }

    fn take_item(&mut self, row: usize, rank: u32, item: Scalar<'_>) -> Result<(), BadItem> {
        let id = self.items.intern(item);
        let index = id as usize;
        if self.last_row.len() <= index {
            self.last_row.resize(index + 1, 0);
            self.best_rank.resize(index + 1, 0);
        }
        if self.last_row[index] == row + 1 {
            return Err(BadItem::Twice {
                input: self.name.to_owned(),
                item: item.to_string(),
            });
        }
        self.last_row[index] = row + 1;
        if rank > self.k_max {
            return Ok(());
        }
        if self
            .catalog_items
            .is_some_and(|items| u64::from(id) >= items)
        {
            return Err(BadItem::NotInCatalog {
                input: self.name.to_owned(),
                item: item.to_string(),
            });
        }
        if id == self.relevant[row] {
            self.ranks[row].push(rank);
        }
        let best = &mut self.best_rank[index];
        if *best == 0 || rank < *best {
            *best = rank;
        }
        Ok(())
    }

    /// What was read, once every row of truth has its list.
    pub(crate) fn finish(self) -> Result<Predictions, Failure> {
        let name = self.name;
        let help = "`truth` and predictions need one row each for every key: predict on the table that is the truth";
        let join = |code, message: String, examples| {
            Err(invalid(code, message, |d| d.detail(examples).help(help)))
        };
        let Offenders { count, examples } = self.repeated;
        if count > 0 {
            let message = format!(
                "`{name}` has {} with a key that an earlier row has",
                plural(count, "row")
            );
            return join("report::duplicate-key", message, examples);
        }
        let Offenders { count, examples } = self.unknown;
        if count > 0 {
            let message = format!(
                "`{name}` has {} with a key that `truth` lacks",
                plural(count, "row")
            );
            return join("report::extra-key", message, examples);
        }
        let missing = self.seen.iter().filter(|seen| !**seen).count() as u64;
        if missing > 0 {
            let message = format!(
                "`{name}` lacks {missing} of {} of `truth`",
                plural(self.seen.len() as u64, "row")
            );
            return join(
                "report::missing-key",
                message,
                self.keys.unseen(&self.seen, EXAMPLES),
            );
        }
        let Offenders { count, examples } = self.short;
        if count > 0 {
            let needed = self.k_max;
            return Err(invalid(
                "report::list-too-short",
                format!(
                    "`{name}` has {} with a list of fewer than {needed} items",
                    plural(count, "row")
                ),
                |d| {
                    d.detail(examples).help(format!(
                        "a metric looks at the first {needed}: predict with `k = {needed}` or more"
                    ))
                },
            ));
        }
        Ok(Predictions {
            ranks: self.ranks,
            covered: covered(self.work, &self.best_rank),
        })
    }
}

fn covered(work: &Evaluate, best_rank: &[u32]) -> BTreeMap<u32, u64> {
    let coverage = work
        .metrics
        .iter()
        .filter(|metric| metric.name == MetricName::Coverage);
    coverage
        .map(|metric| metric.k.get())
        .map(|k| {
            (
                k,
                best_rank
                    .iter()
                    .filter(|rank| (1..=k).contains(*rank))
                    .count() as u64,
            )
        })
        .collect()
}

/// What is wrong with one entry of a list.
enum BadItem {
    Twice { input: String, item: String },
    NotInCatalog { input: String, item: String },
}

impl BadItem {
    fn at(self, key: String) -> Failure {
        match self {
            Self::Twice { input, item } => invalid(
                "report::duplicate-item",
                format!("item {item} stands twice in a list of `{input}`"),
                |d| d.detail([key]),
            ),
            Self::NotInCatalog { input, item } => invalid(
                "report::unknown-item",
                format!("item {item} in a list of `{input}` is not in `catalog`"),
                |d| {
                    d.detail([key])
                        .help("coverage is a share of the catalog, so it must list every item")
                },
            ),
        }
    }
}
