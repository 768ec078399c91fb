//! What is known of items beside their numbers: what the catalog says, and how often they occur in training.

use mlbuild_action::RankedMetric;

use crate::keys::ItemId;

/// What is known of the items, as far as a metric needs it.
#[derive(Default)]
pub(crate) struct ItemFacts {
    /// Number of items in the catalog; those below it are in the catalog. `None` if no metric needs it.
    pub catalog: Option<u64>,
    /// The category of each item of the catalog.
    pub category: Vec<u32>,
    /// The price of each item of the catalog.
    pub price: Vec<f64>,
    /// The vector of each item of the catalog, of length 1, one after the other.
    pub vector: Vec<f32>,
    /// How many numbers a vector has; 0 if there are no vectors.
    pub dimensions: usize,
    /// How often each item occurs in training; items beyond the end do not.
    pub occurrences: Vec<u64>,
    /// The sum of them.
    pub occurrences_total: u64,
}

/// Whether the metric looks at the catalog.
pub(crate) fn needs_catalog(name: RankedMetric) -> bool {
    matches!(
        name,
        RankedMetric::Coverage
            | RankedMetric::Diversity
            | RankedMetric::Gini
            | RankedMetric::LessWrong
            | RankedMetric::PriceGap
            | RankedMetric::QueryDistance
    )
}

/// Whether the metric looks at how often items occur in training.
pub(crate) fn needs_occurrences(name: RankedMetric) -> bool {
    matches!(name, RankedMetric::Novelty | RankedMetric::Popularity)
}

/// Whether the metric looks at the last item of a row's history.
pub(crate) fn needs_query(name: RankedMetric) -> bool {
    matches!(name, RankedMetric::PriceGap | RankedMetric::QueryDistance)
}

/// Whether the metric is worked out while a list is read, since it looks at all of its items.
pub(crate) fn is_of_items(name: RankedMetric) -> bool {
    needs_occurrences(name)
        || (needs_catalog(name) && !matches!(name, RankedMetric::Coverage | RankedMetric::Gini))
}

/// A row as a metric of its items sees it.
pub(crate) struct ListRow<'a> {
    /// The first k items.
    pub items: &'a [ItemId],
    /// The row's relevant items.
    pub relevant: &'a [ItemId],
    /// Whether one of those is among the first k.
    pub is_hit: bool,
    /// The last item of the row's history, if it has one.
    pub query: Option<ItemId>,
}

impl ItemFacts {
    /// The value of the metric on one row; NaN if it does not apply.
    pub(crate) fn value(&self, name: RankedMetric, row: &ListRow<'_>, counts: &mut Counts) -> f64 {
        let k = row.items.len() as f64;
        let mean = |value: &dyn Fn(ItemId) -> f64| {
            row.items.iter().map(|item| value(*item)).sum::<f64>() / k
        };
        match name {
            RankedMetric::Popularity => mean(&|item| self.occurs(item) as f64),
            RankedMetric::Novelty => mean(&|item| {
                let share = self.occurs(item).max(1) as f64 / self.occurrences_total as f64;
                -share.log2()
            }),
            RankedMetric::Diversity => {
                let categories = row.items.iter().map(|item| self.category[*item as usize]);
                let same = counts.pairs_alike(categories);
                1.0 - same as f64 / (k * (k - 1.0) / 2.0)
            }
            RankedMetric::LessWrong if row.is_hit => f64::NAN,
            RankedMetric::LessWrong => mean(&|item| {
                let category = self.category[item as usize];
                // A relevant item that the catalog does not know has no category.
                let mut relevant = row.relevant.iter();
                let alike = relevant.any(|it| self.category.get(*it as usize) == Some(&category));
                f64::from(u8::from(alike))
            }),
            RankedMetric::PriceGap => self.of_query(row, |query| {
                let price = self.price.get(query as usize)?;
                Some(mean(&|item| {
                    (self.price[item as usize] / price).log10().abs()
                }))
            }),
            RankedMetric::QueryDistance if self.dimensions > 0 => self.of_query(row, |query| {
                let query = self.direction(query)?;
                let distance = |item| {
                    let pairs = self.direction(item).into_iter().flatten().zip(query);
                    1.0 - pairs
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum::<f64>()
                };
                Some(mean(&distance))
            }),
            RankedMetric::QueryDistance => self.of_query(row, |query| {
                let category = self.category.get(query as usize)?;
                let other = |item: ItemId| self.category[item as usize] != *category;
                Some(mean(&|item| f64::from(u8::from(other(item)))))
            }),
            _ => unreachable!("only metrics of items are worked out here"),
        }
    }

    fn of_query(&self, row: &ListRow<'_>, value: impl Fn(ItemId) -> Option<f64>) -> f64 {
        row.query.and_then(value).unwrap_or(f64::NAN)
    }

    fn occurs(&self, item: ItemId) -> u64 {
        self.occurrences.get(item as usize).copied().unwrap_or(0)
    }

    fn direction(&self, item: ItemId) -> Option<&[f32]> {
        let start = item as usize * self.dimensions;
        self.vector.get(start..start + self.dimensions)
    }
}

/// Counts by small number that are zero again after each use.
#[derive(Default)]
pub(crate) struct Counts(Vec<u32>);

impl Counts {
    /// How many pairs of these numbers are equal.
    fn pairs_alike(&mut self, numbers: impl Iterator<Item = u32> + Clone) -> u64 {
        let mut pairs = 0;
        for number in numbers.clone() {
            let index = number as usize;
            if self.0.len() <= index {
                self.0.resize(index + 1, 0);
            }
            pairs += u64::from(self.0[index]);
            self.0[index] += 1;
        }
        for number in numbers {
            self.0[number as usize] = 0;
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items 0 and 1 are of category 0, item 2 of 1, item 3 of 2; they cost 1, 10, 100, 1; they occur 8, 4, 0 and 4 times.
    fn facts() -> ItemFacts {
        ItemFacts {
            catalog: Some(4),
            category: vec![0, 0, 1, 2],
            price: vec![1.0, 10.0, 100.0, 1.0],
            vector: vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8, -1.0, 0.0],
            dimensions: 2,
            occurrences: vec![8, 4, 0, 4],
            occurrences_total: 16,
        }
    }

    #[track_caller]
    fn check(facts: &ItemFacts, name: RankedMetric, row: &ListRow<'_>, expected: f64) {
        let found = facts.value(name, row, &mut Counts::default());
        let same = (found - expected).abs() < 1e-7 || (found.is_nan() && expected.is_nan());
        assert!(same, "{name:?}: {found}, not {expected}");
    }

    #[test]
    fn every_metric_of_items_is_the_one_worked_out_by_hand() {
        let row = ListRow {
            items: &[0, 1, 2],
            relevant: &[1],
            is_hit: false,
            query: Some(0),
        };
        let facts = facts();
        check(&facts, RankedMetric::Popularity, &row, 4.0);
        // log2 of 2, 4 and (as if it occurred once) 16.
        check(&facts, RankedMetric::Novelty, &row, 7.0 / 3.0);
        check(&facts, RankedMetric::Diversity, &row, 2.0 / 3.0);
        check(&facts, RankedMetric::LessWrong, &row, 2.0 / 3.0);
        check(&facts, RankedMetric::PriceGap, &row, 1.0);
        // Cosines 1, 0 and 0.6.
        check(&facts, RankedMetric::QueryDistance, &row, 1.4 / 3.0);
        let by_category = ItemFacts {
            dimensions: 0,
            ..facts
        };
        check(&by_category, RankedMetric::QueryDistance, &row, 1.0 / 3.0);
    }

    #[test]
    fn rows_to_which_a_metric_does_not_apply_say_nothing() {
        let row = ListRow {
            items: &[0, 1],
            relevant: &[1],
            is_hit: true,
            query: None,
        };
        check(&facts(), RankedMetric::LessWrong, &row, f64::NAN);
        check(&facts(), RankedMetric::PriceGap, &row, f64::NAN);
        check(&facts(), RankedMetric::QueryDistance, &row, f64::NAN);
        // A query that the catalog does not know has no price.
        let unknown = ListRow {
            query: Some(9),
            ..row
        };
        check(&facts(), RankedMetric::PriceGap, &unknown, f64::NAN);
    }
}
