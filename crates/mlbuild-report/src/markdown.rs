//! `report.md`: the result in the size of a pull request's comment.

use std::fmt::Write as _;

use crate::measure::Report;
use crate::words::{
    count, fixed, interval, intervals, level, p_value, reading, signed, signed_interval, summary,
    tests,
};

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
            vec![
                result.to_owned(),
                escape(&outcome.subject()),
                escape(&outcome.demand()),
                escape(&outcome.verdict()),
            ]
        });
        let head = ["Gate", "Of", "Demand", "Found"].map(str::to_owned);
        section(&mut text, "Gates", &head, 4, rows);
    }
    models(report, &mut text);
    differences(report, &mut text);
    stability(report, &mut text);
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
            row.push(with(value, &interval(estimate)));
        }
        row
    });
    section(text, "Models", &head, 1, rows);
    text.push_str(&format!("\n{}\n", intervals(report)));
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
            let figure = with(signed(estimate.value), &signed_interval(estimate));
            let (p, reading) = (
                p_value(difference.p_adjusted),
                reading(difference, level(report)),
            );
            format!("{figure}, {p}: {reading}")
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
    text.push_str(&format!("\n{}\n", tests(report)));
}

/// A figure and its interval, if it has one.
fn with(figure: String, interval: &str) -> String {
    if interval.is_empty() {
        figure
    } else {
        format!("{figure} ({interval})")
    }
}

fn stability(report: &Report, text: &mut String) {
    if report.stability.is_empty() {
        return;
    }
    let rows = report.stability.iter().map(|result| {
        let figure = with(fixed(result.estimate.value), &interval(&result.estimate));
        vec![
            escape(&result.declared.name),
            result.declared.metric.to_string(),
            figure,
        ]
    });
    let head = ["Changed", "Metric", "Figure"].map(str::to_owned);
    section(text, "Behaviour under change", &head, 2, rows);
}

fn slices(report: &Report, text: &mut String) {
    let Some(index) = report.slice_metric else {
        return;
    };
    let metric = report.slice_metrics[index];
    for slice in &report.slices {
        let mut head = vec!["Group".to_owned(), "Rows".to_owned()];
        head.extend(report.models.iter().map(|model| escape(&model.name)));
        let rows = slice.groups.iter().map(|group| {
            let mut row = vec![escape(&group.name), count(group.measured.rows)];
            row.extend(group.measured.estimates.iter().map(|estimates| {
                with(fixed(estimates[index].value), &interval(&estimates[index]))
            }));
            row
        });
        section(
            text,
            &format!("{metric} by {}", escape(&slice.by)),
            &head,
            1,
            rows,
        );
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
