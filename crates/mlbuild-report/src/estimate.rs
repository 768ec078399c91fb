//! Figures, with how far chance may have moved them.

use crate::resample::{deviation, interval};

/// A figure and its uncertainty.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Estimate {
    /// The figure itself; NaN if it has no meaning on these rows.
    pub value: f64,
    /// The standard deviation over resamples; `None` where they do not differ: a hit rate of 1 on three rows is not
    /// certain, but these rows cannot say how uncertain it is.
    pub standard_error: Option<f64>,
    /// The bootstrap interval.
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    /// A figure of which nothing more is known.
    #[cfg(test)]
    pub(crate) fn exact(value: f64) -> Self {
        Self {
            value,
            standard_error: None,
            interval: None,
        }
    }

    /// A figure, and what it is on resamples; see [`interval`].
    pub(crate) fn of(value: f64, resampled: &[f64], confidence: f64, is_shifted: bool) -> Self {
        let interval = interval(value, resampled, confidence, is_shifted);
        Self {
            value,
            standard_error: interval.and_then(|_| deviation(resampled)),
            interval: interval.filter(|_| value.is_finite()),
        }
    }
}
