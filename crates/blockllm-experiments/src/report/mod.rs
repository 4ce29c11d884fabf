//! Reports: pure functions from plain run records to tables, plots and pages; only [`page`] and the `plot_..`
//! functions touch the disk.

pub mod atomic;
pub mod escape;
pub mod format;
mod html;
mod markdown;
pub mod methods;
pub mod page;
pub mod plot;
pub mod quoted;
pub mod table;
mod written_page;

use blockllm_data::is_without_room;
use std::path::PathBuf;

pub use methods::{MEMORY_PARTS, memory_table, method_table};
pub use page::{Figure, Page, Section};
pub use plot::{
    CurveStyle, loss_curves_svg, memory_bars_svg, plot_loss_curves, plot_memory_bars, plot_selection_map,
    selection_map_svg,
};
pub use quoted::{
    quoted_c4_table, quoted_glue_table, quoted_instruction_table, quoted_memory_table, quoted_table,
};
pub use table::{Align, Table};

/// The first table of a written report with its caption, for the terminal.
pub fn first_table(report: &str) -> String {
    let lines: Vec<&str> = report.lines().collect();
    let is_row = |line: &&str| line.starts_with('|');
    let start = lines.iter().position(is_row).unwrap_or(lines.len());
    let caption = lines[..start].iter().rev().find(|line| !line.is_empty());
    let table = lines[start..].iter().take_while(|line| is_row(line));
    caption
        .into_iter()
        .chain(table)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

/// What can go wrong between run records and a report on disk.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A plot could not be drawn.
    #[error("the plot `{title}` could not be drawn: {reason}")]
    Draw {
        /// The plot's title.
        title: String,
        /// What the plotting library said.
        reason: String,
    },
    /// A file of the report could not be written.
    #[error("{}: {source}{}", path.display(), unwritable(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// What to look at; nothing where there is no room, which the program that tells the error says.
fn unwritable(source: &std::io::Error) -> &'static str {
    if is_without_room(source.kind()) {
        ""
    } else {
        "; is the folder there, and writable?"
    }
}

/// One line of a plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub label: String,
    /// `(x, y)`, in the order of x. Points that are not finite leave a gap.
    pub points: Vec<(f64, f64)>,
    /// `(x, least, most)` over the seeds whose mean the points are; nothing where there is one.
    pub band: Vec<(f64, f64, f64)>,
}

/// The most bytes of each kind that a run had, and the most of all kinds at once: less than the sum of the parts where these were not
/// there at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryParts {
    /// The parameters.
    pub weights_bytes: u64,
    /// The gradients that the backward pass keeps.
    pub gradients_bytes: u64,
    /// Moments, masks, probes: all that the optimizer keeps between steps.
    pub optimizer_state_bytes: u64,
    /// Everything else at the peak: activations, inputs, temporaries.
    pub activations_bytes: u64,
    /// The peak.
    pub peak_bytes: u64,
}

impl MemoryParts {
    /// The parts with their names, in the order in which they are shown.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("weights", self.weights_bytes),
            ("gradients", self.gradients_bytes),
            ("optimizer state", self.optimizer_state_bytes),
            ("activations", self.activations_bytes),
        ]
    }

    /// The sum of all parts: how long a bar of them is.
    pub fn sum_bytes(&self) -> u64 {
        self.named().iter().map(|(_, bytes)| bytes).sum()
    }
}

/// What one method reached, over all of its seeds: one row of the report's tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodRow {
    /// The method as it is asked for, such as `blockllm:0.5`.
    pub method: String,
    /// The peak learning rate of its schedule.
    pub learning_rate: f64,
    /// Tokens seen by each run.
    pub tokens_seen: u64,
    /// Validation perplexity at the end, one value for each seed.
    pub validation_perplexity: Vec<f64>,
    /// Validation perplexity of the same initial weights, one value for each seed.
    pub untrained_perplexity: Vec<f64>,
    /// Trained tokens in a second, one value for each seed.
    pub tokens_per_second: Vec<f64>,
    /// Milliseconds of one optimizer step, one value for each seed.
    pub step_ms: Vec<f64>,
    /// The share of the training time that was spent waiting for data, one value for each seed.
    pub wait_share: Vec<f64>,
    /// The largest share of all parameters that was trained at once, from 0 to 1.
    pub trained_share: f64,
    /// Measured peak of live memory, the largest of all seeds.
    pub peak_bytes: u64,
    /// The parts of it.
    pub memory: MemoryParts,
    /// The optimizer state that was computed beforehand, to stand beside the measured one.
    pub estimated_optimizer_state_bytes: u64,
}

/// One bar of the memory chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryBar {
    /// The method.
    pub label: String,
    /// Its parts, stacked.
    pub parts: MemoryParts,
}

/// The blocks that are trained from one step on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The first step with this selection.
    pub from_step: u64,
    /// Indices into [`SelectionMap::blocks`].
    pub blocks: Vec<usize>,
}

/// Which blocks a run trained, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectionMap {
    /// The map's heading.
    pub title: String,
    /// The names of all blocks, from the first layer to the last.
    pub blocks: Vec<String>,
    /// The run's number of steps: where the last selection ends.
    pub steps: u64,
    /// The selections, in the order of their steps.
    pub selections: Vec<Selection>,
}
