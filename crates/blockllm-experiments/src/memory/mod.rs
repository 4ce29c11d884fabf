//! The paper's claim about memory: methods by sizes by sparsities, measured where it is a matter of seconds, estimated
//! elsewhere.
mod page;
mod run;
mod settings;

pub use settings::Settings;

use crate::Cli;
use crate::experiment::{Experiment, NotTaken, PlannedRun, Runs};
use crate::report::Page;
use anyhow::Result;
use blockllm_train::DeviceChoice;

impl Experiment for Settings {
    const NAME: &'static str = "memory";

    const NOT_TAKEN: NotTaken = &[
        (
            "ablations",
            "they are questions of another experiment: use `ablations --ablations`",
        ),
        ("on", "it chooses for another experiment: use `ablations --on`"),
        (
            "bad_documents",
            "it reads no documents: its batches are made of numbers",
        ),
    ];

    /// Which of the settings' sizes.
    type Part = usize;

    fn plan(cli: &Cli) -> Result<Self> {
        Self::of(cli)
    }

    fn describe(&self) -> String {
        self.describe()
    }

    /// On a GPU every run has a process of its own, which begins by itself.
    fn prepare(&mut self, cli: &Cli) -> Result<()> {
        if cli.device == DeviceChoice::Flex {
            run::warm_up(cli, self)?;
        }
        Ok(())
    }

    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, usize>>> {
        run::planned(cli, self)
    }

    fn page(&self, cli: &Cli, runs: &Runs<usize>) -> Result<Page> {
        page::build(cli, self, runs)
    }
}
