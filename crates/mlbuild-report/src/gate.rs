//! Gates: whether a model's figure is good enough, and by how much.

use mlbuild_action::{Bound, Gate};

/// A gate, judged.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct GateOutcome {
    /// The gate.
    pub gate: Gate,
    /// The model's figure.
    pub value: f64,
    /// What it was compared with: the bound, or the other model's figure.
    pub reference: f64,
    /// How far the figure is on the good side; negative on the bad one, NaN if either is.
    pub margin: f64,
    /// Whether the gate holds.
    pub passed: bool,
}

impl GateOutcome {
    /// Judges `gate` on the model's figure; `other` is that of the model that [`Bound::Above`] names. NaN never
    /// passes, as it compares false.
    pub(crate) fn new(gate: &Gate, value: f64, other: Option<f64>) -> Self {
        let (reference, margin, passed) = match &gate.bound {
            Bound::Min(min) => (*min, value - min, value >= *min),
            Bound::Max(max) => (*max, max - value, value <= *max),
            Bound::Above(_) => {
                let other = other.unwrap_or(f64::NAN);
                (other, value - other, value > other)
            }
        };
        Self {
            gate: gate.clone(),
            value,
            reference,
            margin,
            passed,
        }
    }

    /// The outcome in words, with as many digits as tell value and reference apart (at least four):
    /// `0.1712, below min 0.1800 by 0.0088`.
    pub(crate) fn verdict(&self) -> String {
        let digits = self.digits();
        let (value, reference) = (self.value, self.reference);
        let compared = match &self.gate.bound {
            Bound::Min(_) => format!("min {reference:.digits$}"),
            Bound::Max(_) => format!("max {reference:.digits$}"),
            Bound::Above(other) => format!("{other} {reference:.digits$}"),
        };
        let relation = if self.margin.is_nan() {
            return format!("{value:.digits$}, not comparable with {compared}");
        } else if value > reference {
            "above"
        } else if value < reference {
            "below"
        } else {
            return format!("{value:.digits$}, equal to {compared}");
        };
        format!(
            "{value:.digits$}, {relation} {compared} by {:.digits$}",
            self.margin.abs()
        )
    }

    /// The failure as one line: `recs hit_rate@10 = 0.1712, below min 0.1800 by 0.0088`.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} {} = {}",
            self.gate.model,
            self.gate.metric,
            self.verdict()
        )
    }

    fn digits(&self) -> usize {
        let (a, b) = (self.value, self.reference);
        (4..17)
            .find(|&n| a == b || format!("{a:.n$}") != format!("{b:.n$}"))
            .unwrap_or(17)
    }
}

/// What a gate demands, in words: `at least 0.1800`.
pub(crate) fn demand(gate: &Gate) -> String {
    match &gate.bound {
        Bound::Min(min) => format!("at least {min}"),
        Bound::Max(max) => format!("at most {max}"),
        Bound::Above(other) => format!("above {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bound: Bound, value: f64, other: Option<f64>) -> (bool, String) {
        let gate = Gate {
            model: "recs".to_owned(),
            metric: "hit_rate@10".parse().unwrap(),
            bound,
        };
        let outcome = GateOutcome::new(&gate, value, other);
        (outcome.passed, outcome.line())
    }

    #[track_caller]
    fn check(bound: Bound, value: f64, other: Option<f64>, passed: bool, line: &str) {
        let line = format!("recs hit_rate@10 = {line}");
        assert_eq!(judge(bound, value, other), (passed, line));
    }

    #[test]
    fn a_minimum_and_a_maximum_hold_at_equality() {
        check(
            Bound::Min(0.18),
            0.1712,
            None,
            false,
            "0.1712, below min 0.1800 by 0.0088",
        );
        check(
            Bound::Min(0.18),
            0.18,
            None,
            true,
            "0.1800, equal to min 0.1800",
        );
        check(
            Bound::Min(0.18),
            0.2,
            None,
            true,
            "0.2000, above min 0.1800 by 0.0200",
        );
        check(
            Bound::Max(0.25),
            0.3,
            None,
            false,
            "0.3000, above max 0.2500 by 0.0500",
        );
        check(
            Bound::Max(0.25),
            0.25,
            None,
            true,
            "0.2500, equal to max 0.2500",
        );
        check(
            Bound::Max(0.25),
            0.2,
            None,
            true,
            "0.2000, below max 0.2500 by 0.0500",
        );
    }

    #[test]
    fn another_model_must_be_beaten_strictly() {
        let above = || Bound::Above("popularity".to_owned());
        check(
            above(),
            0.2,
            Some(0.1),
            true,
            "0.2000, above popularity 0.1000 by 0.1000",
        );
        check(
            above(),
            0.2,
            Some(0.2),
            false,
            "0.2000, equal to popularity 0.2000",
        );
        check(
            above(),
            0.1,
            Some(0.2),
            false,
            "0.1000, below popularity 0.2000 by 0.1000",
        );
    }

    #[test]
    fn nan_never_passes() {
        let nan = f64::NAN;
        check(
            Bound::Min(0.1),
            nan,
            None,
            false,
            "NaN, not comparable with min 0.1000",
        );
        check(
            Bound::Max(0.1),
            nan,
            None,
            false,
            "NaN, not comparable with max 0.1000",
        );
        check(
            Bound::Min(nan),
            0.5,
            None,
            false,
            "0.5000, not comparable with min NaN",
        );
        let above = || Bound::Above("markov".to_owned());
        check(
            above(),
            nan,
            Some(0.1),
            false,
            "NaN, not comparable with markov 0.1000",
        );
        check(
            above(),
            0.5,
            Some(nan),
            false,
            "0.5000, not comparable with markov NaN",
        );
    }

    #[test]
    fn a_narrow_miss_is_told_apart() {
        check(
            Bound::Min(0.18),
            0.179_999,
            None,
            false,
            "0.179999, below min 0.180000 by 0.000001",
        );
    }
}
