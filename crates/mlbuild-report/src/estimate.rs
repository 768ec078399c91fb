//! Means over rows, with how far chance may have moved them.
//!
//! The interval is the normal approximation: mean ± 1.96 standard errors, the standard error being the sample standard
//! deviation (n - 1) over √n. It treats rows as independent draws and says nothing about how a model would vary with
//! its seed. Sums run in the order of the rows of truth, so the bits are the same everywhere.

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A figure, and for a mean its uncertainty.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Estimate {
    /// The figure itself.
    pub value: f64,
    /// Standard error of the mean; `None` where the figure is no mean, or one of values that do not differ: a hit rate
    /// of 1 on three rows is not certain, but these rows cannot say how uncertain it is.
    pub standard_error: Option<f64>,
}

impl Estimate {
    /// A figure that is no mean.
    pub(crate) fn exact(value: f64) -> Self {
        Self {
            value,
            standard_error: None,
        }
    }

    /// The mean of `values`, NaN if there are none. Walks them twice.
    pub(crate) fn mean(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (mut rows, mut sum) = (0u64, 0.0);
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.clone() {
            rows += 1;
            sum += value;
            least = least.min(value);
            greatest = greatest.max(value);
        }
        let mean = sum / rows as f64;
        let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
        let standard_error =
            (least < greatest).then(|| (squares / (rows - 1) as f64).sqrt() / (rows as f64).sqrt());
        Self {
            value: mean,
            standard_error,
        }
    }

    /// Half the width of the 95 % interval.
    pub(crate) fn half_width(&self) -> Option<f64> {
        self.standard_error.map(|error| Z * error)
    }

    /// The 95 % interval.
    pub(crate) fn interval(&self) -> Option<(f64, f64)> {
        self.half_width()
            .map(|half| (self.value - half, self.value + half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_its_standard_error() {
        // Mean 0.25; squares 3 * 0.0625 + 0.5625 = 0.75; variance 0.25; standard error 0.5 / 2.
        let estimate = Estimate::mean([0.0, 1.0, 0.0, 0.0].into_iter());
        assert_eq!(
            estimate,
            Estimate {
                value: 0.25,
                standard_error: Some(0.25)
            }
        );
        let (low, high) = estimate.interval().unwrap();
        assert!((low + 0.239_991).abs() < 1e-6 && (high - 0.739_991).abs() < 1e-6);
    }

    #[test]
    fn rows_that_do_not_differ_have_no_standard_error_and_none_no_mean() {
        assert_eq!(Estimate::mean([0.5].into_iter()), Estimate::exact(0.5));
        assert_eq!(Estimate::mean([1.0; 3].into_iter()), Estimate::exact(1.0));
        assert!(Estimate::mean(std::iter::empty()).value.is_nan());
    }
}
