//! Predicted numbers.

use arrow::array::Array;
use mlbuild_action::{Failure, NumberMetric};

use crate::classes::PREDICTION;
use crate::evidence::{invalid, null};
use crate::parts::{Reading, in_order};
use crate::statistic::{Quantiles, Sample, Statistic, Sums, mean};

/// Reads the numbers that one model predicts, in the order of truth.
///
/// # Errors
/// A column that is not there or holds something else, nulls, what is not finite.
pub(crate) fn read(reading: &Reading<'_>, rows: usize) -> Result<Vec<f64>, Failure> {
    let name = reading.source.name();
    reading.source.must_be_numeric(PREDICTION)?;
    let mut parts = reading.parts(Vec::new, |taken, batch, rows| {
        let values = batch.numbers(PREDICTION)?;
        for index in (0..rows.len()).filter(|index| rows[*index].is_some()) {
            if values.is_null(index) {
                return Err(null(name, PREDICTION));
            }
            taken.push(finite(values.value(index), name, PREDICTION)?);
        }
        Ok(())
    })?;
    let place = reading.join(&mut parts, rows)?;
    let values = parts.into_iter().flat_map(|part| part.taken).collect();
    Ok(in_order(values, 1, place.as_deref()))
}

/// `value`, if it is a number.
///
/// # Errors
/// If it is not finite.
pub(crate) fn finite(value: f64, input: &str, column: &str) -> Result<f64, Failure> {
    if value.is_finite() {
        return Ok(value);
    }
    let message = format!("column `{column}` of `{input}` holds {value}");
    Err(invalid("report::not-finite", message, |d| d))
}

/// Numbers of one model against the truth.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<'a> {
    pub truth: &'a [f64],
    pub model: &'a [f64],
}

impl<'a> Numbers<'a> {
    /// How far the prediction is above the truth.
    pub(crate) fn error(&self, row: usize) -> f64 {
        self.model[row] - self.truth[row]
    }

    /// The value on one row of a metric that is a mean over rows.
    pub(crate) fn row_value(&self, metric: NumberMetric, row: usize) -> Option<f64> {
        let error = self.error(row);
        Some(match metric {
            NumberMetric::Mae => error.abs(),
            NumberMetric::Mape => error.abs() / self.truth[row].abs(),
            NumberMetric::Pinball(quantile) => {
                let share = quantile.share();
                (-error * share).max(error * (1.0 - share))
            }
            _ => return None,
        })
    }

    /// The figure of `metric` over the rows of `sample`.
    pub(crate) fn statistic(
        &self,
        metric: NumberMetric,
        sample: &Sample,
    ) -> Box<dyn Statistic + 'a> {
        let this = *self;
        let absolute = |share| Quantiles::new(sample, share, |row| this.error(row).abs());
        match metric {
            NumberMetric::Mae | NumberMetric::Mape | NumberMetric::Pinball(_) => {
                mean(sample, |row| {
                    self.row_value(metric, row).unwrap_or(f64::NAN)
                })
            }
            NumberMetric::MedianAe => Box::new(absolute(0.5)),
            NumberMetric::AbsoluteError(quantile) => Box::new(absolute(quantile.share())),
            NumberMetric::Rmse => {
                let add = |row: usize, sums: &mut [f64]| {
                    sums[0] += this.error(row).powi(2);
                    sums[1] += 1.0;
                };
                Box::new(Sums::new(sample, 2, add, |sums| (sums[0] / sums[1]).sqrt()))
            }
            NumberMetric::R2 => {
                // Around the mean of all rows, so that squares of large numbers do not hide what differs.
                let rows = sample.len() as f64;
                let center = sample.iter().map(|(row, _)| this.truth[row]).sum::<f64>() / rows;
                let add = |row: usize, sums: &mut [f64]| {
                    let from_center = this.truth[row] - center;
                    sums[0] += this.error(row).powi(2);
                    sums[1] += from_center;
                    sums[2] += from_center.powi(2);
                    sums[3] += 1.0;
                };
                Box::new(Sums::new(sample, 4, add, |sums| {
                    let spread = sums[2] - sums[1] * sums[1] / sums[3];
                    // Truth that does not differ leaves nothing to explain.
                    if spread > 0.0 {
                        1.0 - sums[0] / spread
                    } else {
                        f64::NAN
                    }
                }))
            }
        }
    }
}
