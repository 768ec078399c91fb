//! `report.html`: one page that needs nothing but itself, for people.
//!
//! `maud` escapes every text that is put in; only our charts and style sheet go in as they are. The page's own content
//! policy forbids scripts and requests.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use mlbuild_action::Metric;

use crate::charts::{self, Bar, COLORS, Cluster, NotDrawn};
use crate::estimate::Estimate;
use crate::gate::{GateOutcome, demand};
use crate::measure::Report;
use crate::metrics::definition;
use crate::slices::Slice;
use crate::words::{count, fixed, percent, plural, plus_minus, reading, signed, summary};

/// The most bars that ranks are drawn as; more ranks share a bar.
const RANK_BARS: usize = 20;

/// The bytes of `report.html`.
pub(crate) fn to_html(report: &Report) -> Result<String, NotDrawn> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (report.title) }
                style { (PreEscaped(include_str!("report.css"))) }
            }
            body {
                header {
                    div .head { h1 { (report.title) } (verdict(report)) }
                    p .summary { (summary(report)) }
                }
                main {
                    (gates(report))
                    (models(report)?)
                    (differences(report))
                    (ranks(report)?)
                    @for slice in &report.slices { (slice_section(report, slice)?) }
                    (inputs(report))
                    (definitions(report))
                }
                footer .note { "Made by mlbuild. The same figures stand in " code { "report.json" } " for machines." }
            }
        }
    };
    Ok(page.into_string())
}

fn verdict(report: &Report) -> Markup {
    html! {
        @if report.gates.is_empty() { span .badge.plain { "no gates" } }
        @else if report.passed() { span .badge.pass { "✓ gates passed" } }
        @else { span .badge.fail { "✗ gates failed" } }
    }
}

fn gates(report: &Report) -> Markup {
    if report.gates.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Gates" }
        p .note { "Conditions under which these models may be used. If one fails, nothing that depends on this report is built." }
        div .scroll { table {
            thead { tr { th { "Result" } th { "Model" } th { "Metric" } th { "Demand" } th { "Found" } } }
            tbody { @for outcome in &report.gates { (gate_row(outcome)) } }
        } }
    }
}

fn gate_row(outcome: &GateOutcome) -> Markup {
    html! {
        tr {
            td {
                @if outcome.passed { span .badge.pass { "✓ pass" } } @else { span .badge.fail { "✗ fail" } }
            }
            td { (outcome.gate.model) }
            td { (outcome.gate.metric) }
            td { (demand(&outcome.gate)) }
            td { (outcome.verdict()) }
        }
    }
}

fn models(report: &Report) -> Result<Markup, NotDrawn> {
    let names: Vec<_> = report
        .models
        .iter()
        .map(|model| model.name.as_str())
        .collect();
    let mut panels = Vec::new();
    for (index, metric) in report.metrics.iter().enumerate() {
        let bars: Vec<_> = report
            .models
            .iter()
            .map(|model| bar(&model.estimates[index]))
            .collect();
        panels.push((metric, charts::model_bars(&names, &bars)?));
    }
    Ok(html! {
        h2 { "Models" }
        p .note {
            "Higher is better. ± is the 95 % interval of the mean over " (plural(report.rows, "row")) ": how far chance in the rows alone may have moved it."
            @if report.models.len() > 1 { " ▲ marks the best figure." }
        }
        div .scroll { table {
            thead { tr { th { "Model" } @for metric in &report.metrics { th .number { (metric) } } } }
            tbody { @for model in &report.models {
                tr {
                    th scope="row" { (model.name) }
                    @for (index, estimate) in model.estimates.iter().enumerate() {
                        (figure_cell(estimate, report.models.len() > 1 && estimate.value == report.best(index)))
                    }
                }
            } }
        } }
        div .panels {
            @for (metric, svg) in &panels { figure { figcaption { (metric) } (chart(svg, &format!("{metric} by model"))) } }
        }
    })
}

fn figure_cell(estimate: &Estimate, best: bool) -> Markup {
    html! {
        td .number {
            span .best[best] { (fixed(estimate.value)) }
            @if estimate.standard_error.is_some() { " " small { (plus_minus(estimate)) } }
        }
    }
}

fn differences(report: &Report) -> Markup {
    let Some(first) = report.differences.first() else {
        return html! {};
    };
    let metrics: Vec<Metric> = report
        .differences
        .iter()
        .filter(|difference| difference.other == first.other)
        .map(|difference| difference.metric)
        .collect();
    html! {
        h2 { (first.model) " against the others" }
        p .note {
            "Figure of " (first.model) " less that of the other model, compared row by row on the same rows, with its 95 % interval. "
            "Better or worse: the interval does not hold zero. With many comparisons, some will look so by chance."
        }
        div .scroll { table {
            thead { tr { th { "Compared with" } @for metric in &metrics { th .number { (metric) } } } }
            tbody { @for row in report.differences.chunks(metrics.len()) {
                tr {
                    th scope="row" { (row[0].other) }
                    @for difference in row {
                        td .number {
                            (signed(difference.estimate.value)) " " small { (plus_minus(&difference.estimate)) }
                            br; small { (reading(difference)) }
                        }
                    }
                }
            } }
        } }
    }
}

fn ranks(report: &Report) -> Result<Markup, NotDrawn> {
    let bins = rank_bins(report.models[0].ranks.len());
    let share = |ranks: &[u64], bin: &(usize, usize)| ranks[bin.0..bin.1].iter().sum::<u64>();
    let clusters: Vec<_> = bins
        .iter()
        .map(|bin| Cluster {
            label: bin_label(bin),
            note: String::new(),
            bars: report
                .models
                .iter()
                .map(|model| Bar {
                    value: share(&model.ranks, bin) as f64 / report.rows as f64,
                    interval: None,
                })
                .collect(),
        })
        .collect();
    let svg = charts::clusters(&clusters)?;
    Ok(html! {
        h2 { "Rank of the true item" }
        p .note { "Share of rows whose true item stands at this rank of the list. Missed: it is not among the first " (report.models[0].ranks.len()) "." }
        figure { (legend(report)) (chart(&svg, "share of rows by rank of the true item and model")) }
        div .scroll { table {
            thead { tr { th { "Model" } @for bin in &bins { th .number { (bin_label(bin)) } } th .number { "Missed" } } }
            tbody { @for model in &report.models {
                tr {
                    th scope="row" { (model.name) }
                    @for bin in &bins { td .number { (count(share(&model.ranks, bin))) } }
                    td .number { (count(model.missed)) " " small { (percent(model.missed, report.rows)) } }
                }
            } }
        } }
    })
}

/// Ranks from 0 in at most [`RANK_BARS`] half-open ranges of equal width.
fn rank_bins(ranks: usize) -> Vec<(usize, usize)> {
    let width = ranks.div_ceil(RANK_BARS).max(1);
    (0..ranks)
        .step_by(width)
        .map(|from| (from, (from + width).min(ranks)))
        .collect()
}

fn bin_label((from, to): &(usize, usize)) -> String {
    if from + 1 == *to {
        to.to_string()
    } else {
        format!("{}–{to}", from + 1)
    }
}

fn slice_section(report: &Report, slice: &Slice) -> Result<Markup, NotDrawn> {
    let metric = report
        .slice_metric
        .map_or_else(String::new, |metric| metric.to_string());
    let clusters: Vec<_> = slice
        .groups
        .iter()
        .map(|group| Cluster {
            label: group.name.to_owned(),
            note: plural(group.rows, "row"),
            bars: group.estimates.iter().map(bar).collect(),
        })
        .collect();
    let svg = charts::clusters(&clusters)?;
    Ok(html! {
        h2 { (metric) " by " (slice.by) }
        p .note { (slice.text) " Lines show the 95 % interval; with few rows it is wide, and below some 30 only a hint." }
        figure { (legend(report)) (chart(&svg, &format!("{metric} by {} and model", slice.by))) }
        div .scroll { table {
            thead { tr { th { "Group" } th .number { "Rows" } @for model in &report.models { th .number { (model.name) } } } }
            tbody { @for group in &slice.groups {
                tr {
                    th scope="row" { (group.name) }
                    td .number { (count(group.rows)) }
                    @for estimate in &group.estimates { (figure_cell(estimate, false)) }
                }
            } }
        } }
    })
}

fn inputs(report: &Report) -> Markup {
    html! {
        h2 { "Data" }
        p .note { "What was read: the columns used, each with the start of the digest of its contents. Equal digests, equal contents." }
        div .scroll { table {
            thead { tr { th { "Input" } th .number { "Rows" } th { "Columns" } } }
            tbody { @for input in &report.inputs {
                tr {
                    th scope="row" { (input.name) }
                    td .number { (count(input.rows)) }
                    td { div .columns { @for column in &input.columns {
                        span { (column.name) " " code { (column.digest.short()) } }
                    } } }
                }
            } }
        } }
    }
}

fn definitions(report: &Report) -> Markup {
    html! {
        h2 { "What the figures mean" }
        dl {
            @for metric in &report.metrics {
                @let definition = definition(*metric);
                dt { (metric) }
                dd { (definition.text) " " span .note { (definition.source) "." } }
            }
            dt { "± and intervals" }
            dd {
                "1.96 standard errors of the mean over rows (normal approximation; sample standard deviation over √n). "
                "It takes rows as independent and does not cover how a model would vary with its seed or its training data."
            }
            dt { "Row" }
            dd { "One row of " code { "truth" } ": a history, the list that a model makes of it, and the item that really came next." }
        }
    }
}

fn legend(report: &Report) -> Markup {
    html! {
        ul .legend {
            @for (index, model) in report.models.iter().enumerate() {
                li { span class={ "swatch m" (index % COLORS) } {} (model.name) }
            }
        }
    }
}

fn chart(svg: &str, label: &str) -> Markup {
    html! { div role="img" aria-label=(label) { (PreEscaped(svg)) } }
}

fn bar(estimate: &Estimate) -> Bar {
    Bar {
        value: estimate.value,
        interval: estimate.interval(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ranks_share_bars() {
        assert_eq!(rank_bins(3), [(0, 1), (1, 2), (2, 3)]);
        let bins = rank_bins(50);
        assert_eq!((bins.len(), bins[0], bins[16]), (17, (0, 3), (48, 50)));
        assert_eq!(
            [bin_label(&(0, 1)), bin_label(&(0, 3)), bin_label(&(48, 50))],
            ["1", "1–3", "49–50"]
        );
    }
}
