//! Loss curves: one line for each method, with an optional smoothed line over the raw one, and a band over its seeds.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, LineSeries, PathElement, Polygon, RGBColor, SeriesLabelPosition, WHITE,
};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color as _, IntoFont as _};

use super::axis::Axis;
use super::{
    Area, DrawError, FAINT, INK, MARGIN, TEXT_SIZE, TITLE_SIZE, axis, colour, dashed, picture, text,
};
use crate::report::atomic::write_atomically;
use crate::report::{Curve, ReportError};

/// How curves are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct CurveStyle {
    /// The heading.
    pub title: String,
    /// What x is.
    pub x_label: String,
    /// What y is.
    pub y_label: String,
    /// A logarithmic y axis; points that are not above zero are left out.
    pub log_y: bool,
    /// The weight of the past in an exponential moving average, from 0 to 1 exclusive, drawn over the faint raw line.
    pub smoothing: Option<f64>,
    /// Whether the curves rise to the right, so that the legend is out of their way below.
    pub rises: bool,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

impl Default for CurveStyle {
    fn default() -> Self {
        Self {
            title: "Training loss".to_owned(),
            x_label: "step".to_owned(),
            y_label: "loss".to_owned(),
            log_y: false,
            smoothing: None,
            rises: false,
            size: (860, 480),
        }
    }
}

impl CurveStyle {
    /// Where a point is drawn: a logarithmic axis is a linear one in powers of ten.
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (x, if self.log_y { y.log10() } else { y })
    }

    fn y_ticks(&self, range: &Range<f64>) -> Vec<f64> {
        if self.log_y {
            axis::log_ticks(range, 7)
        } else {
            axis::ticks(range, 7)
        }
    }

    fn y_tick_label(&self, tick: f64) -> String {
        axis::label(if self.log_y { 10f64.powf(tick) } else { tick })
    }
}

/// Draws curves into the file `path`.
///
/// # Errors
///
/// [`ReportError::Draw`] when they cannot be drawn, [`ReportError::Write`] when the file cannot be written.
pub fn plot_loss_curves(path: &Path, curves: &[Curve], style: &CurveStyle) -> Result<(), ReportError> {
    write_atomically(path, &loss_curves_svg(curves, style)?)
}

/// Draws curves as SVG text.
///
/// # Errors
///
/// [`ReportError::Draw`] when they cannot be drawn.
pub fn loss_curves_svg(curves: &[Curve], style: &CurveStyle) -> Result<String, ReportError> {
    let svg = picture(&style.title, style.size, |area| draw(area, curves, style))?;
    Ok(dashed(&svg, curves.len()))
}

fn draw(area: &Area<'_>, curves: &[Curve], style: &CurveStyle) -> Result<(), DrawError> {
    let lines: Vec<Vec<Vec<(f64, f64)>>> = curves
        .iter()
        .map(|curve| segments(&curve.points, style))
        .collect();
    let bands: Vec<_> = curves.iter().map(|curve| band(&curve.band, style)).collect();
    let points: Vec<(f64, f64)> = lines.iter().chain(&bands).flatten().flatten().copied().collect();
    let (x_axis, y_axis) = axes(&points, style);
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .caption(&style.title, ("sans-serif", TITLE_SIZE).into_font().color(&INK))
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(x_axis, y_axis)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(("sans-serif", TEXT_SIZE).into_font().color(&INK))
        .axis_desc_style(("sans-serif", TEXT_SIZE + 1.0).into_font().color(&INK))
        .x_desc(&style.x_label)
        .y_desc(&style.y_label)
        .x_label_formatter(&|x| axis::label(*x))
        .y_label_formatter(&|y| style.y_tick_label(*y))
        .draw()?;
    for (index, (curve, line)) in curves.iter().zip(&lines).enumerate() {
        let colour = colour(index);
        let stroke = |strength: f64, width| colour.mix(strength).stroke_width(width);
        let area = bands[index]
            .iter()
            .map(|area| Polygon::new(area.clone(), colour.mix(0.15)));
        chart.draw_series(area)?;
        // A line without two points in a row is seen by its dots only.
        let lone = line
            .iter()
            .filter(|segment| segment.len() == 1)
            .map(|segment| segment[0]);
        chart.draw_series(lone.map(|point| Circle::new(point, 3, colour.filled())))?;
        let raw = if style.smoothing.is_some() {
            stroke(0.5, 1)
        } else {
            stroke(1.0, 2)
        };
        for segment in line {
            chart.draw_series(LineSeries::new(segment.iter().copied(), raw))?;
        }
        for segment in style
            .smoothing
            .iter()
            .flat_map(|weight| line.iter().map(|line| smoothed(line, *weight)))
        {
            chart.draw_series(LineSeries::new(segment, stroke(1.0, 2)))?;
        }
        chart
            .draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?
            .label(&curve.label)
            .legend(move |(x, y)| legend_line(x, y, colour));
    }
    if points.is_empty() {
        let (width, height) = area.dim_in_pixel();
        let middle = (width as i32 / 2, height as i32 / 2);
        area.draw_text("no data", &text(TITLE_SIZE, HPos::Center, VPos::Center), middle)?;
    } else {
        chart
            .configure_series_labels()
            .position(if style.rises {
                SeriesLabelPosition::LowerRight
            } else {
                SeriesLabelPosition::UpperRight
            })
            .label_font(("sans-serif", TEXT_SIZE).into_font().color(&INK))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.15))
            .draw()?;
    }
    Ok(())
}

/// The axes on which all points lie.
fn axes(points: &[(f64, f64)], style: &CurveStyle) -> (Axis, Axis) {
    let x_range = axis::padded_range(points.iter().map(|point| point.0), 0.0);
    let y_range = axis::padded_range(points.iter().map(|point| point.1), 0.05);
    let x_axis = Axis {
        ticks: axis::ticks(&x_range, 8),
        range: x_range,
    };
    let y_axis = Axis {
        ticks: style.y_ticks(&y_range),
        range: y_range,
    };
    (x_axis, y_axis)
}

fn legend_line(x: i32, y: i32, colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(3))
}

/// The drawable stretches of a curve, placed on the axes: a point that is not finite ends one.
fn segments(points: &[(f64, f64)], style: &CurveStyle) -> Vec<Vec<(f64, f64)>> {
    let placed: Vec<(f64, f64)> = points.iter().map(|point| style.place(*point)).collect();
    let stretches = placed.split(|(x, y)| !x.is_finite() || !y.is_finite());
    stretches
        .filter(|stretch| !stretch.is_empty())
        .map(<[_]>::to_vec)
        .collect()
}

/// The areas of a band, each around a stretch of it, placed on the axes and smoothed as the line is.
fn band(band: &[(f64, f64, f64)], style: &CurveStyle) -> Vec<Vec<(f64, f64)>> {
    let edge = |value: fn(&(f64, f64, f64)) -> f64| -> Vec<(f64, f64)> {
        band.iter()
            .map(|point| style.place((point.0, value(point))))
            .collect()
    };
    let (least, most) = (edge(|point| point.1), edge(|point| point.2));
    let is_finite = |place: usize| {
        [least[place], most[place]]
            .iter()
            .all(|(x, y)| x.is_finite() && y.is_finite())
    };
    let places: Vec<usize> = (0..band.len()).collect();
    let smooth = |edge: &[(f64, f64)]| match style.smoothing {
        Some(weight) => smoothed(edge, weight),
        None => edge.to_vec(),
    };
    let stretches = places
        .split(|place| !is_finite(*place))
        .filter(|stretch| stretch.len() > 1);
    let area = |stretch: &[usize]| {
        let (first, last) = (stretch[0], stretch[stretch.len() - 1]);
        let upper = smooth(&most[first..=last]);
        let lower = smooth(&least[first..=last]);
        lower.into_iter().chain(upper.into_iter().rev()).collect()
    };
    stretches.map(area).collect()
}

/// The exponential moving average of a stretch, corrected for its start (as Adam's moments are), so that it does not
/// lag behind a loss that falls fast at first.
fn smoothed(line: &[(f64, f64)], weight: f64) -> Vec<(f64, f64)> {
    let (mut sum, mut weights) = (0.0, 0.0);
    let average_at = |&(x, y): &(f64, f64)| {
        sum = weight * sum + (1.0 - weight) * y;
        weights = weight * weights + (1.0 - weight);
        (x, sum / weights)
    };
    line.iter().map(average_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(label: &str, points: &[(f64, f64)]) -> Curve {
        Curve {
            label: label.to_owned(),
            points: points.to_vec(),
            band: Vec::new(),
        }
    }

    #[test]
    fn a_band_is_an_area_between_its_edges_with_gaps() {
        let points = [
            (0.0, 1.0, 2.0),
            (1.0, 1.5, 3.0),
            (2.0, f64::NAN, 3.0),
            (3.0, 1.0, 2.0),
        ];
        let expected = vec![(0.0, 1.0), (1.0, 1.5), (1.0, 3.0), (0.0, 2.0)];
        assert_eq!(band(&points, &CurveStyle::default()), [expected]);
        let with_band = Curve {
            band: points.to_vec(),
            ..curve("three seeds", &[(0.0, 1.5), (1.0, 2.0)])
        };
        let svg = loss_curves_svg(&[with_band], &CurveStyle::default()).unwrap();
        assert!(
            svg.contains("<polygon") && svg.contains("opacity=\"0.15\""),
            "{svg}"
        );
    }

    #[test]
    fn a_plot_has_its_title_labels_and_legend() {
        let curves = [
            curve("adamw", &[(1.0, 8.0), (2.0, 5.0)]),
            curve("blockllm:0.5", &[(1.0, 8.0), (2.0, 6.0)]),
        ];
        let svg = loss_curves_svg(&curves, &CurveStyle::default()).unwrap();
        for expected in [
            "Training loss",
            "step",
            "loss",
            "adamw",
            "blockllm:0.5",
            "#0072B2",
            "#D55E00",
        ] {
            assert!(svg.contains(expected), "`{expected}` is not in the plot");
        }
    }

    #[test]
    fn lines_are_told_apart_without_their_colour_and_the_picture_is_named() {
        let curves: Vec<Curve> = (0..20)
            .map(|index| curve(&format!("method {index}"), &[(1.0, f64::from(index)), (2.0, 1.0)]))
            .collect();
        let style = CurveStyle {
            title: "Loss <of> all".into(),
            ..CurveStyle::default()
        };
        let svg = loss_curves_svg(&curves, &style).unwrap();
        assert!(
            svg.contains("role=\"img\" aria-label=\"Loss &lt;of&gt; all\"")
                && svg.contains("<title>Loss &lt;of&gt; all</title>"),
            "{svg}"
        );
        // Every line and its sample in the legend: colour and dashes, each pair twice.
        let mut looks = std::collections::BTreeMap::new();
        for line in svg
            .split('<')
            .filter(|tag| tag.starts_with("polyline") && !tag.contains("#DDDDDD"))
        {
            let stroke = line.split("stroke=\"").nth(1).unwrap().split('"').next().unwrap();
            let dashes = line
                .split("dasharray=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            if !stroke.starts_with("#333333") && !stroke.starts_with("#000000") {
                *looks.entry((stroke.to_owned(), dashes)).or_insert(0) += 1;
            }
        }
        assert_eq!(looks.len(), 20, "{looks:?}");
        let dashes: std::collections::BTreeSet<_> = looks.keys().map(|(_, dashes)| dashes).collect();
        assert_eq!(dashes.len(), 5);
    }

    #[test]
    fn a_value_that_is_not_finite_leaves_a_gap() {
        let points = [
            (0.0, 1.0),
            (1.0, f64::NAN),
            (2.0, 3.0),
            (3.0, 4.0),
            (4.0, f64::INFINITY),
        ];
        assert_eq!(
            segments(&points, &CurveStyle::default()),
            [vec![(0.0, 1.0)], vec![(2.0, 3.0), (3.0, 4.0)]]
        );
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_is_not_above_zero() {
        let style = CurveStyle {
            log_y: true,
            ..CurveStyle::default()
        };
        assert_eq!(
            segments(&[(0.0, 100.0), (1.0, 0.0), (2.0, -1.0)], &style),
            [vec![(0.0, 2.0)]]
        );
    }

    #[test]
    fn one_point_is_drawn_and_none_is_told() {
        let one = loss_curves_svg(&[curve("a", &[(3.0, 2.0)])], &CurveStyle::default()).unwrap();
        assert!(one.contains("<circle") && !one.contains("NaN"), "{one}");
        let none = loss_curves_svg(&[curve("a", &[(1.0, f64::NAN)])], &CurveStyle::default()).unwrap();
        assert!(none.contains("no data"), "{none}");
        assert!(
            loss_curves_svg(&[], &CurveStyle::default())
                .unwrap()
                .contains("no data")
        );
    }

    #[test]
    fn smoothing_starts_at_the_first_value() {
        assert_eq!(smoothed(&[(0.0, 4.0), (1.0, 1.0)], 0.5), [(0.0, 4.0), (1.0, 2.0)]);
    }
}
