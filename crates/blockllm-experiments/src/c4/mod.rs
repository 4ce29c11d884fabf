//! C4 pretraining (BlockLLM, section 4; `GaLore`'s set-up): a Llama from random weights, method beside method.
mod data;
mod page;
mod plan;
mod published;
mod run;

pub use plan::{Plan, Settings};
pub use published::{Published, published};

use crate::experiment::{Experiment, NotTaken, PlannedRun, Runs};
use crate::report::Page;
use crate::{Cli, alone, causes};
use anyhow::Result;
use blockllm_train::tell_line;

impl Experiment for Plan {
    const NAME: &'static str = "c4";

    const NOT_TAKEN: NotTaken = &[
        (
            "ablations",
            "they are questions of another experiment: use `ablations --ablations`",
        ),
        ("on", "it chooses for another experiment: use `ablations --on`"),
        (
            "model_dir",
            "it trains from random weights: choose their size by --model, or fine-tune the folder by `glue --model-dir`",
        ),
        ("tasks", "they are GLUE's: use `glue --tasks`"),
        ("epochs", "its length is in steps: use --steps"),
        ("max_length", "its rows have the length of the scale"),
        ("order", "its rows are shuffled by the seed"),
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
        self.describe()
    }

    fn notes(&self) -> Vec<&str> {
        self.notes.iter().map(String::as_str).collect()
    }

    fn table(&self, cli: &Cli) -> Vec<(&'static str, String)> {
        self.table(cli)
    }

    fn prepare(&mut self, _: &Cli) -> Result<()> {
        self.read_validation()
    }

    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, ()>>> {
        run::planned(cli, self)
    }

    /// Records which data was read. The runs are complete, whatever has become of their data since: they get their report. Who
    /// has not read the data knows nothing of them.
    fn conclude(&self, cli: &Cli) {
        if alone::trains_here(cli)
            && let Err(error) = data::record(&self.manifest, &self.corpus, &cli.out)
        {
            tell_line!(
                "warning: no record of the hashes of the data that was read: {}",
                causes::told(&error)
            );
        }
    }

    fn page(&self, cli: &Cli, runs: &Runs<()>) -> Result<Page> {
        page::build(cli, self, runs)
    }
}
