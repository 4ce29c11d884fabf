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

    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, GlueTask>>> {
        run::planned(cli, self)
    }

    fn page(&self, _: &Cli, runs: &Runs<GlueTask>) -> Result<Page> {
        page::build(self, runs)
    }
}
