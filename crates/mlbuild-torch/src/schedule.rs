//! The learning rate of each step.

use std::f64::consts::PI;

/// How the learning rate falls over the epochs; within an epoch it is the same, once the warm-up is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// In equal steps towards 0.
    Linear,
    /// Along half a cosine towards 0 (Loshchilov and Hutter, "SGDR", 2017, without restarts).
    Cosine,
}

impl Schedule {
    /// The share of the learning rate that is left when the share `done` of all epochs is over.
    pub fn factor(self, done: f64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - done,
            Schedule::Cosine => (1.0 + (PI * done).cos()) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_fall_from_one_towards_zero() {
        let at = |schedule: Schedule| [0.0, 0.25, 0.5].map(|done| schedule.factor(done));
        assert_eq!(at(Schedule::Constant), [1.0; 3]);
        assert_eq!(at(Schedule::Linear), [1.0, 0.75, 0.5]);
        let [start, quarter, half] = at(Schedule::Cosine);
        assert_eq!(start, 1.0);
        assert!((quarter - 0.853_553).abs() < 1e-6 && (half - 0.5).abs() < 1e-12);
    }
}
