//! Names of metrics, as a manifest writes them: `ndcg@10`, `roc_auc`, `pinball@0.9`.
//!
//! What follows the `@` is a part of the metric: how many entries of a list count, or which quantile is meant.
//! `mlbuild-report` defines each with its source.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A metric, complete with what it takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Metric {
    /// Of ranked lists, over the first `k` entries of each.
    Ranked {
        /// What is measured.
        name: RankedMetric,
        /// How many entries of each list count.
        k: NonZeroU32,
    },
    /// Of predicted classes, or of the labels that a row was given.
    Classes(ClassMetric),
    /// Of predicted numbers.
    Numbers(NumberMetric),
}

/// What is measured of ranked lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RankedMetric {
    /// Share of the catalog that is recommended to anybody.
    Coverage,
    /// Share of pairs of a list's items that are of different categories.
    Diversity,
    /// How unequally the items are recommended.
    Gini,
    /// Share of lists that hold a relevant item.
    HitRate,
    /// On misses, share of the list that is of a relevant item's category.
    LessWrong,
    /// Average precision.
    Map,
    /// Reciprocal rank of the first relevant item.
    Mrr,
    /// Normalised discounted cumulative gain, binary relevance.
    Ndcg,
    /// Mean self-information of the items.
    Novelty,
    /// Average frequency in training of the items.
    Popularity,
    /// Share of the list that is relevant.
    Precision,
    /// How far the items' prices are from that of the query.
    PriceGap,
    /// How far the items are from the query.
    QueryDistance,
    /// Share of the relevant items that the list holds.
    Recall,
}

/// What is measured of classes and of labels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClassMetric {
    /// Share of rows with the right class.
    Accuracy,
    /// Mean over classes of their recall.
    BalancedAccuracy,
    /// Mean squared distance of the scores from the truth.
    Brier,
    /// Expected calibration error of the scores.
    Ece,
    /// F1 of the positive class.
    F1,
    /// Mean over classes of F1.
    F1Macro,
    /// F1 of all decisions together.
    F1Micro,
    /// Mean over classes of F1, weighted by their rows.
    F1Weighted,
    /// Share of decisions that are wrong.
    HammingLoss,
    /// Mean negative logarithm of the true class's score.
    LogLoss,
    /// Matthews correlation coefficient.
    Mcc,
    /// Area under the precision-recall curve: average precision.
    PrAuc,
    /// Precision of the positive class.
    Precision,
    /// Mean over classes of precision.
    PrecisionMacro,
    /// Precision of all decisions together.
    PrecisionMicro,
    /// Recall of the positive class.
    Recall,
    /// Mean over classes of recall.
    RecallMacro,
    /// Recall of all decisions together.
    RecallMicro,
    /// Area under the receiver operating characteristic.
    RocAuc,
    /// Share of rows whose labels are all right.
    SubsetAccuracy,
}

/// What is measured of numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NumberMetric {
    /// A quantile of the absolute error.
    AbsoluteError(Quantile),
    /// Mean absolute error.
    Mae,
    /// Mean absolute error relative to the truth.
    Mape,
    /// Median absolute error.
    MedianAe,
    /// Quantile loss.
    Pinball(Quantile),
    /// Coefficient of determination.
    R2,
    /// Root of the mean squared error.
    Rmse,
}

/// A quantile between 0 and 1, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Quantile(u16);

impl Quantile {
    /// The quantile as a share.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.share().fmt(f)
    }
}

/// Which figures are the good ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The higher, the better.
    Higher,
    /// The lower, the better.
    Lower,
    /// Neither: what is right depends on the use.
    Neither,
}

impl RankedMetric {
    /// Every metric, in the order of its name.
    pub const ALL: [Self; 14] = [
        Self::Coverage,
        Self::Diversity,
        Self::Gini,
        Self::HitRate,
        Self::LessWrong,
        Self::Map,
        Self::Mrr,
        Self::Ndcg,
        Self::Novelty,
        Self::Popularity,
        Self::Precision,
        Self::PriceGap,
        Self::QueryDistance,
        Self::Recall,
    ];

    /// The name as it is written in a manifest, before the `@`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coverage => "coverage",
            Self::Diversity => "diversity",
            Self::Gini => "gini",
            Self::HitRate => "hit_rate",
            Self::LessWrong => "less_wrong",
            Self::Map => "map",
            Self::Mrr => "mrr",
            Self::Ndcg => "ndcg",
            Self::Novelty => "novelty",
            Self::Popularity => "popularity",
            Self::Precision => "precision",
            Self::PriceGap => "price_gap",
            Self::QueryDistance => "query_distance",
            Self::Recall => "recall",
        }
    }
}

impl ClassMetric {
    /// Every metric, in the order of its name.
    pub const ALL: [Self; 20] = [
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::Brier,
        Self::Ece,
        Self::F1,
        Self::F1Macro,
        Self::F1Micro,
        Self::F1Weighted,
        Self::HammingLoss,
        Self::LogLoss,
        Self::Mcc,
        Self::PrAuc,
        Self::Precision,
        Self::PrecisionMacro,
        Self::PrecisionMicro,
        Self::Recall,
        Self::RecallMacro,
        Self::RecallMicro,
        Self::RocAuc,
        Self::SubsetAccuracy,
    ];

    /// The name as it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::Brier => "brier",
            Self::Ece => "ece",
            Self::F1 => "f1",
            Self::F1Macro => "f1_macro",
            Self::F1Micro => "f1_micro",
            Self::F1Weighted => "f1_weighted",
            Self::HammingLoss => "hamming_loss",
            Self::LogLoss => "log_loss",
            Self::Mcc => "mcc",
            Self::PrAuc => "pr_auc",
            Self::Precision => "precision",
            Self::PrecisionMacro => "precision_macro",
            Self::PrecisionMicro => "precision_micro",
            Self::Recall => "recall",
            Self::RecallMacro => "recall_macro",
            Self::RecallMicro => "recall_micro",
            Self::RocAuc => "roc_auc",
            Self::SubsetAccuracy => "subset_accuracy",
        }
    }

    /// Whether it is about classes of which a row has one.
    pub const fn of_classes(self) -> bool {
        !matches!(self, Self::HammingLoss | Self::SubsetAccuracy)
    }

    /// Whether it is about labels of which a row has any number.
    pub const fn of_labels(self) -> bool {
        matches!(
            self,
            Self::F1Macro
                | Self::F1Micro
                | Self::F1Weighted
                | Self::HammingLoss
                | Self::LogLoss
                | Self::PrAuc
                | Self::PrecisionMacro
                | Self::PrecisionMicro
                | Self::RecallMacro
                | Self::RecallMicro
                | Self::RocAuc
                | Self::SubsetAccuracy
        )
    }

    /// Whether it is about one of two classes, the positive one.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::F1 | Self::Precision | Self::Recall)
    }
}

impl NumberMetric {
    /// How each is written in a manifest, in that order; 0.9 stands for any quantile.
    pub const NAMES: [&'static str; 7] = [
        "absolute_error@0.9",
        "mae",
        "mape",
        "median_ae",
        "pinball@0.9",
        "r2",
        "rmse",
    ];
}

impl Metric {
    /// How many entries of each list count, if it is of lists.
    pub const fn k(self) -> Option<NonZeroU32> {
        match self {
            Self::Ranked { k, .. } => Some(k),
            Self::Classes(_) | Self::Numbers(_) => None,
        }
    }

    /// Whether a higher figure is a better one.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Ranked { name, .. } => match name {
                RankedMetric::Gini
                | RankedMetric::Popularity
                | RankedMetric::PriceGap
                | RankedMetric::QueryDistance => Direction::Neither,
                _ => Direction::Higher,
            },
            Self::Classes(
                ClassMetric::Brier
                | ClassMetric::Ece
                | ClassMetric::HammingLoss
                | ClassMetric::LogLoss,
            ) => Direction::Lower,
            Self::Classes(_) | Self::Numbers(NumberMetric::R2) => Direction::Higher,
            Self::Numbers(_) => Direction::Lower,
        }
    }

    /// Every metric as it is written in a manifest; 10 stands for any cut-off and 0.9 for any quantile.
    pub fn names() -> Vec<String> {
        let ranked = RankedMetric::ALL.map(|name| format!("{}@10", name.as_str()));
        let classes = ClassMetric::ALL.map(|name| name.as_str().to_owned());
        let numbers = NumberMetric::NAMES.map(str::to_owned);
        ranked.into_iter().chain(classes).chain(numbers).collect()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ranked { name, k } => write!(f, "{}@{k}", name.as_str()),
            Self::Classes(name) => f.write_str(name.as_str()),
            Self::Numbers(name) => match name {
                NumberMetric::AbsoluteError(quantile) => write!(f, "absolute_error@{quantile}"),
                NumberMetric::Mae => f.write_str("mae"),
                NumberMetric::Mape => f.write_str("mape"),
                NumberMetric::MedianAe => f.write_str("median_ae"),
                NumberMetric::Pinball(quantile) => write!(f, "pinball@{quantile}"),
                NumberMetric::R2 => f.write_str("r2"),
                NumberMetric::Rmse => f.write_str("rmse"),
            },
        }
    }
}

/// A text that is no metric.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownMetric(pub String);

impl fmt::Display for UnknownMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a metric; a metric is written `ndcg@10`, `roc_auc` or `pinball@0.9`",
            self.0
        )
    }
}

impl std::error::Error for UnknownMetric {}

impl FromStr for Quantile {
    type Err = UnknownMetric;

    /// Reads a share between 0 and 1 with at most three decimals, in its shortest form, so that a quantile has one name.
    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let unknown = || UnknownMetric(text.to_owned());
        let digits = text.strip_prefix("0.").ok_or_else(unknown)?;
        let number = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !number || digits.ends_with('0') {
            return Err(unknown());
        }
        format!("{digits:0<3}")
            .parse()
            .map(Self)
            .map_err(|_| unknown())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let unknown = || UnknownMetric(text.to_owned());
        let Some((name, argument)) = text.split_once('@') else {
            let classes = ClassMetric::ALL.into_iter().find(|m| m.as_str() == text);
            let numbers = match text {
                "mae" => Some(NumberMetric::Mae),
                "mape" => Some(NumberMetric::Mape),
                "median_ae" => Some(NumberMetric::MedianAe),
                "r2" => Some(NumberMetric::R2),
                "rmse" => Some(NumberMetric::Rmse),
                _ => None,
            };
            return classes
                .map(Self::Classes)
                .or(numbers.map(Self::Numbers))
                .ok_or_else(unknown);
        };
        let quantile = || argument.parse().map_err(|_| unknown());
        match name {
            "absolute_error" => return Ok(Self::Numbers(NumberMetric::AbsoluteError(quantile()?))),
            "pinball" => return Ok(Self::Numbers(NumberMetric::Pinball(quantile()?))),
            _ => {}
        }
        let name = RankedMetric::ALL
            .into_iter()
            .find(|m| m.as_str() == name)
            .ok_or_else(unknown)?;
        let k = argument.parse().map_err(|_| unknown())?;
        Ok(Self::Ranked { name, k })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for name in Metric::names() {
            let metric: Metric = name.parse().unwrap();
            assert_eq!(metric.to_string(), name);
        }
    }

    #[test]
    fn a_quantile_has_one_name() {
        for (text, share) in [("0.5", 0.5), ("0.95", 0.95), ("0.999", 0.999)] {
            let quantile: Quantile = text.parse().unwrap();
            assert_eq!(
                (quantile.share(), quantile.to_string()),
                (share, text.to_owned())
            );
        }
        for wrong in ["0", "1", "0.50", "0.0", "0.1234", ".5", "0.", "0.x", "5"] {
            assert!(wrong.parse::<Quantile>().is_err(), "{wrong}");
        }
    }
}
