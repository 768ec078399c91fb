//! What each metric is: its value on one row, its definition and its source.
//!
//! A row has a set of relevant items and a ranked list. All that a metric needs of them is [`Hits`]: at which ranks
//! the relevant items stand, and how many there are. Today a row has one relevant item; the arithmetic is for sets.

use mlbuild_action::{Metric, MetricName};

/// Where the relevant items of one row stand in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hits<'a> {
    /// Ranks of the relevant items in the list, from 1, rising.
    pub ranks: &'a [u32],
    /// How many relevant items the row has, in the list or not; at least 1.
    pub relevant: usize,
}

/// The value of `metric` on one row, from 0 to 1; `None` if it is not a mean over rows (coverage).
pub(crate) fn row_value(metric: Metric, hits: Hits<'_>) -> Option<f64> {
    let k = metric.k.get();
    let within = &hits.ranks[..hits.ranks.partition_point(|rank| *rank <= k)];
    let best = hits.relevant.min(k as usize);
    Some(match metric.name {
        MetricName::HitRate => f64::from(u8::from(!within.is_empty())),
        MetricName::Recall => within.len() as f64 / hits.relevant as f64,
        MetricName::Precision => within.len() as f64 / f64::from(k),
        MetricName::Ndcg => {
            let gained: f64 = within.iter().map(|rank| discount(*rank)).sum();
            let ideal: f64 = (1..=best as u32).map(discount).sum();
            gained / ideal
        }
        MetricName::Mrr => within.first().map_or(0.0, |rank| 1.0 / f64::from(*rank)),
        MetricName::Map => {
            let precisions = within
                .iter()
                .zip(1u32..)
                .map(|(rank, n)| f64::from(n) / f64::from(*rank));
            precisions.sum::<f64>() / best as f64
        }
        MetricName::Coverage => return None,
    })
}

fn discount(rank: u32) -> f64 {
    1.0 / (f64::from(rank) + 1.0).log2()
}

/// What `metric` means, in one sentence, and where it comes from.
pub(crate) struct Definition {
    /// One sentence, without its source.
    pub text: String,
    /// Who defined it, and where.
    pub source: &'static str,
}

/// The definition of `metric`.
pub(crate) fn definition(metric: Metric) -> Definition {
    let k = metric.k;
    let (text, source) = match metric.name {
        MetricName::HitRate => (
            format!("Share of rows with a relevant item among the first {k} of the list."),
            "Deshpande and Karypis 2004, Item-based top-N recommendation algorithms, ACM TOIS 22(1)",
        ),
        MetricName::Recall => (
            format!(
                "Share of a row's relevant items that are among the first {k} of its list; mean over rows."
            ),
            "Herlocker et al. 2004, Evaluating collaborative filtering recommender systems, ACM TOIS 22(1)",
        ),
        MetricName::Precision => (
            format!("Share of the first {k} of a row's list that is relevant; mean over rows."),
            "Herlocker et al. 2004, Evaluating collaborative filtering recommender systems, ACM TOIS 22(1)",
        ),
        MetricName::Ndcg => (
            format!(
                "Sum of 1 / log2(rank + 1) over the relevant items among the first {k}, divided by the same sum for \
                 the best possible list; mean over rows. Finding the item high in the list counts more."
            ),
            "Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4)",
        ),
        MetricName::Mrr => (
            format!(
                "One over the rank of the first relevant item, 0 if it is not among the first {k}; mean over rows."
            ),
            "Voorhees 1999, The TREC-8 question answering track report, TREC-8",
        ),
        MetricName::Map => (
            format!(
                "Mean of the precision at the rank of each relevant item among the first {k}, divided by the number \
                 of relevant items or {k}, whichever is less; mean over rows."
            ),
            "Buckley and Voorhees 2000, Evaluating evaluation measure stability, SIGIR",
        ),
        MetricName::Coverage => (
            format!(
                "Share of the catalog's items that are among the first {k} of at least one list."
            ),
            "Ge, Delgado-Battenfeld and Jannach 2010, Beyond accuracy: evaluating recommender systems by coverage \
             and serendipity, RecSys",
        ),
    };
    Definition { text, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One relevant item at rank 3.
    const THIRD: Hits<'_> = Hits {
        ranks: &[3],
        relevant: 1,
    };
    /// Three relevant items, two of them in the list, at ranks 2 and 5.
    const TWO_OF_THREE: Hits<'_> = Hits {
        ranks: &[2, 5],
        relevant: 3,
    };
    const NONE: Hits<'_> = Hits {
        ranks: &[],
        relevant: 2,
    };

    fn check(metric: &str, hits: Hits<'_>, expected: f64) {
        let value = row_value(metric.parse().unwrap(), hits).unwrap();
        assert!(
            (value - expected).abs() < 1e-12,
            "{metric} of {hits:?}: {value}, not {expected}"
        );
    }

    #[test]
    fn one_relevant_item_at_rank_three() {
        check("hit_rate@10", THIRD, 1.0);
        check("hit_rate@3", THIRD, 1.0);
        check("hit_rate@2", THIRD, 0.0);
        check("recall@10", THIRD, 1.0);
        check("precision@10", THIRD, 0.1);
        check("precision@3", THIRD, 1.0 / 3.0);
        // 1 / log2(4) over an ideal of 1 / log2(2).
        check("ndcg@10", THIRD, 0.5);
        check("ndcg@2", THIRD, 0.0);
        check("mrr@10", THIRD, 1.0 / 3.0);
        check("mrr@2", THIRD, 0.0);
        check("map@10", THIRD, 1.0 / 3.0);
    }

    #[test]
    fn two_of_three_relevant_items() {
        check("hit_rate@5", TWO_OF_THREE, 1.0);
        check("recall@5", TWO_OF_THREE, 2.0 / 3.0);
        check("recall@4", TWO_OF_THREE, 1.0 / 3.0);
        check("precision@5", TWO_OF_THREE, 0.4);
        // (1/log2(3) + 1/log2(6)) / (1/log2(2) + 1/log2(3) + 1/log2(4))
        //   = (0.630929753571 + 0.386852807235) / (1 + 0.630929753571 + 0.5) = 0.477624073...
        check("ndcg@5", TWO_OF_THREE, 1.017782560806 / 2.130929753571);
        // Cut at 2, the ideal list holds two relevant items: 0.630929753571 / 1.630929753571.
        check("ndcg@2", TWO_OF_THREE, 0.386852807234542);
        check("mrr@5", TWO_OF_THREE, 0.5);
        // (1/2 + 2/5) / 3
        check("map@5", TWO_OF_THREE, 0.3);
        // (1/2) / min(3, 2)
        check("map@2", TWO_OF_THREE, 0.25);
    }

    #[test]
    fn nothing_found_is_zero() {
        for metric in [
            "hit_rate@3",
            "recall@3",
            "precision@3",
            "ndcg@3",
            "mrr@3",
            "map@3",
        ] {
            check(metric, NONE, 0.0);
        }
    }

    #[test]
    fn coverage_is_no_mean_over_rows() {
        assert_eq!(row_value("coverage@3".parse().unwrap(), THIRD), None);
    }

    #[test]
    fn the_specification_defines_every_metric_in_the_same_words() {
        let mut lines = String::new();
        for name in MetricName::ALL {
            let metric: Metric = format!("{}@10", name.as_str()).parse().unwrap();
            let Definition { text, source } = definition(metric);
            assert!(text.contains("10") && text.ends_with('.'), "{metric}");
            lines.push_str(&format!("- `{metric}`: {text} {source}.\n"));
        }
        let spec = include_str!("../../../spec/report.md");
        assert!(
            spec.contains(&lines),
            "`spec/report.md` must hold:\n{lines}"
        );
    }
}
