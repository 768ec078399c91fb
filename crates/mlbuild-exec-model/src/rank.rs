//! The best items by score.

use std::cmp::Ordering;

/// An item's index with its score.
pub(crate) type Scored = (u32, f64);

/// The `k` items with the highest scores, best first, ties to the lower index; those of `seen` are left out.
pub(crate) fn best(scores: &[f64], seen: &[u32], k: usize, spare: &mut Vec<Scored>) -> Vec<Scored> {
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    spare.clear();
    spare.extend(
        scores
            .iter()
            .enumerate()
            .map(|(index, score)| (index as u32, *score))
            .filter(|(index, _)| seen.binary_search(index).is_err()),
    );
    if k < spare.len() {
        spare.select_nth_unstable_by(k, better_first);
        spare.truncate(k);
    }
    spare.sort_unstable_by(better_first);
    spare.clone()
}

/// Higher scores first, then lower indices: a total order over items.
pub(crate) fn better_first(a: &Scored, b: &Scored) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_index_and_lists_end_early() {
        let scores = [1.0, 3.0, 1.0, 2.0, 1.0];
        let best = |seen: &[u32], k| {
            let best = best(&scores, seen, k, &mut Vec::new());
            best.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert_eq!(best(&[], 3), [1, 3, 0]);
        assert_eq!(best(&[], 4), [1, 3, 0, 2]);
        assert_eq!(best(&[3, 1, 3], 9), [0, 2, 4]);
        assert_eq!(best(&[], 0), [0; 0]);
    }
}
