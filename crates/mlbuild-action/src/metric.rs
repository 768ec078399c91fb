//! Names of ranking metrics, with their cut-off: `ndcg@10`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A metric over the first `k` entries of each ranked list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Metric {
    /// What is measured.
    pub name: MetricName,
    /// How many entries of each list count.
    pub k: NonZeroU32,
}

/// What a [`Metric`] measures. `mlbuild-report` defines each with its source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MetricName {
    /// Share of lists that hold a relevant item.
    HitRate,
    /// Share of the relevant items that the list holds.
    Recall,
    /// Share of the list that is relevant.
    Precision,
    /// Normalised discounted cumulative gain, binary relevance.
    Ndcg,
    /// Reciprocal rank of the first relevant item.
    Mrr,
    /// Average precision.
    Map,
    /// Share of the catalog that is recommended to anybody.
    Coverage,
}

impl MetricName {
    /// Every metric, in the order of its name.
    pub const ALL: [Self; 7] = [
        Self::Coverage,
        Self::HitRate,
        Self::Map,
        Self::Mrr,
        Self::Ndcg,
        Self::Precision,
        Self::Recall,
    ];

    /// The name as it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HitRate => "hit_rate",
            Self::Recall => "recall",
            Self::Precision => "precision",
            Self::Ndcg => "ndcg",
            Self::Mrr => "mrr",
            Self::Map => "map",
            Self::Coverage => "coverage",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name.as_str(), self.k)
    }
}

/// A text that is no metric.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownMetric(pub String);

impl fmt::Display for UnknownMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a metric; a metric is written `ndcg@10`",
            self.0
        )
    }
}

impl std::error::Error for UnknownMetric {}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let unknown = || UnknownMetric(text.to_owned());
        let (name, k) = text.split_once('@').ok_or_else(unknown)?;
        let name = MetricName::ALL
            .into_iter()
            .find(|m| m.as_str() == name)
            .ok_or_else(unknown)?;
        let k = k.parse().map_err(|_| unknown())?;
        Ok(Self { name, k })
    }
}
