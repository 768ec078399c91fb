//! How well a baseline ranks what came next: the figures of the worker's validation, by the same definitions.

use std::collections::BTreeMap;

use mlbuild_action::{Failure, Request};
use rayon::prelude::*;

use crate::baseline::Baseline;
use crate::catalog::Catalog;
use crate::rank::best;
use crate::sequences::{Lookup, read_labels, read_sequences};
use crate::stop_if_cancelled;
use crate::train::Columns;

const INPUT: &str = "validate";

/// How many places of a list count.
const PLACES: usize = 10;

/// Ranks the label of every row of `validate` in the whole catalog, the row's own items left out; no figures without that
/// table. Means over its rows: `valid_hit_rate@10`, `valid_mrr@10`, `valid_ndcg@10`.
///
/// # Errors
/// Columns that are missing or hold other items; [`Failure::Cancelled`].
pub(crate) fn validate(
    baseline: &dyn Baseline,
    catalog: &Catalog,
    Columns { sequence, label }: Columns<'_>,
    request: &Request<'_>,
) -> Result<BTreeMap<String, f64>, Failure> {
    let Some(input) = request.inputs.get(INPUT) else {
        return Ok(BTreeMap::new());
    };
    let lookup = Lookup::In(catalog);
    let sequences = read_sequences(INPUT, input, sequence, lookup, request.cancel)?;
    let labels = read_labels(INPUT, input, label, catalog, request.cancel)?;
    let place = |(scores, spare): &mut (Vec<f64>, Vec<_>), row: usize| {
        stop_if_cancelled(request.cancel)?;
        let seen = sequences.get(row);
        baseline.score(seen, scores);
        let best = best(scores, seen, PLACES, spare);
        Ok(best.iter().position(|(item, _)| *item == labels[row]))
    };
    let places = (0..labels.len())
        .into_par_iter()
        .map_init(|| (vec![0.0; catalog.len()], Vec::new()), place);
    let places: Vec<Option<usize>> = places.collect::<Result<_, Failure>>()?;
    // In the order of the rows: sums of floats depend on it.
    let mean = |gain: &dyn Fn(f64) -> f64| {
        let gains = places
            .iter()
            .flatten()
            .map(|place| gain(*place as f64 + 1.0));
        gains.sum::<f64>() / (places.len().max(1) as f64)
    };
    Ok(BTreeMap::from([
        ("valid_hit_rate@10".to_owned(), mean(&|_| 1.0)),
        ("valid_mrr@10".to_owned(), mean(&f64::recip)),
        (
            "valid_ndcg@10".to_owned(),
            mean(&|rank| (rank + 1.0).log2().recip()),
        ),
    ]))
}
