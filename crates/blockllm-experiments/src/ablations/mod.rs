//! Ablations: what each choice of a method does, the rest as it is; each question a table and a plot, in pretraining.
mod page;
mod plan;
mod questions;

pub use plan::Ablations;

use crate::Cli;
use crate::experiment::{Experiment, NotTaken, PlannedRun, Runs};
use crate::report::Page;
use anyhow::Result;

impl Experiment for Ablations {
    const NAME: &'static str = "ablations";

    const NOT_TAKEN: NotTaken = &[
        (
            "methods",
            "each question has its own: choose questions by --ablations, or compare methods by `c4 --methods`",
        ),
        ("model_dir", "it trains from random weights, as `c4` does"),
        ("tasks", "they are GLUE's: use `glue --tasks`"),
        ("epochs", "its length is in steps: use --steps"),
        ("max_length", "its rows have the length of the scale"),
        ("order", "its rows are shuffled by the seed"),
        ("save_model", "so many models are of no use: train one by `c4`"),
        (
            "predict_test",
            "there are no test rows: use `glue --predict-test`",
        ),
    ];

    type Part = ();

    fn plan(cli: &Cli) -> Result<Self> {
        Self::new(cli)
    }

    fn describe(&self) -> String {
        format!(
            "ablations: {} questions, {}",
            self.questions.len(),
            self.plan.describe()
        )
    }

    fn notes(&self) -> &[String] {
        &self.plan.notes
    }

    fn table(&self, cli: &Cli) -> Vec<(&'static str, String)> {
        self.plan.table(cli)
    }

    fn prepare(&mut self, _: &Cli) -> Result<()> {
        self.plan.read_validation()
    }

    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, ()>>> {
        self.plan.runs(cli)
    }

    fn conclude(&self, cli: &Cli) {
        self.plan.conclude(cli);
    }

    fn page(&self, cli: &Cli, runs: &Runs<()>) -> Result<Page> {
        page::build(self, cli, runs)
    }
}
