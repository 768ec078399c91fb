//! What each metric is: its definition and its source, and of the metrics that go by ranks their value on one row.
//!
//! A row of a ranking has a set of relevant items and a ranked list. All that these metrics need of them is [`Hits`]: at
//! which ranks the relevant items stand, and how many there are.

use mlbuild_action::{ClassMetric, Evaluate, Failure, Metric, NumberMetric, RankedMetric};

use crate::evidence::invalid;

/// What a report is of, as its metrics say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// Ranked lists of items.
    Ranking,
    /// One class a row.
    Classes,
    /// Any number of labels a row.
    Labels,
    /// A number a row.
    Numbers,
}

/// What the report is of.
///
/// # Errors
/// If its metrics do not go together, or not with its labels.
pub(crate) fn task(work: &Evaluate) -> Result<Task, Failure> {
    let of_labels = work.labels.len() > 1;
    let of = |metric: &Metric| match metric {
        Metric::Ranked { .. } => Task::Ranking,
        Metric::Classes(_) if of_labels => Task::Labels,
        Metric::Classes(_) => Task::Classes,
        Metric::Numbers(_) => Task::Numbers,
    };
    let first = work.metrics[0];
    let task = of(&first);
    if let Some(other) = work.metrics.iter().find(|metric| of(metric) != task) {
        let message =
            format!("`{first}` and `{other}` are metrics of different kinds of predictions");
        return Err(invalid("report::mixed-metrics", message, |d| {
            d.help("a report is of ranked lists, of classes, of labels or of numbers: declare one for each")
        }));
    }
    if of_labels && matches!(task, Task::Ranking | Task::Numbers) {
        let message = format!(
            "`{first}` is about one label column, and there are {}",
            work.labels.len()
        );
        return Err(invalid("report::many-labels", message, |d| d));
    }
    for metric in &work.metrics {
        let Metric::Classes(name) = metric else {
            continue;
        };
        let fits = if of_labels {
            name.of_labels()
        } else {
            name.of_classes()
        };
        if !fits {
            let (what, help) = if of_labels {
                (
                    "several labels",
                    "name one column in `label`, or measure it by `f1_macro`, `subset_accuracy` and others",
                )
            } else {
                (
                    "one class a row",
                    "list the label columns, all boolean: `label = [\"a\", \"b\"]`",
                )
            };
            let message = format!("`{metric}` is not defined for {what}");
            return Err(invalid("report::mixed-metrics", message, |d| d.help(help)));
        }
    }
    Ok(task)
}

/// Where the relevant items of one row stand in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hits<'a> {
    /// Ranks of the relevant items in the list, from 1, rising.
    pub ranks: &'a [u32],
    /// How many relevant items the row has, in the list or not; at least 1.
    pub relevant: usize,
}

/// The value on one row, from 0 to 1, of a metric that goes by ranks alone and is a mean over rows.
pub(crate) fn rank_value(name: RankedMetric, k: u32, hits: Hits<'_>) -> Option<f64> {
    let within = &hits.ranks[..hits.ranks.partition_point(|rank| *rank <= k)];
    let best = hits.relevant.min(k as usize);
    Some(match name {
        RankedMetric::HitRate => f64::from(u8::from(!within.is_empty())),
        RankedMetric::Recall => within.len() as f64 / hits.relevant as f64,
        RankedMetric::Precision => within.len() as f64 / f64::from(k),
        RankedMetric::Ndcg if best == 1 => within.first().map_or(0.0, |rank| discount(*rank)),
        RankedMetric::Ndcg => {
            let gained: f64 = within.iter().map(|rank| discount(*rank)).sum();
            let ideal: f64 = (1..=best as u32).map(discount).sum();
            gained / ideal
        }
        RankedMetric::Mrr => within.first().map_or(0.0, |rank| 1.0 / f64::from(*rank)),
        RankedMetric::Map => {
            let precisions = within
                .iter()
                .zip(1u32..)
                .map(|(rank, n)| f64::from(n) / f64::from(*rank));
            precisions.sum::<f64>() / best as f64
        }
        _ => return None,
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
    let (text, source) = match metric {
        Metric::Ranked { name, k } => ranked(name, k.get()),
        Metric::Classes(name) => classes(name),
        Metric::Numbers(name) => numbers(name),
    };
    Definition { text, source }
}

const DESHPANDE: &str =
    "Deshpande and Karypis 2004, Item-based top-N recommendation algorithms, ACM TOIS 22(1)";
const HERLOCKER: &str =
    "Herlocker et al. 2004, Evaluating collaborative filtering recommender systems, ACM TOIS 22(1)";
const RECLIST: &str =
    "Chia et al. 2022, Beyond NDCG: behavioral testing of recommender systems with RecList, WWW";
const SOKOLOVA: &str = "Sokolova and Lapalme 2009, A systematic analysis of performance measures for classification tasks, IP&M 45(4)";

fn ranked(name: RankedMetric, k: u32) -> (String, &'static str) {
    match name {
        RankedMetric::HitRate => (
            format!("Share of rows with a relevant item among the first {k} of the list."),
            DESHPANDE,
        ),
        RankedMetric::Recall => (
            format!(
                "Share of a row's relevant items that are among the first {k} of its list; mean over rows."
            ),
            HERLOCKER,
        ),
        RankedMetric::Precision => (
            format!("Share of the first {k} of a row's list that is relevant; mean over rows."),
            HERLOCKER,
        ),
        RankedMetric::Ndcg => (
            format!(
                "Sum of 1 / log2(rank + 1) over the relevant items among the first {k}, divided by the same sum for \
                 the best possible list; mean over rows. Finding the item high in the list counts more."
            ),
            "Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4)",
        ),
        RankedMetric::Mrr => (
            format!(
                "One over the rank of the first relevant item, 0 if it is not among the first {k}; mean over rows."
            ),
            "Voorhees 1999, The TREC-8 question answering track report, TREC-8",
        ),
        RankedMetric::Map => (
            format!(
                "Mean of the precision at the rank of each relevant item among the first {k}, divided by the number \
                 of relevant items or {k}, whichever is less; mean over rows."
            ),
            "Buckley and Voorhees 2000, Evaluating evaluation measure stability, SIGIR",
        ),
        RankedMetric::Coverage => (
            format!(
                "Share of the catalog's items that are among the first {k} of at least one list."
            ),
            "Ge, Delgado-Battenfeld and Jannach 2010, Beyond accuracy: evaluating recommender systems by coverage \
             and serendipity, RecSys",
        ),
        RankedMetric::Diversity => (
            format!(
                "Share of the pairs of the first {k} items of a list that are of different categories; mean over rows."
            ),
            "Ziegler et al. 2005, Improving recommendation lists through topic diversification, WWW",
        ),
        RankedMetric::Gini => (
            format!(
                "Gini coefficient of how often each item of the catalog is among the first {k} of a list: 0 if all \
                 are recommended equally often, near 1 if it is always the same few."
            ),
            "Fleder and Hosanagar 2009, Blockbuster culture's next rise or fall, Management Science 55(5)",
        ),
        RankedMetric::LessWrong => (
            format!(
                "Of the rows without a relevant item among the first {k}: share of those {k} that are of the category \
                 of a relevant item; mean over these rows."
            ),
            RECLIST,
        ),
        RankedMetric::Novelty => (
            format!(
                "Self-information of the first {k} items of a list, -log2 of an item's share of all occurrences in \
                 training (an item that never occurs counts as if it did once); mean over items and rows."
            ),
            "Zhou et al. 2010, Solving the apparent diversity-accuracy dilemma of recommender systems, PNAS 107(10)",
        ),
        RankedMetric::Popularity => (
            format!(
                "How often the first {k} items of a list occur in training; mean over items and rows. High figures \
                 show a bias to popular items."
            ),
            "Yin et al. 2012, Challenging the long tail recommendation, PVLDB 5(9)",
        ),
        RankedMetric::PriceGap => (
            format!(
                "Distance of the prices of the first {k} items from that of the last item of the history, as \
                 |log10(price / price)|: 0.3 is twice or half the price; mean over items and rows with a history."
            ),
            RECLIST,
        ),
        RankedMetric::QueryDistance => (
            format!(
                "Distance of the first {k} items from the last item of the history: one less the cosine of their \
                 vectors, or without vectors 1 for another category and 0 for the same; mean over items and rows \
                 with a history."
            ),
            RECLIST,
        ),
    }
}

fn classes(name: ClassMetric) -> (String, &'static str) {
    let (text, source) = match name {
        ClassMetric::Accuracy => ("Share of rows whose class is predicted.", SOKOLOVA),
        ClassMetric::BalancedAccuracy => (
            "Mean over the classes of the share of their rows that are predicted as such.",
            "Brodersen et al. 2010, The balanced accuracy and its posterior distribution, ICPR",
        ),
        ClassMetric::Brier => (
            "Mean over rows of the squared difference between the positive class's score and 1 if the row is of it, else \
             0; with more than two classes summed over the classes. Lower is better.",
            "Brier 1950, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78(1)",
        ),
        ClassMetric::Ece => (
            "Rows are parted by the highest of their scores into 15 bins of equal width; the difference between mean \
             score and share of right rows, weighted by the rows of each bin. Lower is better.",
            "Guo et al. 2017, On calibration of modern neural networks, ICML",
        ),
        ClassMetric::F1 => (
            "Harmonic mean of precision and recall of the positive class.",
            SOKOLOVA,
        ),
        ClassMetric::F1Macro => ("Mean over the classes or labels of their F1.", SOKOLOVA),
        ClassMetric::F1Micro => (
            "F1 of the decisions on all classes or labels taken together.",
            SOKOLOVA,
        ),
        ClassMetric::F1Weighted => (
            "Mean over the classes or labels of their F1, each weighted by how many rows are of it.",
            SOKOLOVA,
        ),
        ClassMetric::HammingLoss => (
            "Share of the decisions on all labels that are wrong. Lower is better.",
            "Tsoumakas and Katakis 2007, Multi-label classification: an overview, IJDWM 3(3)",
        ),
        ClassMetric::LogLoss => (
            "Mean over rows of the negative natural logarithm of the true class's score, scores kept 2.2e-16 away from 0 \
             and 1; for labels the mean over the decisions on each. Lower is better.",
            "Good 1952, Rational decisions, Journal of the Royal Statistical Society B 14(1)",
        ),
        ClassMetric::Mcc => (
            "Matthews correlation coefficient: the correlation of truth and prediction, for any number of classes; 0 if \
             one of them is always the same.",
            "Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient, \
             Computational Biology and Chemistry 28(5-6)",
        ),
        ClassMetric::PrAuc => (
            "Average precision: over the distinct scores of the positive class, the precision there times the recall \
             that it adds; with several classes or labels the mean over those that have rows.",
            "Davis and Goadrich 2006, The relationship between precision-recall and ROC curves, ICML",
        ),
        ClassMetric::Precision => (
            "Share of the rows predicted as positive that are; 0 if none is predicted so.",
            SOKOLOVA,
        ),
        ClassMetric::PrecisionMacro => (
            "Mean over the classes or labels of their precision.",
            SOKOLOVA,
        ),
        ClassMetric::PrecisionMicro => (
            "Precision of the decisions on all classes or labels taken together.",
            SOKOLOVA,
        ),
        ClassMetric::Recall => (
            "Share of the positive rows that are predicted so.",
            SOKOLOVA,
        ),
        ClassMetric::RecallMacro => ("Mean over the classes or labels of their recall.", SOKOLOVA),
        ClassMetric::RecallMicro => (
            "Recall of the decisions on all classes or labels taken together.",
            SOKOLOVA,
        ),
        ClassMetric::RocAuc => (
            "Probability that a positive row has a higher score than another one, ties counted half; with several classes \
             or labels the mean of each against the rest, of those that have rows.",
            "Hanley and McNeil 1982, The meaning and use of the area under a ROC curve, Radiology 143(1)",
        ),
        ClassMetric::SubsetAccuracy => (
            "Share of rows all of whose labels are predicted, and no others.",
            "Tsoumakas and Katakis 2007, Multi-label classification: an overview, IJDWM 3(3)",
        ),
    };
    (text.to_owned(), source)
}

fn numbers(name: NumberMetric) -> (String, &'static str) {
    const HYNDMAN: &str =
        "Hyndman and Koehler 2006, Another look at measures of forecast accuracy, IJF 22(4)";
    match name {
        NumberMetric::AbsoluteError(quantile) => (
            format!(
                "The absolute error that a share of {quantile} of the rows does not exceed, between two rows on the \
                 line from one to the other. Lower is better."
            ),
            "Hyndman and Fan 1996, Sample quantiles in statistical packages, The American Statistician 50(4)",
        ),
        NumberMetric::Mae => (
            "Mean absolute error: mean over rows of |prediction - truth|. Lower is better.".to_owned(),
            HYNDMAN,
        ),
        NumberMetric::Mape => (
            "Mean over rows of |prediction - truth| / |truth|, a share and not a percentage. Lower is better."
                .to_owned(),
            HYNDMAN,
        ),
        NumberMetric::MedianAe => (
            "Median of |prediction - truth| over rows. Lower is better.".to_owned(),
            HYNDMAN,
        ),
        NumberMetric::Pinball(quantile) => (
            format!(
                "Loss of a predicted {quantile} quantile: mean over rows of {quantile} times how far the truth is \
                 above the prediction, or of the rest of 1 times how far it is below. Lower is better."
            ),
            "Koenker and Bassett 1978, Regression quantiles, Econometrica 46(1)",
        ),
        NumberMetric::R2 => (
            "One less the sum of squared errors over that of the truth's distances from its mean: 1 is perfect, 0 no \
             better than the mean."
                .to_owned(),
            "Kvålseth 1985, Cautionary note about R², The American Statistician 39(4)",
        ),
        NumberMetric::Rmse => (
            "Root of the mean over rows of (prediction - truth)². Lower is better.".to_owned(),
            HYNDMAN,
        ),
    }
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
        let Ok(Metric::Ranked { name, k }) = metric.parse() else {
            panic!("{metric} is a metric of lists");
        };
        let value = rank_value(name, k.get(), hits).unwrap();
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
    fn the_specification_defines_every_metric_in_the_same_words() {
        let mut lines = String::new();
        for name in Metric::names() {
            let metric: Metric = name.parse().unwrap();
            let Definition { text, source } = definition(metric);
            let argument = name.split_once('@').map_or("", |(_, argument)| argument);
            assert!(text.contains(argument) && text.ends_with('.'), "{metric}");
            lines.push_str(&format!("- `{metric}`: {text} {source}.\n"));
        }
        let spec = include_str!("../../../spec/report.md");
        assert!(
            spec.contains(&lines),
            "`spec/report.md` must hold:\n{lines}"
        );
    }
}
