//! Instruction tuning (BlockLLM, section 4: `LLaMA-2` 7B on Alpaca): a language model on conversations, method beside method.
mod answers;
mod checkpoint;
mod page;
mod plan;
mod run;
mod save;
mod settings;

pub use checkpoint::Checkpoint;
pub use plan::{Plan, Request};
pub use save::{DELTA, Save};
pub use settings::Settings;

use crate::Cli;
use crate::experiment::{Experiment, NotTaken, PlannedRun, Runs};
use crate::report::Page;
use anyhow::Result;

impl Experiment for Plan {
    const NAME: &'static str = "instruct";

    const NOT_TAKEN: NotTaken = &[
        (
            "ablations",
            "they are questions of another experiment: use `ablations --ablations`",
        ),
        ("on", "it chooses for another experiment: use `ablations --on`"),
        (
            "model",
            "it tunes a model that is there: name its folder or GGUF file by --model-dir",
        ),
        ("tasks", "they are GLUE's: use `glue --tasks`"),
        ("order", "its rows are shuffled by the seed"),
        (
            "predict_test",
            "there are no test rows: use `glue --predict-test`",
        ),
    ];

    type Part = ();

    fn plan(cli: &Cli) -> Result<Self> {
        Self::new(cli, Request::of(cli)?)
    }

    fn describe(&self) -> String {
        self.describe()
    }

    fn notes(&self) -> Vec<&str> {
        self.notes.iter().map(String::as_str).collect()
    }

    fn table(&self, cli: &Cli) -> Vec<(&'static str, String)> {
        self.table(cli)
    }

    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, ()>>> {
        run::planned(cli, self)
    }

    fn page(&self, cli: &Cli, runs: &Runs<()>) -> Result<Page> {
        page::build(cli, self, runs)
    }
}
