//! How figures read, and the sentences that HTML and Markdown share.

use mlbuild_action::MetricName;

use crate::estimate::Estimate;
use crate::measure::{Difference, Report};

/// A figure with four decimals: `0.1835`.
pub(crate) fn fixed(value: f64) -> String {
    if value.is_nan() {
        "not a number".to_owned()
    } else {
        format!("{value:.4}")
    }
}

/// Half the width of the 95 % interval: `± 0.0247`; empty without one.
pub(crate) fn plus_minus(estimate: &Estimate) -> String {
    estimate
        .half_width()
        .map_or_else(String::new, |half| format!("± {half:.4}"))
}

/// A difference with its sign: `+0.0288`, `−0.0100`.
pub(crate) fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    if value.is_nan() {
        fixed(value)
    } else {
        format!("{sign}{:.4}", value.abs())
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

/// What a difference allows to say.
pub(crate) fn reading(difference: &Difference) -> &'static str {
    match difference.estimate.interval() {
        Some((low, _)) if low > 0.0 => "better",
        Some((_, high)) if high < 0.0 => "worse",
        Some(_) => "within noise",
        None if difference.estimate.value == 0.0 => "equal",
        // Every row differs by the same: real on these rows, and they say nothing of others.
        None => "not known",
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
        .map(|outcome| format!("{} {}", outcome.gate.model, outcome.gate.metric))
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
    let mut ranking: Vec<_> = report
        .models
        .iter()
        .map(|model| (&model.name, model.estimates[0]))
        .collect();
    // Stable: equal models stay in the order shown.
    ranking.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
    let (best, estimate) = ranking[0];
    let figure = [fixed(estimate.value), plus_minus(&estimate)].join(" ");
    let figure = figure.trim_end();
    let rows = plural(report.rows, "row");
    let Some((rival, other)) = ranking.get(1) else {
        return format!("On {rows}, {best} reaches {metric} {figure}.");
    };
    if other.value == estimate.value {
        return format!("On {rows}, {best} and {rival} share the highest {metric}, {figure}.");
    }
    let lead = signed(estimate.value - other.value);
    let mut text = format!(
        "On {rows}, {best} has the highest {metric}, {figure}: {lead} over {rival}, the next best"
    );
    if metric.name != MetricName::Coverage
        && let Some(difference) = report.differences.iter().find(|difference| {
            let pair = (&difference.model, &difference.other);
            difference.metric == metric && (pair == (best, rival) || pair == (rival, best))
        })
    {
        text.push_str(match reading(difference) {
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
        assert_eq!([plural(1, "row"), plural(2, "row")], ["1 row", "2 rows"]);
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(plus_minus(&Estimate::exact(0.5)), "");
    }
}
