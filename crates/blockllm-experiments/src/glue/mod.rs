//! GLUE fine-tuning (BlockLLM, section 4): a pretrained encoder on every task whose data is there, method beside method.
mod checkpoint;
mod comparison;
mod methods;
mod page;
mod plan;
mod rows;
mod run;
mod scores;
mod settings;

pub use plan::Plan;
pub use rows::{Source, TaskPlan};
pub(crate) use scores::{score, shown_score};
pub use settings::Settings;

use crate::Cli;
use crate::experiment::{Experiment, NotTaken, PlannedRun, Runs};
use crate::report::Page;
use anyhow::Result;
use blockllm_data::glue::GlueTask;
use checkpoint::Checkpoint;

/// Seen on MRPC and `CoLA` at a sparsity of 0.95 and any rate (docs/experiment-log.md, 2026-12-01).
const RANDOM_ON_REAL: &str = "a classifier from random weights learns little of GLUE's own rows, and one that trains a few per cent at a time \
     may do no more than guess the more frequent class: its rows rank nothing then. Give a pretrained folder by --model-dir";

impl Experiment for Plan {
    const NAME: &'static str = "glue";

    const NOT_TAKEN: NotTaken = &[
        (
            "ablations",
            "they are questions of another experiment: use `ablations --ablations`",
        ),
        ("on", "it chooses for another experiment: use `ablations --on`"),
        ("model", "it fine-tunes a folder: give that by --model-dir"),
        (
            "bad_documents",
            "scores are compared with others over all rows, so a bad row always ends the run: mend or remove it",
        ),
    ];

    type Part = GlueTask;

    fn plan(cli: &Cli) -> Result<Self> {
        Self::new(cli)
    }

    fn describe(&self) -> String {
        self.describe()
    }

    fn notes(&self) -> Vec<&str> {
        let is_from_random_weights = matches!(self.checkpoint, Checkpoint::Scratch(_));
        let is_hard = is_from_random_weights && self.source != Source::Generated;
        is_hard.then_some(RANDOM_ON_REAL).into_iter().collect()
    }

    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, GlueTask>>> {
        run::planned(cli, self)
    }

    fn page(&self, _: &Cli, runs: &Runs<GlueTask>) -> Result<Page> {
        page::build(self, runs)
    }
}
