//! `report.html`: one page that needs nothing but itself, for people.
//!
//! `maud` escapes every text that is put in; only our charts and style sheet go in as they are. The page's own content
//! policy forbids scripts and requests.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use mlbuild_action::{Direction, Metric};

use crate::charts::{self, Axes, Bar, COLORS, Cluster, Guide, Line, NotDrawn};
use crate::estimate::Estimate;
use crate::gate::{GateOutcome, percent as confidence};
use crate::measure::{Difference, Report, Slice};
use crate::metrics::{Task, definition};
use crate::plots::Points;
use crate::stability;
use crate::words::{
    count, fixed, interval, intervals, level, p_value, percent, plural, reading, row, signed,
    signed_interval, summary, tests,
};

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
                    @if let Some(owner) = &report.owner { p .note { "Owner: " (owner) } }
                    p .summary { (summary(report)) }
                }
                main {
                    (gates(report))
                    (models(report)?)
                    (differences(report))
                    @if report.task == Task::Ranking { (ranks(report)?) }
                    (classifiers(report)?)
                    (confusions(report))
                    (residuals(report)?)
                    (behaviour(report))
                    @for slice in &report.slices { (slice_section(report, slice)?) }
                    (training(report)?)
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
            thead { tr { th { "Result" } th { "Of" } th { "Metric" } th { "Demand" } th { "Found" } } }
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
            td { (outcome.model) @if let Some(group) = &outcome.group { br; small { (group) } } }
            td { (outcome.metric) }
            td { (outcome.demand()) }
            td { (outcome.verdict()) }
        }
    }
}

fn better(metric: Metric) -> &'static str {
    match metric.direction() {
        Direction::Higher => "higher is better",
        Direction::Lower => "lower is better",
        Direction::Neither => "neither end is better",
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
            "Measured on " (plural(report.rows, "row")) ", each " (row(report.task)) ". " (intervals(report))
            " They say how far chance in the rows alone may have moved a figure."
            @if report.models.len() > 1 { " ▲ marks the best figure." }
        }
        (figures(report))
        div .panels {
            @for (metric, svg) in &panels {
                figure {
                    figcaption { (metric) " " small { (better(**metric)) } }
                    (chart(svg, &format!("{metric} by model")))
                }
            }
        }
    })
}

/// The most metrics that stand side by side.
const MOST_COLUMNS: usize = 6;

fn figures(report: &Report) -> Markup {
    let several = report.models.len() > 1;
    let cell = |estimate: &Estimate, index: usize| {
        figure_cell(estimate, several && estimate.value == report.best(index))
    };
    if report.metrics.len() > MOST_COLUMNS {
        return html! {
            div .scroll { table {
                thead { tr { th { "Metric" } @for model in &report.models { th .number { (model.name) } } } }
                tbody { @for (index, metric) in report.metrics.iter().enumerate() {
                    tr {
                        th scope="row" { (metric) }
                        @for model in &report.models { (cell(&model.estimates[index], index)) }
                    }
                } }
            } }
        };
    }
    html! {
        div .scroll { table {
            thead { tr { th { "Model" } @for metric in &report.metrics { th .number { (metric) } } } }
            tbody { @for model in &report.models {
                tr {
                    th scope="row" { (model.name) }
                    @for (index, estimate) in model.estimates.iter().enumerate() { (cell(estimate, index)) }
                }
            } }
        } }
    }
}

fn figure_cell(estimate: &Estimate, best: bool) -> Markup {
    html! {
        td .number {
            span .best[best] { (fixed(estimate.value)) }
            @if estimate.interval.is_some() { br; small { (interval(estimate)) } }
        }
    }
}

fn differences(report: &Report) -> Markup {
    let Some(first) = report.differences.first() else {
        return html! {};
    };
    let level = level(report);
    html! {
        h2 { (first.model) " against the others" }
        p .note {
            "Figure of " (first.model) " less that of the other model on the same rows, with its interval. "
            (tests(report)) " Within noise: p is above " (format!("{level:.3}").trim_end_matches('0')) "."
        }
        div .scroll { table {
            thead { tr { th { "Metric" } @for row in report.differences.chunks(report.metrics.len()) { th .number { "against " (row[0].other) } } } }
            tbody { @for (index, metric) in report.metrics.iter().enumerate() {
                tr {
                    th scope="row" { (metric) }
                    @for row in report.differences.chunks(report.metrics.len()) { (difference_cell(&row[index], level)) }
                }
            } }
        } }
    }
}

fn difference_cell(difference: &Difference, level: f64) -> Markup {
    html! {
        td .number {
            (signed(difference.estimate.value))
            @if difference.estimate.interval.is_some() { br; small { (signed_interval(&difference.estimate)) } }
            br; small { (p_value(difference.p_adjusted)) ": " b { (reading(difference, level)) } }
        }
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
        p .note { "Share of rows whose first relevant item stands at this rank of the list. Missed: none is among the first " (report.models[0].ranks.len()) "." }
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

fn lines(points: &[Points]) -> Vec<Line> {
    let lines = points.iter().enumerate();
    lines
        .map(|(model, points)| Line {
            model,
            points: points.clone(),
        })
        .collect()
}

fn classifiers(report: &Report) -> Result<Markup, NotDrawn> {
    let plots = &report.plots;
    if plots.calibration.is_empty() {
        return Ok(html! {});
    }
    let unit = Some(((0.0, 1.0), (0.0, 1.0)));
    let square = |x, y, guide, marks| Axes {
        x,
        y,
        ranges: unit,
        guide,
        marks,
    };
    let roc = square(
        "share of the other rows",
        "share of positive rows found",
        Guide::Diagonal,
        false,
    );
    let precision = square("recall", "precision", Guide::Level(plots.prevalence), false);
    let calibration = square(
        "mean score",
        "share of rows that are so",
        Guide::Diagonal,
        true,
    );
    let mut panels = Vec::new();
    if !plots.roc.is_empty() {
        panels.push((
            "Receiver operating characteristic",
            charts::lines(&lines(&plots.roc), &roc)?,
        ));
        panels.push((
            "Precision and recall",
            charts::lines(&lines(&plots.precision_recall), &precision)?,
        ));
    }
    panels.push((
        "Calibration",
        charts::lines(&lines(&plots.calibration), &calibration)?,
    ));
    let about = report.positive.map(|class| &report.classes[class]);
    Ok(html! {
        h2 { "Scores" }
        p .note {
            @if let Some(class) = about { "Scores of the class " code { (class) } ". " } @else { "Scores of each row's surest class. " }
            "Grey: what guessing reaches, and in the calibration what scores that are true probabilities would."
        }
        (legend(report))
        div .panels { @for (name, svg) in &panels { figure { figcaption { (name) } (chart(svg, name)) } } }
    })
}

fn confusions(report: &Report) -> Markup {
    html! {
        @for (model, counts) in report.models.iter().zip(&report.plots.confusion) {
            h3 { (model.name) ": true class and predicted class" }
            div .scroll { table .narrow {
                thead { tr { th { "True" } @for class in &report.classes { th .number { (class) } } } }
                tbody { @for (truth, row) in counts.iter().enumerate() {
                    tr {
                        th scope="row" { (report.classes[truth]) }
                        @for (predicted, rows) in row.iter().enumerate() {
                            td .number { @if truth == predicted { b { (count(*rows)) } } @else { (count(*rows)) } }
                        }
                    }
                } }
            } }
        }
    }
}

fn residuals(report: &Report) -> Result<Markup, NotDrawn> {
    let plots = &report.plots;
    if plots.residuals.is_empty() {
        return Ok(html! {});
    }
    let free = |x, y, guide, marks| Axes {
        x,
        y,
        ranges: None,
        guide,
        marks,
    };
    let residuals = free("prediction less truth", "share of rows", Guide::None, false);
    let fit = free("mean prediction", "mean truth", Guide::Diagonal, true);
    let residuals = charts::lines(&lines(&plots.residuals), &residuals)?;
    let fit = charts::lines(&lines(&plots.fit), &fit)?;
    Ok(html! {
        h2 { "Errors" }
        p .note { "Left: how far predictions are from the truth; the outermost points also hold what lies beyond them. Right: rows in 20 equal parts by prediction; on the grey line, predictions are right on average." }
        (legend(report))
        div .panels {
            figure { figcaption { "Residuals" } (chart(&residuals, "residuals by model")) }
            figure { figcaption { "Prediction and truth" } (chart(&fit, "prediction and truth by model")) }
        }
    })
}

fn behaviour(report: &Report) -> Markup {
    if report.stability.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Behaviour under change" }
        p .note { "Predictions for changed inputs against those for the inputs as they are, row by row." }
        div .scroll { table {
            thead { tr { th { "Changed" } th { "Metric" } th .number { "Figure" } th { "Meaning" } } }
            tbody { @for result in &report.stability {
                tr {
                    th scope="row" { (result.declared.name) }
                    td { (result.declared.metric) }
                    (figure_cell(&result.estimate, false))
                    td { (stability::definition(&result.declared).0) }
                }
            } }
        } }
    }
}

fn slice_section(report: &Report, slice: &Slice) -> Result<Markup, NotDrawn> {
    let Some(index) = report.slice_metric else {
        return Ok(html! {});
    };
    let metric = report.slice_metrics[index];
    let clusters: Vec<_> = slice
        .groups
        .iter()
        .map(|group| Cluster {
            label: group.name.clone(),
            note: if slice.groups.len() > 8 {
                String::new()
            } else {
                plural(group.measured.rows, "row")
            },
            bars: group
                .measured
                .estimates
                .iter()
                .map(|it| bar(&it[index]))
                .collect(),
        })
        .collect();
    let svg = charts::clusters(&clusters)?;
    Ok(html! {
        h2 { (metric) " by " (slice.by) }
        p .note { (slice.text) " Lines show the intervals; with few rows they are wide, and below some 30 only a hint." }
        figure { (legend(report)) (chart(&svg, &format!("{metric} by {} and model", slice.by))) }
        div .scroll { table {
            thead { tr { th { "Group" } th .number { "Rows" } @for model in &report.models { th .number { (model.name) } } } }
            tbody { @for group in &slice.groups {
                tr {
                    th scope="row" { (group.name) }
                    td .number { (count(group.measured.rows)) }
                    @for estimates in &group.measured.estimates { (figure_cell(&estimates[index], false)) }
                }
            } }
        } }
    })
}

fn training(report: &Report) -> Result<Markup, NotDrawn> {
    let known: Vec<_> = (report.models.iter().enumerate())
        .filter_map(|(index, model)| Some((index, model, model.trained.as_ref()?)))
        .filter(|(.., trained)| !trained.architecture.is_empty())
        .collect();
    if known.is_empty() {
        return Ok(html! {});
    }
    let mut names: Vec<&str> = Vec::new();
    for (.., trained) in &known {
        for (name, _) in trained.curves() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut panels = Vec::new();
    for name in names {
        let lines: Vec<_> = (known.iter())
            .filter_map(|(model, _, trained)| {
                let curves = trained.curves();
                let (_, values) = curves.iter().find(|(known, _)| *known == name)?;
                let points = (1u32..).map(f64::from).zip(values.iter().copied());
                Some(Line {
                    model: *model,
                    points: points.collect(),
                })
            })
            .collect();
        let axes = Axes {
            x: "epoch",
            y: "",
            ranges: None,
            guide: Guide::None,
            marks: false,
        };
        panels.push((name, charts::lines(&lines, &axes)?));
    }
    Ok(html! {
        h2 { "Training" }
        p .note { "How the models were made." @if !panels.is_empty() { " Curves show a figure after each epoch." } }
        div .scroll { table {
            thead { tr { th { "Model" } th { "Architecture" } th { "Trained by" } th { "Parameters" } } }
            tbody { @for (_, model, trained) in &known {
                tr {
                    th scope="row" { (model.name) }
                    td { (trained.architecture) }
                    td { (trained.library) }
                    td { div .columns { @for (name, value) in &trained.params { span { (name) " " code { (value) } } } } }
                }
            } }
        } }
        @if !panels.is_empty() {
            (legend(report))
            div .panels { @for (name, svg) in &panels { figure { figcaption { (name) } (chart(svg, &format!("{name} by epoch"))) } } }
        }
    })
}

fn inputs(report: &Report) -> Markup {
    html! {
        h2 { "Data" }
        p .note { "What was read: the columns used, each with the start of the digest of its contents. Equal digests, equal contents." }
        div .scroll { table {
            thead { tr { th { "Input" } th { "Target" } th .number { "Rows" } th { "Columns" } } }
            tbody { @for (input, target) in &report.inputs {
                tr {
                    th scope="row" { (input.name) }
                    td { @if let Some(target) = target { (target) } }
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
    let resampling = report.draws.resampling;
    html! {
        h2 { "What the figures mean" }
        dl {
            @for metric in &report.metrics {
                @let definition = definition(*metric);
                dt { (metric) }
                dd { (definition.text) " " span .note { (definition.source) "." } }
            }
            @for result in &report.stability {
                @let (text, source) = stability::definition(&result.declared);
                dt { (result.declared.name) ": " (result.declared.metric) }
                dd { (text) " " span .note { (source) "." } }
            }
            dt { "Intervals" }
            dd {
                "The middle " (confidence(resampling.confidence)) " of the figures that " (count(u64::from(resampling.resamples)))
                " draws of the rows with replacement give; more than 2,000 rows are drawn in 1,000 blocks of consecutive rows. "
                "Draws cover less of a catalog than the rows do, and calibrate worse, so for coverage, Gini and ece the spread is taken around the figure. "
                "It takes rows, or their blocks, as independent and does not cover how a model would vary with its seed or its training data. "
                span .note { "Efron and Tibshirani 1993, An introduction to the bootstrap." }
            }
            dt { "Row" }
            dd { "One row of " code { "truth" } ": " (row(report.task)) "." }
        }
    }
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
        interval: estimate.interval,
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
