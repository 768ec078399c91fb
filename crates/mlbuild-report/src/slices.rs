//! Slices: the same metrics on parts of the rows, which shows for whom a model works.

use mlbuild_action::Evaluate;

use crate::evidence::{Evidence, SliceValues, Truth};

/// One way to part the rows.
pub(crate) struct Parting {
    /// What gates call it: the column, or a word of ours.
    pub key: String,
    /// By what, as a heading.
    pub by: String,
    /// How the parts are drawn, in one sentence.
    pub text: String,
    /// The parts' names, in order.
    pub names: Vec<String>,
    /// The part of each row.
    pub part_of_row: Vec<u32>,
}

/// The values of a column that have a part of their own; rows of rarer ones are together in the last part.
const MOST_VALUES: usize = 20;

/// Every way to part the rows that was declared or that the evidence allows.
pub(crate) fn partings(work: &Evaluate, evidence: &Evidence) -> Vec<Parting> {
    let declared = work.slices.iter().zip(&evidence.slicings);
    let mut partings: Vec<_> = declared
        .map(|(slicing, values)| match values {
            SliceValues::Numbers(values) => by_bins(&slicing.column, &slicing.bins, values),
            SliceValues::Values(names, values) => by_value(&slicing.column, names, values),
        })
        .collect();
    if let Some(history) = &evidence.history {
        partings.push(by_length(&history.lengths));
        partings.extend(by_popularity(evidence, &history.occurrences));
    }
    if evidence.has_training {
        partings.extend(by_training_frequency(evidence));
    }
    partings
}

fn by_bins(column: &str, bins: &[f64], values: &[Option<f64>]) -> Parting {
    let mut names = vec![format!("< {}", bins[0])];
    names.extend(
        bins.windows(2)
            .map(|pair| format!("{}–{}", pair[0], pair[1])),
    );
    names.push(format!("≥ {}", bins[bins.len() - 1]));
    names.push("null".to_owned());
    let part = |value: &Option<f64>| match value {
        Some(value) if !value.is_nan() => bins.partition_point(|bound| bound <= value) as u32,
        _ => bins.len() as u32 + 1,
    };
    Parting {
        key: column.to_owned(),
        by: column.to_owned(),
        text: format!(
            "Rows by {column}: each part from its lower bound up to, and without, its upper one."
        ),
        names,
        part_of_row: values.iter().map(part).collect(),
    }
}

fn by_value(column: &str, names: &[String], values: &[Option<u32>]) -> Parting {
    let mut rows = vec![0u64; names.len()];
    for value in values.iter().flatten() {
        rows[*value as usize] += 1;
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| {
        rows[*b]
            .cmp(&rows[*a])
            .then_with(|| names[*a].cmp(&names[*b]))
    });
    let own = order.len().min(MOST_VALUES);
    let mut part_of_value = vec![own as u32; names.len()];
    for (part, value) in (0u32..).zip(&order[..own]) {
        part_of_value[*value] = part;
    }
    let mut parts: Vec<_> = order[..own]
        .iter()
        .map(|value| names[*value].clone())
        .collect();
    parts.extend(["(other values)", "null"].map(str::to_owned));
    let null = own as u32 + 1;
    let part = |value: &Option<u32>| value.map_or(null, |value| part_of_value[value as usize]);
    Parting {
        key: column.to_owned(),
        by: column.to_owned(),
        text: format!("Rows by the value of {column}, the most frequent first."),
        names: parts,
        part_of_row: values.iter().map(part).collect(),
    }
}

/// Names of the parts by a count, each with the least count that is beyond it.
const LENGTHS: [(&str, u64); 6] = [
    ("0", 1),
    ("1-9", 10),
    ("10-19", 20),
    ("20-49", 50),
    ("50-99", 100),
    ("100+", u64::MAX),
];

const FREQUENCIES: [(&str, u64); 5] = [
    ("0", 1),
    ("1-9", 10),
    ("10-99", 100),
    ("100-999", 1000),
    ("1000+", u64::MAX),
];

fn by_count(
    [key, by, text]: [&str; 3],
    bounds: &[(&str, u64)],
    counts: impl Iterator<Item = u64>,
) -> Parting {
    let part = |count: u64| {
        let part = bounds.iter().position(|(_, beyond)| count < *beyond);
        part.unwrap_or(bounds.len() - 1) as u32
    };
    Parting {
        key: key.to_owned(),
        by: by.to_owned(),
        text: text.to_owned(),
        names: bounds.iter().map(|(name, _)| (*name).to_owned()).collect(),
        part_of_row: counts.map(part).collect(),
    }
}

fn by_length(lengths: &[u64]) -> Parting {
    let words = [
        "history_length",
        "length of history",
        "Rows by the number of items in their history.",
    ];
    by_count(words, &LENGTHS, lengths.iter().copied())
}

fn by_training_frequency(evidence: &Evidence) -> Option<Parting> {
    let Truth::Items(relevant) = &evidence.truth else {
        return None;
    };
    let occurs = |item: &u32| {
        let occurrences = evidence.facts.occurrences.get(*item as usize);
        occurrences.copied().unwrap_or(0)
    };
    let most = |row| relevant.of(row).iter().map(occurs).max().unwrap_or(0);
    let words = [
        "training_frequency",
        "training frequency of the true item",
        "Rows by how often their true item, of several the most frequent one, occurs in the sequences that were trained on.",
    ];
    Some(by_count(
        words,
        &FREQUENCIES,
        (0..relevant.rows()).map(most),
    ))
}

fn by_popularity(evidence: &Evidence, occurrences: &[u64]) -> Option<Parting> {
    let Truth::Items(relevant) = &evidence.truth else {
        return None;
    };
    let bands = bands(occurrences);
    // An item beyond the end of the counts is in no history, so it is of the tail.
    let band = |item: &u32| bands.get(*item as usize).copied().unwrap_or(2);
    let least = |row| relevant.of(row).iter().map(band).min().unwrap_or(2);
    Some(Parting {
        key: "popularity".to_owned(),
        by: "popularity of the true item".to_owned(),
        text: "Rows by how often their true item occurs in all histories. Head: the most frequent items, up to half of \
               all occurrences; torso: the next, up to nine tenths; tail: the rest and what never occurs."
            .to_owned(),
        names: ["head", "torso", "tail"].map(str::to_owned).to_vec(),
        part_of_row: (0..relevant.rows()).map(least).collect(),
    })
}

/// Per item: 0 head, 1 torso, 2 tail. The items more frequent than it decide, so equally frequent items are never
/// parted and the order in which items were numbered does not show.
fn bands(occurrences: &[u64]) -> Vec<u32> {
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
            let before = u128::from(before_falling.get(more_frequent).copied().unwrap_or(before));
            match u128::from(total) {
                _ if *count == 0 => 2,
                total if before * 2 < total => 0,
                total if before * 10 < total * 9 => 1,
                _ => 2,
            }
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

    #[test]
    fn bounds_part_numbers_and_nulls_are_apart() {
        let values = [-1.0, 0.0, 9.9, 10.0, 1e9, f64::NAN].map(Some);
        let mut values = values.to_vec();
        values.push(None);
        let parting = by_bins("price", &[0.0, 10.0, 100.0], &values);
        assert_eq!(parting.names, ["< 0", "0–10", "10–100", "≥ 100", "null"]);
        assert_eq!(parting.part_of_row, [0, 1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn rare_values_share_a_part() {
        let names: Vec<String> = (0..30).map(|i| format!("v{i:02}")).collect();
        let mut values: Vec<Option<u32>> = (0..30).map(Some).collect();
        values.extend([Some(29), Some(29), None]);
        let parting = by_value("country", &names, &values);
        assert_eq!(parting.names.len(), 22);
        assert_eq!(parting.names[..2], ["v29", "v00"]);
        assert_eq!((parting.part_of_row[29], parting.part_of_row[28]), (0, 20));
        assert_eq!(parting.part_of_row[32], 21);
    }
}
