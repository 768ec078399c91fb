//! Baselines: models that count. They train in milliseconds, and what does not beat them is not worth serving
//! (Dacrema, Cremonesi and Jannach, *Are we really making much progress?*, RecSys 2019).
//!
//! A baseline gives every item of the catalog a score (f64) for one sequence. Scores and files are the same whatever
//! the threads: counts are integers, and each floating-point sum has one order.

mod item_knn;
mod markov;
mod popularity;

use std::collections::BTreeMap;

use mlbuild_action::{Cancel, Diagnostic, Failure, Value};

use crate::sequences::Sequences;
use crate::tensors::{Tensor, TensorFile};

/// Whether a native baseline has this name.
pub(crate) fn is_baseline(architecture: &str) -> bool {
    matches!(architecture, "popularity" | "markov" | "item_knn")
}

/// A trained baseline.
pub(crate) trait Baseline: Send + Sync {
    /// What the file of the model holds.
    fn tensors(&self) -> Vec<Tensor>;

    /// Scores every item after a sequence (oldest item first, may be empty) into `scores`, `[items]`.
    fn score(&self, sequence: &[u32], scores: &mut [f64]);
}

/// Trains a baseline on sequences over a catalog of `items` items.
///
/// # Errors
/// A parameter that is missing or out of range; [`Failure::Cancelled`].
pub(crate) fn train(
    architecture: &str,
    params: &BTreeMap<String, Value>,
    sequences: &Sequences,
    items: usize,
    cancel: &Cancel,
) -> Result<Box<dyn Baseline>, Failure> {
    Ok(match architecture {
        "popularity" => Box::new(popularity::Popularity::train(sequences, items)),
        "markov" => Box::new(markov::Markov::train(sequences, items)),
        _ => Box::new(item_knn::ItemKnn::train(
            sequences,
            items,
            positive(params, "neighbours")?,
            positive(params, "last")?,
            cancel,
        )?),
    })
}

/// Reads a baseline that [`Baseline::tensors`] described.
///
/// # Errors
/// Tensors that are missing or not as `spec/model.md` says.
pub(crate) fn read(
    architecture: &str,
    params: &BTreeMap<String, Value>,
    file: &TensorFile,
    items: usize,
) -> Result<Box<dyn Baseline>, Failure> {
    Ok(match architecture {
        "popularity" => Box::new(popularity::Popularity::read(file, items)?),
        "markov" => Box::new(markov::Markov::read(file, items)?),
        _ => Box::new(item_knn::ItemKnn::read(
            file,
            items,
            positive(params, "last")?,
        )?),
    })
}

fn positive(params: &BTreeMap<String, Value>, name: &str) -> Result<usize, Failure> {
    let value = params.get(name);
    let positive = value
        .and_then(Value::as_i64)
        .and_then(|value| usize::try_from(value).ok())
        .filter(|value| *value > 0);
    positive.ok_or_else(|| {
        let found = value.map_or("not given".to_owned(), |value| format!("`{value}`"));
        Failure::Invalid(Diagnostic::error(
            "model::param",
            format!("parameter `{name}` is {found}; it is an integer of 1 or more"),
        ))
    })
}

/// How often each item occurs.
fn counts(sequences: &Sequences, items: usize) -> Vec<u64> {
    let mut counts = vec![0; items];
    for item in &sequences.items {
        counts[*item as usize] += 1;
    }
    counts
}
