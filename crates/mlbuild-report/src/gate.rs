//! Gates: whether a model's figure is good enough, and by how much.
//!
//! A gate may ask for a confidence: then not the figure alone must be on the good side but its whole interval, of another
//! model's the interval of the paired difference. NaN never passes, as it compares false, and neither does an interval that
//! the rows cannot give.

use mlbuild_action::{Bound, Evaluate, Failure, Gate, GateSlice, Metric};

use crate::estimate::Estimate;
use crate::evidence::invalid;
use crate::measure::{Measured, Slice, StabilityResult};

/// A gate, judged on one part of the rows or on all.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct GateOutcome {
    /// The model, or what was changed in a comparison.
    pub model: String,
    /// The metric.
    pub metric: String,
    /// The part of the rows, `country=DE`; all of them if not set.
    pub group: Option<String>,
    /// What is demanded.
    pub bound: Bound,
    /// By how much another model must be beaten at least.
    pub by: f64,
    /// How sure it must be.
    pub confidence: Option<f64>,
    /// The model's figure.
    pub value: f64,
    /// What it was compared with: the bound, or the other model's figure.
    pub reference: f64,
    /// How far the figure is on the good side; negative on the bad one, NaN if either is.
    pub margin: f64,
    /// With a confidence: how far on the good side the worse end of the interval is; NaN without an interval.
    pub sure_margin: Option<f64>,
    /// Whether the gate holds.
    pub passed: bool,
}

/// What gates are judged on.
pub(crate) struct Evidence<'a> {
    pub work: &'a Evaluate,
    pub all: &'a Measured,
    pub slice_metrics: &'a [Metric],
    pub slices: &'a [Slice],
}

impl Evidence<'_> {
    /// Judges a gate: once, or for every part of the rows that it is about.
    ///
    /// # Errors
    /// If it is about a part that there is none of.
    pub(crate) fn judge(&self, gate: &Gate) -> Result<Vec<GateOutcome>, Failure> {
        let Some(slice) = &gate.slice else {
            return Ok(vec![self.outcome(gate, self.all, &self.work.metrics, None)]);
        };
        let names = |names: Vec<&str>| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let GateSlice {
            by,
            group,
            min_rows,
        } = slice;
        let Some(parted) = self.slices.iter().find(|slice| slice.key == *by) else {
            let message = format!(
                "a gate is about parts of the rows by `{by}`, which the report does not have"
            );
            let known = names(self.slices.iter().map(|slice| &*slice.key).collect());
            return Err(invalid("report::unknown-slice", message, |d| {
                d.help(format!("rows are parted by {known}"))
            }));
        };
        let wanted = |name: &str| group.as_ref().is_none_or(|group| group == name);
        let groups: Vec<_> = (parted.groups.iter())
            .filter(|it| wanted(&it.name) && (group.is_some() || it.measured.rows >= *min_rows))
            .collect();
        if groups.is_empty() {
            let message = match group {
                Some(group) => {
                    format!("a gate is about the rows of `{by}={group}`, and there are none")
                }
                None => format!(
                    "a gate is about parts of the rows by `{by}`, and none has {min_rows} rows"
                ),
            };
            let known = names(parted.groups.iter().map(|group| &*group.name).collect());
            return Err(invalid("report::unknown-slice", message, |d| {
                d.help(format!("the parts are {known}"))
            }));
        }
        let judged = groups.into_iter().map(|group| {
            let name = format!("{by}={}", group.name);
            self.outcome(gate, &group.measured, self.slice_metrics, Some(name))
        });
        Ok(judged.collect())
    }

    fn outcome(
        &self,
        gate: &Gate,
        measured: &Measured,
        metrics: &[Metric],
        group: Option<String>,
    ) -> GateOutcome {
        let metric = metrics.iter().position(|metric| *metric == gate.metric);
        let model = |name: &str| self.work.models.iter().position(|model| model == name);
        let nan = Estimate {
            value: f64::NAN,
            standard_error: None,
            interval: None,
        };
        let confidence = gate.confidence.unwrap_or(self.work.resampling.confidence);
        let of = |name: &str| match (model(name), metric) {
            (Some(model), Some(metric)) => measured.at(model, metric, confidence),
            _ => nan,
        };
        let other = match &gate.bound {
            Bound::Above(other) | Bound::Below(other) => Some(other),
            Bound::Min(_) | Bound::Max(_) => None,
        };
        let difference = match (model(&gate.model), other.and_then(|it| model(it)), metric) {
            (Some(model), Some(other), Some(metric)) => {
                measured.difference((model, other), metric, confidence)
            }
            _ => nan,
        };
        let reference = other.map(|other| of(other).value);
        let made = GateOutcome::new(gate, &of(&gate.model), reference, &difference);
        GateOutcome { group, ..made }
    }
}

impl GateOutcome {
    /// Judges `gate` on the model's figure; `other` is that of the model that the bound names, and `difference` the figure
    /// less that one.
    fn new(gate: &Gate, estimate: &Estimate, other: Option<f64>, difference: &Estimate) -> Self {
        let value = estimate.value;
        let other = other.unwrap_or(f64::NAN);
        // The worse end of the interval of what must be above zero, or the figure's own distance where no interval is asked
        // for.
        let low = |estimate: &Estimate| estimate.interval.map_or(f64::NAN, |(low, _)| low);
        let high = |estimate: &Estimate| estimate.interval.map_or(f64::NAN, |(_, high)| high);
        let (reference, margin, sure) = match &gate.bound {
            Bound::Min(min) => (*min, value - min, low(estimate) - min),
            Bound::Max(max) => (*max, max - value, max - high(estimate)),
            Bound::Above(_) => (other, value - other, low(difference)),
            Bound::Below(_) => (other, other - value, -high(difference)),
        };
        let sure_margin = gate.confidence.map(|_| sure);
        let judged = sure_margin.unwrap_or(margin);
        let passed = match &gate.bound {
            Bound::Min(_) | Bound::Max(_) => judged >= 0.0,
            // Strictly, and by the margin that was asked for.
            Bound::Above(_) | Bound::Below(_) => judged > 0.0 && judged >= gate.margin,
        };
        Self {
            model: gate.model.clone(),
            metric: gate.metric.to_string(),
            group: None,
            bound: gate.bound.clone(),
            by: gate.margin,
            confidence: gate.confidence,
            value,
            reference,
            margin,
            sure_margin,
            passed,
        }
    }

    /// The gate of a comparison of predictions, judged; `None` if it has none.
    pub(crate) fn of_stability(result: &StabilityResult) -> Option<Self> {
        let bound = result.declared.bound.clone()?;
        let value = result.estimate.value;
        let (reference, margin) = match &bound {
            Bound::Min(min) => (*min, value - min),
            Bound::Max(max) => (*max, max - value),
            Bound::Above(_) | Bound::Below(_) => (f64::NAN, f64::NAN),
        };
        Some(Self {
            model: result.declared.name.clone(),
            metric: result.declared.metric.to_string(),
            group: None,
            bound,
            by: 0.0,
            confidence: None,
            value,
            reference,
            margin,
            sure_margin: None,
            passed: margin >= 0.0,
        })
    }

    /// The outcome in words, with as many digits as tell value and reference apart (at least four):
    /// `0.1712, below min 0.1800 by 0.0088`.
    pub(crate) fn verdict(&self) -> String {
        let digits = self.digits();
        let (value, reference) = (self.value, self.reference);
        let compared = match &self.bound {
            Bound::Min(_) => format!("min {reference:.digits$}"),
            Bound::Max(_) => format!("max {reference:.digits$}"),
            Bound::Above(other) | Bound::Below(other) => format!("{other} {reference:.digits$}"),
        };
        if self.margin.is_nan() {
            return format!("{value:.digits$}, not comparable with {compared}");
        }
        let by = self.margin.abs();
        let mut text = if value > reference {
            format!("{value:.digits$}, above {compared} by {by:.digits$}")
        } else if value < reference {
            format!("{value:.digits$}, below {compared} by {by:.digits$}")
        } else {
            format!("{value:.digits$}, equal to {compared}")
        };
        if let (Some(confidence), Some(sure)) = (self.confidence, self.sure_margin) {
            let percent = percent(confidence);
            text.push_str(&if sure.is_nan() {
                format!("; these rows cannot say it with {percent} confidence")
            } else if sure > 0.0 {
                format!("; with {percent} confidence by at least {sure:.digits$}")
            } else {
                format!(
                    "; with {percent} confidence no better than {:.digits$} on the wrong side",
                    sure.abs()
                )
            });
        }
        if !self.passed && self.by > 0.0 {
            text.push_str(&format!(", and {} is demanded", self.by));
        }
        text
    }

    /// What it is about: `recs hit_rate@10`, `recs hit_rate@10 on country=DE`.
    pub(crate) fn subject(&self) -> String {
        let (model, metric) = (&self.model, &self.metric);
        match &self.group {
            Some(group) => format!("{model} {metric} on {group}"),
            None => format!("{model} {metric}"),
        }
    }

    /// The failure as one line: `recs hit_rate@10 = 0.1712, below min 0.1800 by 0.0088`.
    pub(crate) fn line(&self) -> String {
        format!("{} = {}", self.subject(), self.verdict())
    }

    /// What it demands, in words: `at least 0.18`.
    pub(crate) fn demand(&self) -> String {
        let by = match self.by {
            0.0 => String::new(),
            by => format!(" by {by}"),
        };
        let mut text = match &self.bound {
            Bound::Min(min) => format!("at least {min}"),
            Bound::Max(max) => format!("at most {max}"),
            Bound::Above(other) => format!("above {other}{by}"),
            Bound::Below(other) => format!("below {other}{by}"),
        };
        if let Some(confidence) = self.confidence {
            text.push_str(&format!(", with {} confidence", percent(confidence)));
        }
        text
    }

    fn digits(&self) -> usize {
        let (a, b) = (self.value, self.reference);
        (4..17)
            .find(|&n| a == b || format!("{a:.n$}") != format!("{b:.n$}"))
            .unwrap_or(17)
    }
}

/// A share as people write it: `95 %`, `99.9 %`.
pub(crate) fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(bound: Bound) -> Gate {
        Gate {
            model: "recs".to_owned(),
            metric: "hit_rate@10".parse().unwrap(),
            bound,
            margin: 0.0,
            confidence: None,
            slice: None,
        }
    }

    fn judge(bound: Bound, value: f64, other: Option<f64>) -> (bool, String) {
        let outcome = GateOutcome::new(
            &gate(bound),
            &Estimate::exact(value),
            other,
            &Estimate::exact(0.0),
        );
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

    /// A gate that asks for a confidence or a margin, judged on these figures.
    fn sure(gate: &Gate, value: Estimate, other: f64, difference: (f64, f64)) -> (bool, String) {
        let difference = Estimate {
            interval: Some(difference),
            ..Estimate::exact(value.value - other)
        };
        let outcome = GateOutcome::new(gate, &value, Some(other), &difference);
        (
            outcome.passed,
            format!("{}: {}", outcome.demand(), outcome.verdict()),
        )
    }

    #[test]
    fn with_a_confidence_the_whole_interval_must_be_on_the_good_side() {
        let above = Gate {
            confidence: Some(0.95),
            ..gate(Bound::Above("item_knn".to_owned()))
        };
        let value = Estimate::exact(0.21);
        let (passed, words) = sure(&above, value, 0.2, (0.002, 0.018));
        assert!(passed);
        assert_eq!(
            words,
            "above item_knn, with 95 % confidence: 0.2100, above item_knn 0.2000 by 0.0100; with 95 % confidence by at \
             least 0.0020"
        );
        let (passed, words) = sure(&above, value, 0.2, (-0.003, 0.023));
        assert!(!passed);
        assert!(
            words.ends_with("no better than 0.0030 on the wrong side"),
            "{words}"
        );
        let below = Gate {
            bound: Bound::Below("item_knn".to_owned()),
            ..above.clone()
        };
        assert!(sure(&below, value, 0.3, (-0.1, -0.08)).0);
        assert!(!sure(&below, value, 0.3, (-0.1, 0.0)).0);
        let min = Gate {
            bound: Bound::Min(0.2),
            ..above
        };
        let wide = |low| Estimate {
            interval: Some((low, 0.3)),
            ..value
        };
        assert!(sure(&min, wide(0.2), 0.0, (0.0, 0.0)).0);
        assert!(!sure(&min, wide(0.19), 0.0, (0.0, 0.0)).0);
        let (passed, words) = sure(&min, value, 0.0, (0.0, 0.0));
        assert!(!passed && words.ends_with("these rows cannot say it with 95 % confidence"));
    }

    #[test]
    fn a_margin_must_be_reached() {
        let by = |margin| Gate {
            margin,
            ..gate(Bound::Above("item_knn".to_owned()))
        };
        assert!(sure(&by(0.25), Estimate::exact(0.75), 0.5, (0.0, 0.0)).0);
        let (passed, words) = sure(&by(0.3), Estimate::exact(0.75), 0.5, (0.0, 0.0));
        assert!(!passed);
        assert_eq!(
            words,
            "above item_knn by 0.3: 0.7500, above item_knn 0.5000 by 0.2500, and 0.3 is demanded"
        );
    }
}
