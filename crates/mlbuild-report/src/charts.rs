//! Charts as SVG, to stand inside the page.
//!
//! Colours are those of the light theme, written as attributes, so a chart cut out of the page still shows; the style
//! sheet replaces each of them in dark mode (`report.css`). Text is estimated, not measured: no font is read.

use std::fmt;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::words::fixed;

const INK: RGBColor = RGBColor(0x1F, 0x29, 0x33);
const MUTED: RGBColor = RGBColor(0x5B, 0x64, 0x70);
const GRID: RGBColor = RGBColor(0xDF, 0xE3, 0xE8);
/// One colour a model, told apart also by people who do not see red or green; used again after the last.
const MODELS: [RGBColor; 8] = [
    RGBColor(0x3F, 0x7F, 0xC8),
    RGBColor(0xD9, 0x82, 0x2B),
    RGBColor(0x3A, 0x9A, 0x6B),
    RGBColor(0xB0, 0x50, 0x8F),
    RGBColor(0x8C, 0x6D, 0x46),
    RGBColor(0x5A, 0xA9, 0xC9),
    RGBColor(0xC9, 0x4F, 0x4F),
    RGBColor(0x7A, 0x7F, 0x87),
];

/// How many colours there are; the page's legend uses the same by number.
pub(crate) const COLORS: usize = MODELS.len();

/// One bar: its length, and the interval of its whisker.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Bar {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
}

/// Some bars side by side, one a model, over one label.
pub(crate) struct Cluster {
    /// The label below the bars.
    pub label: String,
    /// A second, smaller line of it.
    pub note: String,
    /// One a model.
    pub bars: Vec<Bar>,
}

/// A chart that could not be drawn. Drawing to memory cannot fail but for a mistake of ours.
#[derive(Debug)]
pub(crate) struct NotDrawn(String);

impl fmt::Display for NotDrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for NotDrawn {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One horizontal bar a model, with its name and figure.
pub(crate) fn model_bars(names: &[&str], bars: &[Bar]) -> Result<String, NotDrawn> {
    const ROW: i32 = 26;
    const NAMES: i32 = 112;
    const WIDTH: i32 = 440;
    let height = ROW * names.len() as i32 + 26;
    let mut svg = String::new();
    {
        let area =
            SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
        let (bottom, top) = ends(bars.iter());
        let chart = ChartBuilder::on(&area)
            .margin_left(NAMES)
            .margin_right(64)
            .x_label_area_size(22)
            .build_cartesian_2d(bottom..top, 0.0..names.len() as f64);
        let mut chart = chart?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(4)
            .x_label_formatter(&|value| tick(*value, top - bottom))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(font(11, &MUTED))
            .draw()?;
        for (index, (name, bar)) in names.iter().zip(bars).enumerate() {
            let middle = names.len() as f64 - index as f64 - 0.5;
            let (low, high) = (middle - 0.32, middle + 0.32);
            let color = MODELS[index % COLORS];
            chart.draw_series([Rectangle::new(
                [(0.0, low), (finite(bar.value), high)],
                color.filled(),
            )])?;
            if let Some((from, to)) = whisker(bar) {
                chart.draw_series([PathElement::new([(from, middle), (to, middle)], INK)])?;
            }
            let right = whisker(bar).map_or(finite(bar.value), |(_, to)| to.max(bar.value));
            let (x, y) = chart.backend_coord(&(right, middle));
            let text = if bar.value.is_finite() {
                fixed(bar.value)
            } else {
                "–".to_owned()
            };
            write(
                &area,
                &text,
                (x + 5, y),
                font(12, &INK),
                HPos::Left,
                VPos::Center,
            )?;
            write(
                &area,
                &shorten(name, 15),
                (NAMES - 8, y),
                font(12, &INK),
                HPos::Right,
                VPos::Center,
            )?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// Points of one model, joined by a line.
pub(crate) struct Line {
    /// Which model, for its colour.
    pub model: usize,
    /// The points, in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

/// What is drawn behind lines, to compare them with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Guide {
    /// Nothing.
    None,
    /// The line on which both axes have the same value.
    Diagonal,
    /// A level.
    Level(f64),
}

/// The axes of a chart of lines.
pub(crate) struct Axes<'a> {
    /// What the horizontal one shows.
    pub x: &'a str,
    /// What the vertical one shows.
    pub y: &'a str,
    /// Their ranges; those of the points where not set.
    pub ranges: Option<((f64, f64), (f64, f64))>,
    /// What is drawn behind the lines.
    pub guide: Guide,
    /// Whether each point is marked.
    pub marks: bool,
}

/// Lines over two axes.
pub(crate) fn lines(lines: &[Line], axes: &Axes<'_>) -> Result<String, NotDrawn> {
    const SIZE: (u32, u32) = (440, 300);
    let points = lines.iter().flat_map(|line| &line.points);
    let points = points.filter(|(x, y)| x.is_finite() && y.is_finite());
    let ((x0, x1), (y0, y1)) = axes.ranges.unwrap_or_else(|| {
        let xs: Vec<f64> = points.clone().map(|(x, _)| *x).collect();
        let ys: Vec<f64> = points.clone().map(|(_, y)| *y).collect();
        (span(&xs, 0.0), span(&ys, 0.05))
    });
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(if axes.y.is_empty() { 10 } else { 24 })
            .margin_right(14)
            .margin_bottom(18)
            .x_label_area_size(22)
            .y_label_area_size(52)
            .build_cartesian_2d(x0..x1, y0..y1)?;
        chart
            .configure_mesh()
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&|value| tick(*value, x1 - x0))
            .y_label_formatter(&|value| tick(*value, y1 - y0))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(font(11, &MUTED))
            .draw()?;
        match axes.guide {
            Guide::None => {}
            Guide::Diagonal => {
                let (from, to) = (x0.max(y0), x1.min(y1));
                chart.draw_series([PathElement::new([(from, from), (to, to)], MUTED)])?;
            }
            Guide::Level(y) => {
                chart.draw_series([PathElement::new([(x0, y), (x1, y)], MUTED)])?;
            }
        }
        for line in lines {
            let color = MODELS[line.model % COLORS];
            let points = line.points.iter().copied();
            let points: Vec<_> = points
                .filter(|(x, y)| x.is_finite() && y.is_finite())
                .collect();
            chart.draw_series([PathElement::new(points.clone(), color.stroke_width(2))])?;
            if axes.marks {
                let marks = points
                    .iter()
                    .map(|point| Circle::new(*point, 3, color.filled()));
                chart.draw_series(marks)?;
            }
        }
        let (width, height) = (SIZE.0 as i32, SIZE.1 as i32);
        let muted = || font(11, &MUTED);
        write(
            &area,
            axes.x,
            (width / 2 + 20, height - 2),
            muted(),
            HPos::Center,
            VPos::Bottom,
        )?;
        write(&area, axes.y, (2, 0), muted(), HPos::Left, VPos::Top)?;
        area.present()?;
    }
    Ok(svg)
}

/// From the least to the greatest, with some room, and never empty.
fn span(values: &[f64], room: f64) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let around = if high > low {
        (high - low) * room
    } else {
        low.abs().max(1.0) * 0.5
    };
    (low - around, high + around)
}

/// Clusters of vertical bars.
pub(crate) fn clusters(clusters: &[Cluster]) -> Result<String, NotDrawn> {
    const SIZE: (u32, u32) = (880, 260);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let (bottom, top) = ends(clusters.iter().flat_map(|cluster| &cluster.bars));
        let notes = clusters.iter().any(|cluster| !cluster.note.is_empty());
        let mut chart = ChartBuilder::on(&area)
            .margin_top(10)
            .margin_right(8)
            .margin_bottom(if notes { 40 } else { 24 })
            .y_label_area_size(44)
            .build_cartesian_2d(0.0..clusters.len() as f64, bottom..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_labels(5)
            .y_label_formatter(&|value| tick(*value, top - bottom))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(font(11, &MUTED))
            .draw()?;
        for (index, cluster) in clusters.iter().enumerate() {
            let left = index as f64;
            let width = 0.76 / cluster.bars.len() as f64;
            for (model, bar) in cluster.bars.iter().enumerate() {
                let from = left + 0.12 + width * model as f64;
                let color = MODELS[model % COLORS];
                let (a, b) = (from + width * 0.06, from + width * 0.94);
                chart.draw_series([Rectangle::new(
                    [(a, 0.0), (b, finite(bar.value))],
                    color.filled(),
                )])?;
                if let Some((low, high)) = whisker(bar) {
                    let middle = from + width / 2.0;
                    chart.draw_series([PathElement::new([(middle, low), (middle, high)], INK)])?;
                }
            }
            let (x, y) = chart.backend_coord(&(left + 0.5, bottom));
            write(
                &area,
                &shorten(&cluster.label, (130 / clusters.len()).clamp(3, 24)),
                (x, y + 7),
                font(12, &INK),
                HPos::Center,
                VPos::Top,
            )?;
            write(
                &area,
                &cluster.note,
                (x, y + 23),
                font(11, &MUTED),
                HPos::Center,
                VPos::Top,
            )?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn font(size: u32, color: &RGBColor) -> TextStyle<'static> {
    // Plotters sets a font a little smaller than asked for, and so do we not ask for the nominal size.
    ("sans-serif", f64::from(size) * 1.24)
        .into_font()
        .color(color)
}

fn write(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    style: TextStyle<'_>,
    horizontal: HPos,
    vertical: VPos,
) -> Result<(), NotDrawn> {
    if text.is_empty() {
        return Ok(());
    }
    let style = style.pos(Pos::new(horizontal, vertical));
    Ok(area.draw(&Text::new(text.to_owned(), at, style))?)
}

/// The ends of the axis: zero, and room for every bar and whisker.
fn ends<'a>(bars: impl Iterator<Item = &'a Bar>) -> (f64, f64) {
    let values = bars.flat_map(|bar| {
        let (low, high) = bar.interval.unwrap_or((0.0, 0.0));
        [bar.value, low, high]
    });
    let finite = values.filter(|value| value.is_finite());
    let (lowest, highest) = finite.fold((0.0, 0.0), |(low, high), value| {
        (f64::min(low, value), f64::max(high, value))
    });
    match (lowest * 1.06, highest * 1.06) {
        (0.0, 0.0) => (0.0, 1.0),
        ends => ends,
    }
}

fn whisker(bar: &Bar) -> Option<(f64, f64)> {
    bar.interval
        .filter(|(low, high)| low.is_finite() && high.is_finite())
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// A label of an axis that is so long.
fn tick(value: f64, length: f64) -> String {
    let digits = match length {
        long if long >= 50.0 => 0,
        long if long >= 5.0 => 1,
        short if short < 0.02 => 3,
        _ => 2,
    };
    // No minus before a zero.
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
        _ => text,
    }
}

fn shorten(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_knows_every_colour_of_a_chart() {
        let sheet = include_str!("report.css");
        let hex = |RGBColor(r, g, b)| format!("#{r:02X}{g:02X}{b:02X}");
        for color in MODELS.into_iter().chain([INK, MUTED]) {
            assert!(
                sheet.contains(&format!("[fill=\"{}\"]", hex(color))),
                "{}",
                hex(color)
            );
        }
        for color in [INK, GRID] {
            assert!(
                sheet.contains(&format!("[stroke=\"{}\"]", hex(color))),
                "{}",
                hex(color)
            );
        }
    }

    #[test]
    fn figures_that_are_not_numbers_and_bars_of_nothing_are_drawn() {
        let bar = |value| Bar {
            value,
            interval: Some((f64::NAN, f64::INFINITY)),
        };
        let svg = model_bars(&["a<b", "nothing"], &[bar(f64::NAN), bar(0.0)]).unwrap();
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN") && !svg.contains("inf"));
        let cluster = Cluster {
            label: "1".to_owned(),
            note: String::new(),
            bars: vec![bar(f64::NAN)],
        };
        assert!(!clusters(&[cluster]).unwrap().contains("NaN"));
    }

    #[test]
    fn lines_are_drawn_without_what_is_no_number() {
        let line = |points: &[(f64, f64)]| Line {
            model: 9,
            points: points.to_vec(),
        };
        let axes = Axes {
            x: "epoch",
            y: "loss",
            ranges: None,
            guide: Guide::Level(0.5),
            marks: true,
        };
        let nan = (2.0, f64::NAN);
        for points in [&[][..], &[(1.0, 2.0)], &[(1.0, 2.0), nan, (3.0, -1.0)]] {
            let svg = lines(&[line(points)], &axes).unwrap();
            assert!(svg.contains("epoch") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    #[test]
    fn bars_may_point_below_zero() {
        let bar = |value| Bar {
            value,
            interval: None,
        };
        assert_eq!(ends([bar(-1.0), bar(0.5)].iter()), (-1.06, 0.53));
        assert_eq!(ends([bar(0.0)].iter()), (0.0, 1.0));
        assert_eq!(
            [tick(-0.001, 1.0), tick(-0.5, 1.0), tick(150.0, 200.0)],
            ["0.00", "-0.50", "150"]
        );
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shorten("a_very_long_model_name", 15), "a_very_long_mo…");
        assert_eq!(shorten("exactly_fifteen", 15), "exactly_fifteen");
    }
}
