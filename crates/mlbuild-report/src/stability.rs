//! Predictions for inputs as they are against predictions for changed inputs: behavioural tests.
//!
//! Both tables are joined to truth by its key, and each row gives one value: how much two lists have in common, or whether
//! a prediction moved, or moved up or down. Their means are figures like others.

use std::collections::HashMap;

use arrow::array::Array;
use mlbuild_action::{Failure, Stability, StabilityMetric};

use crate::ITEMS;
use crate::classes::{CLASSES, PREDICTION, SCORES};
use crate::evidence::{invalid, null};
use crate::metrics::Task;
use crate::numbers::finite;
use crate::parts::{Offenders, Reading, in_order};
use crate::table::Scalar;
use crate::words::plural;

/// How much less each further rank counts for rank-biased overlap.
const PERSISTENCE: f64 = 0.9;

/// What is read of a table of predictions for a comparison.
pub(crate) struct What<'a> {
    pub metric: StabilityMetric,
    pub task: Task,
    /// Rows of truth.
    pub rows: usize,
    /// The class whose score is compared.
    pub positive: Option<&'a str>,
}

/// What a table of predictions holds for a comparison, in the order of truth.
pub(crate) enum Side {
    /// The first k items of each list as text, which items of both tables have in common.
    Lists(Vec<String>),
    /// A number a row.
    Numbers(Vec<f64>),
    /// A class a row, as text.
    Classes(Vec<String>),
}

impl What<'_> {
    /// The columns that are read, beside the key.
    ///
    /// # Errors
    /// If predictions of this kind cannot be compared so.
    pub(crate) fn columns(&self) -> Result<&'static [&'static str], Failure> {
        let wrong = |help: &str| {
            let message = format!(
                "`{}` does not compare predictions of this report",
                self.metric
            );
            Err(invalid("report::wrong-comparison", message, |d| {
                d.help(help.to_owned())
            }))
        };
        match (self.task, self.metric) {
            (Task::Ranking, StabilityMetric::Overlap(_) | StabilityMetric::Rbo(_)) => Ok(&[ITEMS]),
            (Task::Ranking, _) => wrong("ranked lists are compared by `overlap@10` or `rbo@10`"),
            (Task::Numbers, StabilityMetric::Overlap(_) | StabilityMetric::Rbo(_)) => {
                wrong("numbers are compared by `changed`, `increased` or `decreased`")
            }
            (Task::Numbers, _) | (Task::Classes, StabilityMetric::Changed(_)) => Ok(&[PREDICTION]),
            (Task::Classes, StabilityMetric::Increased(_) | StabilityMetric::Decreased(_))
                if self.positive.is_some() =>
            {
                Ok(&[CLASSES, SCORES])
            }
            (Task::Classes | Task::Labels, _) => wrong(
                "classes are compared by `changed`, two classes also by `increased` or `decreased`",
            ),
        }
    }

    /// Reads one of the two tables.
    pub(crate) fn read(&self, reading: &Reading<'_>) -> Result<Side, Failure> {
        match (self.task, self.metric) {
            (Task::Ranking, _) => self.read_lists(reading),
            (Task::Classes, StabilityMetric::Changed(_)) => self.read_classes(reading),
            (Task::Classes, _) => self.read_scores(reading),
            _ => crate::numbers::read(reading, self.rows).map(Side::Numbers),
        }
    }

    fn read_lists(&self, reading: &Reading<'_>) -> Result<Side, Failure> {
        let k = self.metric.k().map_or(0, |k| k.get() as usize);
        let name = reading.source.name();
        reading.source.list_kind(ITEMS)?;
        let mut parts = reading.parts(
            || (Vec::new(), Offenders::default()),
            |(items, short), batch, rows| {
                let lists = batch.lists(ITEMS)?;
                for (index, row) in rows.iter().enumerate() {
                    let Some(row) = row else { continue };
                    let list = lists.get(index).ok_or_else(|| null(name, ITEMS))?;
                    if list.len() < k {
                        let length = plural(list.len() as u64, "item");
                        short.add(|| format!("{}: {length}", reading.keys.display(*row as usize)));
                        items.extend(std::iter::repeat_n(String::new(), k));
                        continue;
                    }
                    for item in list.take(k) {
                        items.push(item.ok_or_else(|| null(name, ITEMS))?.to_string());
                    }
                }
                Ok(())
            },
        )?;
        let place = reading.join(&mut parts, self.rows)?;
        let (mut items, mut short) = (Vec::new(), Offenders::default());
        for part in parts {
            items.extend(part.taken.0);
            short.append(part.taken.1);
        }
        if short.count > 0 {
            let rows = plural(short.count, "row");
            let message = format!("`{name}` has {rows} with a list of fewer than {k} items");
            return Err(invalid("report::list-too-short", message, |d| {
                d.detail(short.examples)
                    .help(format!("`{}` compares the first {k}", self.metric))
            }));
        }
        let Some(place) = place else {
            return Ok(Side::Lists(items));
        };
        let rows = place
            .iter()
            .flat_map(|row| &items[*row as usize * k..][..k]);
        Ok(Side::Lists(rows.cloned().collect()))
    }

    fn read_classes(&self, reading: &Reading<'_>) -> Result<Side, Failure> {
        let name = reading.source.name();
        reading.source.scalar_kind(PREDICTION)?;
        let mut parts = reading.parts(Vec::new, |classes: &mut Vec<String>, batch, rows| {
            let values = batch.scalars(PREDICTION)?;
            for index in (0..rows.len()).filter(|index| rows[*index].is_some()) {
                let class = values.get(index).ok_or_else(|| null(name, PREDICTION))?;
                classes.push(class.to_string());
            }
            Ok(())
        })?;
        let place = reading.join(&mut parts, self.rows)?;
        let classes: Vec<_> = parts.into_iter().flat_map(|part| part.taken).collect();
        Ok(Side::Classes(match place {
            None => classes,
            Some(place) => place
                .iter()
                .map(|row| classes[*row as usize].clone())
                .collect(),
        }))
    }

    fn read_scores(&self, reading: &Reading<'_>) -> Result<Side, Failure> {
        let name = reading.source.name();
        reading.source.list_kind(CLASSES)?;
        reading.source.must_be_numeric_lists(SCORES)?;
        let positive = self.positive.unwrap_or_default();
        let is_positive = |class: Scalar<'_>| match class {
            Scalar::Text(text) => text == positive,
            other => other.to_string() == positive,
        };
        let mut parts = reading.parts(Vec::new, |found: &mut Vec<f64>, batch, rows| {
            let (classes, scores) = (batch.lists(CLASSES)?, batch.number_lists(SCORES)?);
            for index in (0..rows.len()).filter(|index| rows[*index].is_some()) {
                let mut of = classes.get(index).ok_or_else(|| null(name, CLASSES))?;
                let range = scores.range(index).ok_or_else(|| null(name, SCORES))?;
                let place = of.position(|class| class.is_some_and(is_positive));
                let place = place.map(|place| range.start + place);
                let score = match place.filter(|place| range.contains(place)) {
                    Some(place) if scores.values.is_valid(place) => scores.values.value(place),
                    Some(_) => return Err(null(name, SCORES)),
                    None => 0.0,
                };
                found.push(finite(score, name, SCORES)?);
            }
            Ok(())
        })?;
        let place = reading.join(&mut parts, self.rows)?;
        let scores = parts.into_iter().flat_map(|part| part.taken).collect();
        Ok(Side::Numbers(in_order(scores, 1, place.as_deref())))
    }

    /// The value of each row.
    pub(crate) fn compare(&self, before: &Side, after: &Side) -> Vec<f64> {
        let flag = |holds: bool| f64::from(u8::from(holds));
        match (before, after) {
            (Side::Lists(before), Side::Lists(after)) => {
                let k = self.metric.k().map_or(1, |k| k.get() as usize);
                let lists = before.chunks_exact(k).zip(after.chunks_exact(k));
                let is_overlap = matches!(self.metric, StabilityMetric::Overlap(_));
                let value = |(a, b): (&[String], &[String])| {
                    let shared = shared(a, b);
                    if is_overlap {
                        shared[k - 1] as f64 / k as f64
                    } else {
                        rank_biased(&shared)
                    }
                };
                lists.map(value).collect()
            }
            (Side::Classes(before), Side::Classes(after)) => before
                .iter()
                .zip(after)
                .map(|(a, b)| flag(a != b))
                .collect(),
            (Side::Numbers(before), Side::Numbers(after)) => {
                let moved = before.iter().zip(after).map(|(a, b)| b - a);
                moved
                    .map(|by| match self.metric {
                        StabilityMetric::Increased(tolerance) => flag(by > tolerance),
                        StabilityMetric::Decreased(tolerance) => flag(-by > tolerance),
                        StabilityMetric::Changed(tolerance) => flag(by.abs() > tolerance),
                        StabilityMetric::Overlap(_) | StabilityMetric::Rbo(_) => f64::NAN,
                    })
                    .collect()
            }
            _ => unreachable!("both tables are read in the same way"),
        }
    }
}

/// How many items the first 1, 2, ... of both lists share.
fn shared(a: &[String], b: &[String]) -> Vec<usize> {
    let mut seen: HashMap<&str, u8> = HashMap::new();
    let mut count = 0;
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            for (item, side) in [(a, 1), (b, 2)] {
                let sides = seen.entry(item).or_default();
                if *sides & side == 0 {
                    *sides |= side;
                    count += usize::from(*sides == 3);
                }
            }
            count
        })
        .collect()
}

/// Rank-biased overlap of two lists of equal length, extrapolated from what they share at each depth (Webber, Moffat and
/// Zobel 2010, equation 32).
fn rank_biased(shared: &[usize]) -> f64 {
    let (mut sum, mut weight) = (0.0, 1.0);
    for (depth, shared) in (1u32..).zip(shared) {
        weight *= PERSISTENCE;
        sum += weight * *shared as f64 / f64::from(depth);
    }
    let depth = shared.len();
    let last = shared
        .last()
        .map_or(0.0, |last| *last as f64 / depth as f64);
    last * weight + (1.0 - PERSISTENCE) / PERSISTENCE * sum
}

/// What a comparison measures, in one sentence, and where it comes from.
pub(crate) fn definition(stability: &Stability) -> (String, &'static str) {
    let metric = stability.metric;
    let recommended = "Chia et al. 2022, Beyond NDCG: behavioral testing of recommender systems with RecList, WWW";
    let tested = "Ribeiro et al. 2020, Beyond accuracy: behavioral testing of NLP models with CheckList, ACL";
    let by = |tolerance: f64| {
        if tolerance > 0.0 {
            format!(" by more than {tolerance}")
        } else {
            String::new()
        }
    };
    match metric {
        StabilityMetric::Overlap(k) => (
            format!(
                "Share of the first {k} items of a row's list that its list for the changed input holds among its first {k}; mean over rows."
            ),
            recommended,
        ),
        StabilityMetric::Rbo(k) => (
            format!(
                "Rank-biased overlap of the first {k} items of both lists, with a persistence of {PERSISTENCE}: what they share counts more at the top; mean over rows."
            ),
            "Webber, Moffat and Zobel 2010, A similarity measure for indefinite rankings, ACM TOIS 28(4)",
        ),
        StabilityMetric::Changed(tolerance) => (
            format!(
                "Share of rows whose prediction is another for the changed input{}.",
                by(tolerance)
            ),
            tested,
        ),
        StabilityMetric::Increased(tolerance) => (
            format!(
                "Share of rows whose prediction rises with the changed input{}.",
                by(tolerance)
            ),
            tested,
        ),
        StabilityMetric::Decreased(tolerance) => (
            format!(
                "Share of rows whose prediction falls with the changed input{}.",
                by(tolerance)
            ),
            tested,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &str) -> Vec<String> {
        items.chars().map(String::from).collect()
    }

    #[test]
    fn lists_share_items_and_the_top_counts_more() {
        assert_eq!(shared(&list("abc"), &list("bad")), [0, 2, 2]);
        let rbo = |a, b| rank_biased(&shared(&list(a), &list(b)));
        assert!((rbo("abc", "abc") - 1.0).abs() < 1e-12);
        assert_eq!(rbo("abc", "xyz"), 0.0);
        // 2/3 * 0.9^3 + 0.1/0.9 * (0.9^2 * 1 + 0.9^3 * 2/3)
        assert!(
            (rbo("abc", "bad") - 0.63).abs() < 1e-12,
            "{}",
            rbo("abc", "bad")
        );
        assert!(rbo("abcd", "abxy") > rbo("abcd", "xycd"));
    }

    #[test]
    fn moves_within_the_tolerance_do_not_count() {
        let side = |values: &[f64]| Side::Numbers(values.to_vec());
        let of = |metric| {
            let what = What {
                metric,
                task: Task::Numbers,
                rows: 3,
                positive: None,
            };
            what.compare(&side(&[1.0, 1.0, 1.0]), &side(&[1.25, 0.5, 1.0]))
        };
        assert_eq!(of(StabilityMetric::Changed(0.0)), [1.0, 1.0, 0.0]);
        assert_eq!(of(StabilityMetric::Changed(0.25)), [0.0, 1.0, 0.0]);
        assert_eq!(of(StabilityMetric::Increased(0.0)), [1.0, 0.0, 0.0]);
        assert_eq!(of(StabilityMetric::Decreased(0.0)), [0.0, 1.0, 0.0]);
    }
}
