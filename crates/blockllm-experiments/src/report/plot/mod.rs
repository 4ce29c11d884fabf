//! Plots as SVG, with plotters and no font files: the viewer's own sans-serif is used.

mod axis;
mod curves;
mod memory;
mod selection;

use plotters::prelude::{DrawingArea, IntoDrawingArea as _, RGBColor, SVGBackend, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{IntoFont as _, TextStyle};

pub use curves::{CurveStyle, loss_curves_svg, plot_loss_curves};
pub use memory::{memory_bars_svg, plot_memory_bars};
pub use selection::{plot_selection_map, selection_map_svg};

use super::ReportError;

/// An area to draw on, inside a picture that is being made.
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Whatever plotters says when it cannot draw.
type DrawError = Box<dyn std::error::Error>;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const TITLE_SIZE: f64 = 21.0;
const TEXT_SIZE: f64 = 15.0;
/// Ends are kept this far from the picture's border.
const MARGIN: i32 = 14;

/// Colours that stay apart for colour-blind readers and in print.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x66, 0x66, 0x66),
    RGBColor(0x8c, 0x56, 0x4b),
];

/// Dashes that tell lines apart without their colour; as many as share no divisor with the colours, so that the pairs of
/// the two repeat after 40 lines only.
const DASHES: [&str; 5] = ["", "8 4", "2 3", "12 3 2 3", "5 2"];

/// The colour of the n-th series. After the last they begin again, a shade apart that nobody sees, so that no two series
/// have the same name for it.
fn colour(index: usize) -> RGBColor {
    let RGBColor(red, green, blue) = PALETTE[index % PALETTE.len()];
    RGBColor(red, green, blue ^ (index / PALETTE.len()).min(15) as u8)
}

/// `svg` with the lines of the first `count` series dashed, each in its own way.
fn dashed(svg: &str, count: usize) -> String {
    (0..count).fold(svg.to_owned(), |svg, index| {
        let (RGBColor(red, green, blue), dashes) = (colour(index), DASHES[index % DASHES.len()]);
        if dashes.is_empty() {
            return svg;
        }
        let stroke = format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\"");
        svg.replace(&stroke, &format!("{stroke} stroke-dasharray=\"{dashes}\""))
    })
}

/// Makes a white picture and lets `draw` fill it.
fn picture(
    title: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let filled = area.fill(&WHITE).map_err(DrawError::from);
        filled
            .and_then(|()| draw(&area))
            .and_then(|()| area.present().map_err(DrawError::from))
    };
    match drawn {
        Ok(()) => Ok(titled(&svg, title)),
        Err(error) => Err(ReportError::Draw {
            title: title.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// A picture that says what it is to whoever cannot see it.
fn titled(svg: &str, title: &str) -> String {
    let title = super::escape::html(title);
    let named = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{title}\" "), 1);
    match named
        .find("<svg ")
        .and_then(|start| Some(start + named[start..].find('>')? + 1))
    {
        Some(inside) => format!("{}\n<title>{title}</title>{}", &named[..inside], &named[inside..]),
        None => named,
    }
}

/// Text of this size, hanging on its point as told.
fn text(size: f64, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font())
        .color(&INK)
        .pos(Pos::new(horizontal, vertical))
}

/// How wide a text will be at most. A viewer shows plotters' size divided by 1.24, and viewers' fonts differ: letters of
/// the widest common sans-serif take 0.62 of their size.
fn text_width(text: &str, size: f64) -> i32 {
    (text.chars().count() as f64 * size / 1.24 * 0.62).ceil() as i32
}
