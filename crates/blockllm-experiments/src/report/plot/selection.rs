//! The selection map: blocks from top to bottom, steps from left to right, coloured where a block is trained.

use std::path::Path;

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, VPos};

use super::{
    Area, DrawError, FAINT, INK, MARGIN, TEXT_SIZE, TITLE_SIZE, axis, colour, picture, text, text_width,
};
use crate::report::atomic::write_atomically;
use crate::report::{ReportError, SelectionMap};

const WIDTH: i32 = 860;
const TOP: i32 = 48;
const BOTTOM: i32 = 56;
const LABEL_SIZE: f64 = 13.0;
/// Rows are as high as a label where the map stays readable on a page, else lower.
const TALL_ROW: i32 = 15;
const MAX_MAP_HEIGHT: i32 = 900;

/// Draws the selection map into the file `path`.
///
/// # Errors
///
/// [`ReportError::Draw`] when it cannot be drawn, [`ReportError::Write`] when the file cannot be written.
pub fn plot_selection_map(path: &Path, map: &SelectionMap) -> Result<(), ReportError> {
    write_atomically(path, &selection_map_svg(map)?)
}

/// Draws the selection map as SVG text.
///
/// # Errors
///
/// [`ReportError::Draw`] when it cannot be drawn.
pub fn selection_map_svg(map: &SelectionMap) -> Result<String, ReportError> {
    let layout = Layout::new(map);
    let height = layout.bottom() + BOTTOM;
    picture(&map.title, (WIDTH as u32, height as u32), |area| {
        draw(area, map, &layout)
    })
}

/// Where things are, in pixels.
struct Layout {
    left: i32,
    row: i32,
    rows: i32,
    steps: f64,
}

impl Layout {
    fn new(map: &SelectionMap) -> Self {
        let rows = map.blocks.len().max(1) as i32;
        let labels = map
            .blocks
            .iter()
            .map(|block| text_width(block, LABEL_SIZE))
            .max()
            .unwrap_or(0);
        Self {
            left: MARGIN + labels.clamp(40, WIDTH / 3) + 8,
            row: (MAX_MAP_HEIGHT / rows).clamp(2, TALL_ROW),
            rows,
            steps: map.steps.max(1) as f64,
        }
    }

    fn x(&self, step: f64) -> i32 {
        self.left + (step / self.steps * f64::from(WIDTH - self.left - MARGIN - 10)).round() as i32
    }

    fn y(&self, block: usize) -> i32 {
        TOP + self.row * block as i32
    }

    fn bottom(&self) -> i32 {
        TOP + self.row * self.rows
    }

    /// Every how many rows there is room for a label.
    fn label_every(&self) -> usize {
        (f64::from(TALL_ROW - 2) / f64::from(self.row)).ceil().max(1.0) as usize
    }
}

fn draw(area: &Area<'_>, map: &SelectionMap, layout: &Layout) -> Result<(), DrawError> {
    area.draw_text(
        &map.title,
        &text(TITLE_SIZE, HPos::Center, VPos::Center),
        (WIDTH / 2, MARGIN + 10),
    )?;
    draw_axes(area, map, layout)?;
    for (from, to, block) in spans(map) {
        let corners = [
            (layout.x(from as f64), layout.y(block)),
            (layout.x(to as f64), layout.y(block + 1)),
        ];
        area.draw(&Rectangle::new(corners, colour(0).filled()))?;
    }
    // Lines on top, so that rows and selections can be told apart where all of them are coloured.
    if layout.row > 4 {
        for block in 1..map.blocks.len() {
            let y = layout.y(block);
            area.draw(&PathElement::new(
                vec![(layout.left, y), (layout.x(layout.steps), y)],
                FAINT,
            ))?;
        }
    }
    for selection in &map.selections {
        let x = layout.x(selection.from_step.min(map.steps) as f64);
        area.draw(&PathElement::new(
            vec![(x, TOP), (x, layout.bottom())],
            INK.mix(0.5),
        ))?;
    }
    let frame = [(layout.left, TOP), (layout.x(layout.steps), layout.bottom())];
    area.draw(&Rectangle::new(frame, INK))?;
    Ok(())
}

fn draw_axes(area: &Area<'_>, map: &SelectionMap, layout: &Layout) -> Result<(), DrawError> {
    for (index, block) in map.blocks.iter().enumerate().step_by(layout.label_every()) {
        let place = (layout.left - 6, layout.y(index) + layout.row / 2);
        area.draw_text(block, &text(LABEL_SIZE, HPos::Right, VPos::Center), place)?;
    }
    let bottom = layout.bottom();
    for tick in axis::ticks(&(0.0..layout.steps), 8)
        .into_iter()
        .filter(|tick| tick.fract() == 0.0)
    {
        let x = layout.x(tick);
        area.draw(&PathElement::new(vec![(x, bottom), (x, bottom + 5)], INK))?;
        area.draw_text(
            &axis::label(tick),
            &text(TEXT_SIZE, HPos::Center, VPos::Top),
            (x, bottom + 8),
        )?;
    }
    let middle = i32::midpoint(layout.left, layout.x(layout.steps));
    area.draw_text(
        "step",
        &text(TEXT_SIZE, HPos::Center, VPos::Top),
        (middle, bottom + 28),
    )?;
    Ok(())
}

/// `(from, to, block)` for every stretch of steps in which a block is trained; selections in a row that keep a block
/// are one stretch.
fn spans(map: &SelectionMap) -> Vec<(u64, u64, usize)> {
    let mut spans = Vec::new();
    for block in 0..map.blocks.len() {
        let mut since = None;
        for selection in &map.selections {
            let step = selection.from_step.min(map.steps);
            match (since, selection.blocks.contains(&block)) {
                (None, true) => since = Some(step),
                (Some(from), false) => {
                    spans.push((from, step, block));
                    since = None;
                }
                _ => {}
            }
        }
        spans.extend(since.map(|from| (from, map.steps, block)));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Selection;

    fn map() -> SelectionMap {
        SelectionMap {
            title: "Selected blocks".to_owned(),
            blocks: ["layers.0", "layers.1", "layers.2"]
                .map(ToOwned::to_owned)
                .to_vec(),
            steps: 30,
            selections: vec![
                Selection {
                    from_step: 0,
                    blocks: vec![0, 2],
                },
                Selection {
                    from_step: 10,
                    blocks: vec![1, 2],
                },
                Selection {
                    from_step: 20,
                    blocks: vec![0, 7],
                },
            ],
        }
    }

    #[test]
    fn a_block_that_is_kept_is_one_stretch() {
        assert_eq!(spans(&map()), [(0, 10, 0), (20, 30, 0), (10, 20, 1), (0, 20, 2)]);
    }

    #[test]
    fn the_map_names_its_blocks_and_steps() {
        let svg = selection_map_svg(&map()).unwrap();
        for expected in ["Selected blocks", "layers.0", "layers.2", "step", "30"] {
            assert!(svg.contains(expected), "`{expected}` is not in the map");
        }
    }

    #[test]
    fn an_empty_map_and_a_huge_one_are_drawn() {
        assert!(selection_map_svg(&SelectionMap::default()).is_ok());
        let blocks = (0..600).map(|block| format!("layers.{block}")).collect();
        let huge = SelectionMap { blocks, ..map() };
        assert!(selection_map_svg(&huge).is_ok());
    }
}
