//! Figures of a fit: how far predictions are from the truth.

use std::collections::BTreeMap;

/// Sums over rows, in their order.
#[derive(Default)]
pub(crate) struct Classified {
    rows: usize,
    log_loss: f64,
    right: usize,
}

impl Classified {
    /// Adds a row: the probability given to the true class, and whether no class had more.
    pub(crate) fn add(&mut self, probability: f64, right: bool) {
        self.rows += 1;
        // As scikit-learn does, so that one certain mistake does not make the figure infinite.
        self.log_loss -= probability.max(f64::EPSILON).ln();
        self.right += usize::from(right);
    }

    pub(crate) fn figures(&self, prefix: &str, figures: &mut BTreeMap<String, f64>) {
        let rows = self.rows as f64;
        figures.insert(format!("{prefix}log_loss"), self.log_loss / rows);
        figures.insert(format!("{prefix}accuracy"), self.right as f64 / rows);
    }
}

/// RMSE, MAE and R2 of predictions.
pub(crate) fn regression(
    prefix: &str,
    truth: &[f64],
    predicted: &[f64],
    figures: &mut BTreeMap<String, f64>,
) {
    let rows = truth.len() as f64;
    let errors = || {
        truth
            .iter()
            .zip(predicted)
            .map(|(truth, found)| truth - found)
    };
    let squares: f64 = errors().map(|error| error * error).sum();
    let absolute: f64 = errors().map(f64::abs).sum();
    let mean = truth.iter().sum::<f64>() / rows;
    let spread: f64 = truth.iter().map(|value| (value - mean).powi(2)).sum();
    figures.insert(format!("{prefix}rmse"), (squares / rows).sqrt());
    figures.insert(format!("{prefix}mae"), absolute / rows);
    if spread > 0.0 {
        figures.insert(format!("{prefix}r2"), 1.0 - squares / spread);
    }
}
