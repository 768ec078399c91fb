//! Slices: the same metric on parts of the rows, which shows for whom a model works.

use mlbuild_action::Metric;

use crate::estimate::Estimate;
use crate::evidence::{Evidence, History};
use crate::metrics::row_value;

/// One way to part the rows.
pub(crate) struct Slice {
    /// By what, as a heading.
    pub by: &'static str,
    /// How the parts are drawn, in one sentence.
    pub text: &'static str,
    /// The parts that have rows, in order.
    pub groups: Vec<Group>,
}

/// One part of the rows.
pub(crate) struct Group {
    /// Its name.
    pub name: &'static str,
    /// Number of rows in it; at least 1.
    pub rows: u64,
    /// The metric's mean over them, one a model.
    pub estimates: Vec<Estimate>,
}

/// Every slice of `metric` that the evidence allows.
pub(crate) fn slices(metric: Metric, evidence: &Evidence) -> Vec<Slice> {
    let Some(history) = &evidence.history else {
        return Vec::new();
    };
    vec![
        by_length(metric, evidence, history),
        by_popularity(metric, evidence, history),
    ]
}

/// Names of the parts by length of history, each with the least length that is beyond it.
const LENGTHS: [(&str, u64); 6] = [
    ("0", 1),
    ("1-9", 10),
    ("10-19", 20),
    ("20-49", 50),
    ("50-99", 100),
    ("100+", u64::MAX),
];

fn by_length(metric: Metric, evidence: &Evidence, history: &History) -> Slice {
    let parts = history.lengths.iter().map(|length| {
        LENGTHS
            .iter()
            .position(|(_, beyond)| length < beyond)
            .unwrap_or(LENGTHS.len() - 1)
    });
    Slice {
        by: "length of history",
        text: "Rows by the number of items in their history.",
        groups: groups(
            metric,
            evidence,
            LENGTHS.map(|(name, _)| name),
            parts.collect(),
        ),
    }
}

fn by_popularity(metric: Metric, evidence: &Evidence, history: &History) -> Slice {
    let bands = bands(&history.occurrences);
    // An item beyond the end of the counts is in no history, so it is of the tail.
    let parts = evidence
        .relevant
        .iter()
        .map(|item| bands.get(*item as usize).copied().unwrap_or(2));
    Slice {
        by: "popularity of the true item",
        text: "Rows by how often their true item occurs in all histories. Head: the most frequent items, up to half of \
               all occurrences; torso: the next, up to nine tenths; tail: the rest and what never occurs.",
        groups: groups(metric, evidence, ["head", "torso", "tail"], parts.collect()),
    }
}

/// Per item: 0 head, 1 torso, 2 tail. The items more frequent than it decide, so equally frequent items are never
/// parted and the order in which items were numbered does not show.
fn bands(occurrences: &[u64]) -> Vec<usize> {
    let total: u64 = occurrences.iter().sum();
    let mut falling: Vec<u64> = occurrences.to_vec();
    falling.sort_unstable_by(|a, b| b.cmp(a));
    let mut before_falling = Vec::with_capacity(falling.len());
    let mut before = 0u64;
    for count in &falling {
        before_falling.push(before);
        before += count;
    }
    occurrences
        .iter()
        .map(|count| {
            let more_frequent = falling.partition_point(|other| other > count);
            let before = u128::from(before_falling[more_frequent]);
            match u128::from(total) {
                _ if *count == 0 => 2,
                total if before * 2 < total => 0,
                total if before * 10 < total * 9 => 1,
                _ => 2,
            }
        })
        .collect()
}

fn groups<const N: usize>(
    metric: Metric,
    evidence: &Evidence,
    names: [&'static str; N],
    part_of_row: Vec<usize>,
) -> Vec<Group> {
    let mut rows_of_part = vec![Vec::new(); N];
    for (row, part) in part_of_row.into_iter().enumerate() {
        rows_of_part[part].push(row);
    }
    let parts = names
        .into_iter()
        .zip(rows_of_part)
        .filter(|(_, rows)| !rows.is_empty());
    parts
        .map(|(name, rows)| Group {
            name,
            rows: rows.len() as u64,
            estimates: evidence
                .predictions
                .iter()
                .map(|model| {
                    Estimate::mean(
                        rows.iter()
                            .filter_map(|row| row_value(metric, model.hits(*row))),
                    )
                })
                .collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_holds_half_of_the_occurrences_and_the_tail_the_last_tenth() {
        // Before each, of 20: 0, 10, 16, 18, 18, never.
        assert_eq!(bands(&[10, 6, 2, 1, 1, 0]), [0, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn equally_frequent_items_stay_together_in_any_order() {
        assert_eq!(bands(&[1, 1, 1, 1]), [0, 0, 0, 0]);
        assert_eq!(bands(&[0, 1, 2, 6, 10, 1]), [2, 2, 1, 1, 0, 2]);
        assert!(bands(&[]).is_empty());
    }
}
