//! Memory at the peak: one stacked bar for each method.

use std::path::Path;

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, VPos};

use super::{
    Area, DrawError, FAINT, INK, MARGIN, TEXT_SIZE, TITLE_SIZE, axis, colour, picture, text, text_width,
};
use crate::report::atomic::write_atomically;
use crate::report::{MemoryBar, MemoryParts, ReportError, format};

const WIDTH: i32 = 860;
const TOP: i32 = 76;
const ROW: i32 = 38;
const BAR: i32 = 24;
const BOTTOM: i32 = 52;

/// Draws the memory chart into the file `path`.
///
/// # Errors
///
/// [`ReportError::Draw`] when it cannot be drawn, [`ReportError::Write`] when the file cannot be written.
pub fn plot_memory_bars(path: &Path, title: &str, bars: &[MemoryBar]) -> Result<(), ReportError> {
    write_atomically(path, &memory_bars_svg(title, bars)?)
}

/// Draws weights, gradients, optimizer state and activations of each method as SVG text.
///
/// # Errors
///
/// [`ReportError::Draw`] when they cannot be drawn.
pub fn memory_bars_svg(title: &str, bars: &[MemoryBar]) -> Result<String, ReportError> {
    let height = TOP + ROW * bars.len().max(1) as i32 + BOTTOM;
    picture(title, (WIDTH as u32, height as u32), |area| {
        draw(area, title, bars)
    })
}

/// Bytes to pixels.
struct Scale {
    left: i32,
    width: f64,
    unit: (&'static str, f64),
    /// In units.
    end: f64,
}

impl Scale {
    fn new(bars: &[MemoryBar]) -> Self {
        let labels = bars
            .iter()
            .map(|bar| text_width(&bar.label, TEXT_SIZE))
            .max()
            .unwrap_or(0);
        let left = MARGIN + labels.clamp(40, WIDTH / 3) + 10;
        let largest = bars
            .iter()
            .map(|bar| bar.parts.sum_bytes())
            .max()
            .unwrap_or(0)
            .max(1) as f64;
        let units = [
            ("GiB", f64::from(1 << 30)),
            ("MiB", f64::from(1 << 20)),
            ("KiB", 1024.0),
        ];
        let unit = units
            .into_iter()
            .find(|(_, size)| largest >= *size)
            .unwrap_or(("bytes", 1.0));
        // The peak stands to the right of its bar.
        let width = f64::from(WIDTH - left - MARGIN - text_width("1023.99 MiB", TEXT_SIZE));
        Self {
            left,
            width,
            unit,
            end: largest / unit.1,
        }
    }

    fn x(&self, units: f64) -> i32 {
        self.left + (units / self.end * self.width).round() as i32
    }

    fn x_of_bytes(&self, bytes: u64) -> i32 {
        self.x(bytes as f64 / self.unit.1)
    }
}

fn draw(area: &Area<'_>, title: &str, bars: &[MemoryBar]) -> Result<(), DrawError> {
    let scale = Scale::new(bars);
    area.draw_text(
        title,
        &text(TITLE_SIZE, HPos::Center, VPos::Center),
        (WIDTH / 2, MARGIN + 10),
    )?;
    draw_legend(area, &scale)?;
    let bottom = TOP + ROW * bars.len().max(1) as i32;
    for tick in axis::ticks(&(0.0..scale.end), 6) {
        let x = scale.x(tick);
        area.draw(&PathElement::new(vec![(x, TOP - 4), (x, bottom)], FAINT))?;
        area.draw_text(
            &axis::label(tick),
            &text(TEXT_SIZE, HPos::Center, VPos::Top),
            (x, bottom + 6),
        )?;
    }
    area.draw_text(
        scale.unit.0,
        &text(TEXT_SIZE, HPos::Center, VPos::Top),
        (scale.left + scale.width as i32 / 2, bottom + 24),
    )?;
    for (index, bar) in bars.iter().enumerate() {
        draw_bar(area, &scale, bar, TOP + ROW * index as i32 + (ROW - BAR) / 2)?;
    }
    area.draw(&PathElement::new(
        vec![(scale.left, TOP - 4), (scale.left, bottom)],
        INK,
    ))?;
    Ok(())
}

fn draw_legend(area: &Area<'_>, scale: &Scale) -> Result<(), DrawError> {
    let mut x = scale.left;
    for (index, (name, _)) in MemoryParts::default().named().into_iter().enumerate() {
        area.draw(&Rectangle::new([(x, 44), (x + 14, 58)], colour(index).filled()))?;
        area.draw_text(name, &text(TEXT_SIZE, HPos::Left, VPos::Center), (x + 20, 51))?;
        x += 20 + text_width(name, TEXT_SIZE) + 18;
    }
    Ok(())
}

fn draw_bar(area: &Area<'_>, scale: &Scale, bar: &MemoryBar, top: i32) -> Result<(), DrawError> {
    let middle = top + BAR / 2;
    area.draw_text(
        &bar.label,
        &text(TEXT_SIZE, HPos::Right, VPos::Center),
        (scale.left - 8, middle),
    )?;
    let mut sum = 0;
    for (index, (_, bytes)) in bar.parts.named().into_iter().enumerate() {
        let (from, to) = (scale.x_of_bytes(sum), scale.x_of_bytes(sum + bytes));
        if to > from {
            area.draw(&Rectangle::new(
                [(from, top), (to, top + BAR)],
                colour(index).filled(),
            ))?;
        }
        sum += bytes;
    }
    let end = (scale.x_of_bytes(sum) + 6, middle);
    area.draw_text(
        &format::bytes(bar.parts.peak_bytes),
        &text(TEXT_SIZE, HPos::Left, VPos::Center),
        end,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, state: u64) -> MemoryBar {
        let parts = MemoryParts {
            weights_bytes: 20 << 20,
            gradients_bytes: 20 << 20,
            optimizer_state_bytes: state << 20,
            activations_bytes: 50 << 20,
            peak_bytes: (90 + state) << 20,
        };
        MemoryBar {
            label: label.to_owned(),
            parts,
        }
    }

    #[test]
    fn bars_tell_their_method_and_their_peak() {
        let svg =
            memory_bars_svg("Memory at the peak", &[bar("adamw", 40), bar("blockllm:0.5", 20)]).unwrap();
        let expected = [
            "Memory at the peak",
            "adamw",
            "130.00 MiB",
            "110.00 MiB",
            "optimizer state",
            "activations",
        ];
        for expected in expected {
            assert!(svg.contains(expected), "`{expected}` is not in the plot");
        }
    }

    #[test]
    fn no_bars_and_empty_bars_are_drawn_without_failing() {
        assert!(memory_bars_svg("Memory", &[]).is_ok());
        let empty = memory_bars_svg("Memory", &[MemoryBar::default()]).unwrap();
        assert!(empty.contains("0 B") && !empty.contains("NaN"), "{empty}");
    }
}
