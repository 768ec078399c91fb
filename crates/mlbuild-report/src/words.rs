//! How figures read, and the sentences that HTML and Markdown share.

use mlbuild_action::Direction;

use crate::estimate::Estimate;
use crate::gate::percent as confidence;
use crate::measure::{Difference, Report, Test};
use crate::metrics::Task;

/// A figure with four decimals, `0.1835`, or, from 100 on, five digits: `1234.5`.
pub(crate) fn fixed(value: f64) -> String {
    if value.is_nan() {
        return "not a number".to_owned();
    }
    let digits = match value.abs() {
        large if large >= 10_000.0 => 0,
        large if large >= 1000.0 => 1,
        large if large >= 100.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// An interval: `0.1590–0.2081`; empty without one.
pub(crate) fn interval(estimate: &Estimate) -> String {
    match estimate.interval {
        None => String::new(),
        Some((low, high)) if low < 0.0 => format!("{} to {}", signed(low), signed(high)),
        Some((low, high)) => format!("{}–{}", fixed(low), fixed(high)),
    }
}

/// A difference with its sign: `+0.0288`, `−0.0100`.
pub(crate) fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    if value.is_nan() {
        fixed(value)
    } else {
        format!("{sign}{}", fixed(value.abs()))
    }
}

/// The interval of a difference: `+0.0012 to +0.0288`; empty without one.
pub(crate) fn signed_interval(estimate: &Estimate) -> String {
    let text = |(low, high)| format!("{} to {}", signed(low), signed(high));
    estimate.interval.map_or_else(String::new, text)
}

/// A p-value: `p = 0.031`, `p < 0.001`.
pub(crate) fn p_value(p: f64) -> String {
    match p {
        p if p.is_nan() => "p unknown".to_owned(),
        p if p < 0.001 => "p < 0.001".to_owned(),
        p => format!("p = {p:.3}"),
    }
}

/// A count with its thousands apart: `1,682`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of rows: `18.3 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}

/// `1 row`, `2 rows`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{} {noun}s", count(number))
    }
}

/// What a difference allows to say: the model is better only if the corrected test says so.
pub(crate) fn reading(difference: &Difference, level: f64) -> &'static str {
    let value = difference.estimate.value;
    if value == 0.0 && difference.estimate.interval.is_none() {
        return "equal";
    }
    if difference.p_adjusted.is_nan() {
        return "not known";
    }
    if difference.p_adjusted > level {
        return "within noise";
    }
    match (difference.metric.direction(), value > 0.0) {
        (Direction::Higher, true) | (Direction::Lower, false) => "better",
        (Direction::Neither, true) => "higher",
        (Direction::Neither, false) => "lower",
        _ => "worse",
    }
}

/// The level at which differences are told from noise.
pub(crate) fn level(report: &Report) -> f64 {
    1.0 - report.draws.resampling.confidence
}

/// How the intervals of the report were made, in a sentence.
pub(crate) fn intervals(report: &Report) -> String {
    let resampling = report.draws.resampling;
    format!(
        "Intervals are {} bootstrap intervals over the rows ({} resamples).",
        confidence(resampling.confidence),
        count(u64::from(resampling.resamples))
    )
}

/// How differences were tested, in sentences.
pub(crate) fn tests(report: &Report) -> String {
    let has = |test| report.differences.iter().any(|it| it.test == test);
    let mut tests = Vec::new();
    if has(Test::McNemar) {
        tests.push("McNemar's exact test where a row is right or wrong");
    }
    if has(Test::SignFlips) {
        tests.push("random signs of the rows' differences for other means over rows");
    }
    if has(Test::Bootstrap) {
        tests.push("the bootstrap for what is no mean over rows");
    }
    format!(
        "p-values are two-sided, by {}; with Holm's correction for the {} of this table.",
        tests.join(", "),
        plural(report.differences.len() as u64, "comparison")
    )
}

/// What a row of truth is.
pub(crate) fn row(task: Task) -> &'static str {
    match task {
        Task::Ranking => "a list that each model makes, and what really came next",
        Task::Classes => "a class that each model predicts, and the true one",
        Task::Labels => "the labels that each model predicts, and the true ones",
        Task::Numbers => "a number that each model predicts, and the true one",
    }
}

/// The result in two sentences: which model leads, and whether the gates hold.
pub(crate) fn summary(report: &Report) -> String {
    let mut sentences = leader(report);
    sentences.push(' ');
    sentences.push_str(&gates(report));
    sentences
}

fn gates(report: &Report) -> String {
    let failed: Vec<_> = report
        .gates
        .iter()
        .filter(|outcome| !outcome.passed)
        .map(|outcome| outcome.subject())
        .collect();
    match (report.gates.len(), failed.len()) {
        (0, _) => "It has no gates.".to_owned(),
        (1, 0) => "Its gate holds.".to_owned(),
        (all, 0) => format!("All {all} gates hold."),
        (1, _) => format!("Its gate fails: {}.", failed[0]),
        (all, 1) => format!("1 of {all} gates fails: {}.", failed[0]),
        (all, some) => format!("{some} of {all} gates fail: {}.", failed.join(", ")),
    }
}

/// Says who is ahead on the first metric, and whether the nearest rival is really behind.
fn leader(report: &Report) -> String {
    let metric = report.metrics[0];
    let lowest = metric.direction() == Direction::Lower;
    let mut ranking: Vec<_> = report
        .models
        .iter()
        .map(|model| (&model.name, model.estimates[0]))
        .collect();
    // Stable: equal models stay in the order shown.
    ranking.sort_by(|(_, a), (_, b)| {
        let order = b.value.total_cmp(&a.value);
        if lowest { order.reverse() } else { order }
    });
    let (best, estimate) = ranking[0];
    let figure = match interval(&estimate) {
        text if text.is_empty() => fixed(estimate.value),
        text => format!("{} ({text})", fixed(estimate.value)),
    };
    let rows = plural(report.rows, "row");
    let Some((rival, other)) = ranking.get(1) else {
        return format!("On {rows}, {best} reaches {metric} {figure}.");
    };
    let most = if lowest { "lowest" } else { "highest" };
    if other.value == estimate.value {
        return format!("On {rows}, {best} and {rival} share the {most} {metric}, {figure}.");
    }
    let lead = signed(estimate.value - other.value);
    let than = if lowest { "from" } else { "over" };
    let mut text = format!(
        "On {rows}, {best} has the {most} {metric}, {figure}: {lead} {than} {rival}, the next best"
    );
    if let Some(difference) = report.differences.iter().find(|difference| {
        let pair = (&difference.model, &difference.other);
        difference.metric == metric && (pair == (best, rival) || pair == (rival, best))
    }) {
        text.push_str(match reading(difference, level(report)) {
            "within noise" => ", which is within noise",
            "equal" | "not known" => "",
            _ => ", which is more than noise",
        });
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(
            [count(0), count(999), count(1682), count(1_234_567)],
            ["0", "999", "1,682", "1,234,567"]
        );
        assert_eq!(
            [signed(0.01), signed(-0.01), signed(f64::NAN)],
            ["+0.0100", "−0.0100", "not a number"]
        );
        assert_eq!(
            [0.18349, 12.5, 123.456, 1234.56, 98_765.4].map(fixed),
            ["0.1835", "12.5000", "123.46", "1234.6", "98765"]
        );
        assert_eq!([plural(1, "row"), plural(2, "row")], ["1 row", "2 rows"]);
        assert_eq!([p_value(0.0312), p_value(1e-5)], ["p = 0.031", "p < 0.001"]);
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(interval(&Estimate::exact(0.5)), "");
        let between = |low, high| Estimate {
            interval: Some((low, high)),
            ..Estimate::exact(0.5)
        };
        assert_eq!(interval(&between(0.25, 0.75)), "0.2500–0.7500");
        assert_eq!(interval(&between(-0.25, 0.75)), "−0.2500 to +0.7500");
    }
}
