//! Models of tables: a column predicted from other columns of its row.
//!
//! Training reads its table into columns ([`read`]), learns the label's classes ([`label`]) and how features become
//! numbers ([`encoder`]) from that table alone, refuses what would make a bad model without a sign of it ([`leak`] and the
//! messages of the others), and fits. All that is needed to apply the model is stored with it ([`artifact`]), so `predict`
//! refuses a table that is not of its shape.
//!
//! Features are in order of name, whatever the order of columns in the table: that order is no identity. Sums have one
//! order whatever the threads.

pub(crate) mod artifact;
pub(crate) mod columns;
pub(crate) mod encoder;
mod figures;
mod label;
mod leak;
mod linear;
mod logistic;
mod matrix;
mod model;
mod predict;
mod read;
mod solve;
mod train;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_action::{Analysis, Failure, Flows, Origin, Schema, Tabular};

pub(crate) use predict::execute as predict;
pub(crate) use train::execute as train;

/// Whether a native model of tables has this name.
pub(crate) fn is_native(architecture: &str) -> bool {
    matches!(architecture, "constant" | "logistic" | "linear")
}

/// What training reads: labels and features of both tables; to compare these, the key and the time too.
pub(crate) fn reads_of_train(
    architecture: &str,
    tabular: &Tabular,
    inputs: &BTreeMap<String, Schema>,
) -> Result<Analysis, Failure> {
    let Some(input) = inputs.get("input") else {
        return Ok(Analysis::default());
    };
    let layout = columns::layout(architecture, tabular, input)?;
    let features = layout.features.iter().map(|feature| feature.name.as_str());
    let labels = layout.labels.iter().map(|label| label.name.as_str());
    let both: Vec<&str> = features.chain(labels).collect();
    let mut analysis = Analysis::default().reading("input", both.iter().copied());
    if let Some(validate) = inputs.get("validate") {
        train::same_table(&layout, validate)?;
        let compared = || tabular.key.iter().chain(&tabular.time);
        let compared = || compared().map(String::as_str);
        analysis = analysis
            .reading("input", compared())
            .reading("validate", both)
            .reading("validate", compared());
    }
    Ok(analysis)
}

/// What predicting reads, and which columns predictions are made of.
pub(crate) fn reads_of_predict(
    key: &[String],
    columns: Option<&[String]>,
    without: &[String],
    inputs: &BTreeMap<String, Schema>,
) -> Analysis {
    let Some(input) = inputs.get(INPUT) else {
        return Analysis::default();
    };
    let features: Vec<&str> = match columns {
        Some(columns) => columns.iter().map(String::as_str).collect(),
        None => input
            .columns
            .iter()
            .map(|field| field.name.as_str())
            .filter(|name| !without.iter().any(|other| other == name))
            .collect(),
    };
    let origins = |columns: &[&str]| -> BTreeSet<Origin> {
        let origin = |column: &&str| Origin {
            input: INPUT.to_owned(),
            column: (*column).to_owned(),
        };
        columns.iter().map(origin).collect()
    };
    let carried = key.iter().map(|name| (name.clone(), origins(&[name])));
    let predicted = predict::COLUMNS.map(|name| (name.to_owned(), origins(&features)));
    Analysis {
        flows: Some(Flows {
            columns: carried.chain(predicted).collect(),
            rows: BTreeSet::new(),
        }),
        ..Analysis::default()
    }
    .reading(INPUT, key.iter().map(String::as_str))
    .reading(INPUT, features)
}

const INPUT: &str = "input";
