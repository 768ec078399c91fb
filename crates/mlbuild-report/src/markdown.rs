//! `report.md`: the result in the size of a pull request's comment.

use std::fmt::Write as _;

use crate::gate::demand;
use crate::measure::Report;
use crate::words::{count, fixed, plus_minus, reading, signed, summary};

/// The bytes of `report.md`, as GitHub's Markdown.
pub(crate) fn to_markdown(report: &Report) -> String {
    let mut text = format!(
        "# {}\n\n{}\n",
        escape(&report.title),
        escape(&summary(report))
    );
    if !report.gates.is_empty() {
        let rows = report.gates.iter().map(|outcome| {
            let result = if outcome.passed {
                "✅ pass"
            } else {
                "❌ fail"
            };
            let gate = &outcome.gate;
            vec![
                result.to_owned(),
                escape(&gate.model),
                gate.metric.to_string(),
                escape(&demand(gate)),
                escape(&outcome.verdict()),
            ]
        });
        let head = ["Gate", "Model", "Metric", "Demand", "Found"].map(str::to_owned);
        section(&mut text, "Gates", &head, 5, rows);
    }
    models(report, &mut text);
    differences(report, &mut text);
    slices(report, &mut text);
    text
}

fn models(report: &Report, text: &mut String) {
    let mut head = vec!["Model".to_owned()];
    head.extend(report.metrics.iter().map(ToString::to_string));
    let rows = report.models.iter().map(|model| {
        let mut row = vec![escape(&model.name)];
        for (index, estimate) in model.estimates.iter().enumerate() {
            let mut value = fixed(estimate.value);
            if report.models.len() > 1 && estimate.value == report.best(index) {
                value = format!("**{value}**");
            }
            row.push(
                format!("{value} {}", plus_minus(estimate))
                    .trim_end()
                    .to_owned(),
            );
        }
        row
    });
    section(text, "Models", &head, 1, rows);
    text.push_str("\nMean over rows ± 95 % interval (normal approximation).\n");
}

fn differences(report: &Report, text: &mut String) {
    let Some(first) = report.differences.first() else {
        return;
    };
    let per_model = report
        .differences
        .iter()
        .filter(|d| d.other == first.other)
        .count();
    let mut head = vec!["Compared with".to_owned()];
    head.extend(
        report.differences[..per_model]
            .iter()
            .map(|d| d.metric.to_string()),
    );
    let rows = report.differences.chunks(per_model).map(|row| {
        let mut cells = vec![escape(&row[0].other)];
        cells.extend(row.iter().map(|difference| {
            let estimate = &difference.estimate;
            format!(
                "{} {} ({})",
                signed(estimate.value),
                plus_minus(estimate),
                reading(difference)
            )
        }));
        cells
    });
    section(
        text,
        &format!("{} against the others", escape(&first.model)),
        &head,
        1,
        rows,
    );
}

fn slices(report: &Report, text: &mut String) {
    let Some(metric) = report.slice_metric else {
        return;
    };
    for slice in &report.slices {
        let mut head = vec!["Group".to_owned(), "Rows".to_owned()];
        head.extend(report.models.iter().map(|model| escape(&model.name)));
        let rows = slice.groups.iter().map(|group| {
            let mut row = vec![group.name.to_owned(), count(group.rows)];
            row.extend(group.estimates.iter().map(|estimate| {
                format!("{} {}", fixed(estimate.value), plus_minus(estimate))
                    .trim_end()
                    .to_owned()
            }));
            row
        });
        section(text, &format!("{metric} by {}", slice.by), &head, 1, rows);
    }
}

/// A heading and a table; columns from `numbers` on are set to the right.
fn section(
    text: &mut String,
    heading: &str,
    head: &[String],
    numbers: usize,
    rows: impl Iterator<Item = Vec<String>>,
) {
    let rules: Vec<_> = (0..head.len())
        .map(|column| if column < numbers { "---" } else { "---:" })
        .collect();
    let mut line = |cells: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{cells}");
    };
    line(&format!("\n## {heading}\n"));
    line(&format!("| {} |", head.join(" | ")));
    line(&format!("|{}|", rules.join("|")));
    for row in rows {
        line(&format!("| {} |", row.join(" | ")));
    }
}

/// Takes every meaning from Markdown and HTML in a text.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' => escaped.push(' '),
            '\\' | '|' | '`' | '*' | '[' | ']' | '#' | '~' => escaped.extend(['\\', c]),
            // Within a word an underscore means nothing, and names are full of them.
            _ => escaped.push(c),
        }
    }
    escaped
}
