//! Ablations: what each choice of a method does, the rest as it is; each question a table with plots, in pretraining and in
//! fine-tuning.
mod chapter;
mod cost;
mod coverage;
mod measures;
mod page;
mod plan;
mod question;
mod questions;

pub use plan::{Ablations, Trained};

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
        (
            "save_model",
            "so many models are of no use: train one by `c4` or `glue`",
        ),
        (
            "predict_test",
            "so many submissions are of no use: use `glue --predict-test`",
        ),
    ];

    type Part = Trained;

    fn plan(cli: &Cli) -> Result<Self> {
        Self::new(cli)
    }

    fn describe(&self) -> String {
        let pretraining = self.pretraining.iter();
        let pretraining = pretraining.map(|asked| format!("{}, {}", asked.told(), asked.plan.describe()));
        let fine_tuning = self.fine_tuning.iter();
        let fine_tuning = fine_tuning.map(|asked| format!("{}, {}", asked.told(), asked.plan.describe()));
        let all: Vec<_> = pretraining.chain(fine_tuning).collect();
        format!("ablations: {}", all.join("; and "))
    }

    fn notes(&self) -> Vec<&str> {
        let pretraining = self.pretraining.iter().flat_map(|asked| asked.plan.notes());
        let fine_tuning = self.fine_tuning.iter().flat_map(|asked| asked.plan.notes());
        pretraining.chain(fine_tuning).collect()
    }

    fn table(&self, cli: &Cli) -> Vec<(&'static str, String)> {
        let mut table = match &self.pretraining {
            Some(asked) => asked.plan.table(cli),
            None => vec![("device", cli.device.name().to_owned())],
        };
        if let Some(asked) = &self.fine_tuning {
            table.push(("fine-tuning", asked.plan.describe()));
        }
        let asked = self.pretraining.iter();
        table.extend(asked.map(|asked| ("pretraining runs", asked.told())));
        let asked = self.fine_tuning.iter();
        table.extend(asked.map(|asked| ("fine-tuning runs", asked.told())));
        table
    }

    fn prepare(&mut self, cli: &Cli) -> Result<()> {
        let pretraining = self.pretraining.as_mut();
        pretraining.map_or(Ok(()), |asked| asked.plan.prepare(cli))
    }

    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, Trained>>> {
        let mut runs = Vec::new();
        if let Some(asked) = &self.pretraining {
            let own = asked.plan.runs(cli)?;
            runs.extend(own.into_iter().map(|run| run.of(|()| Trained::Pretraining)));
        }
        if let Some(asked) = &self.fine_tuning {
            let own = asked.plan.runs(cli)?;
            runs.extend(own.into_iter().map(|run| run.of(Trained::FineTuning)));
        }
        Ok(runs)
    }

    fn conclude(&self, cli: &Cli) {
        if let Some(asked) = &self.pretraining {
            asked.plan.conclude(cli);
        }
    }

    fn page(&self, cli: &Cli, runs: &Runs<Trained>) -> Result<Page> {
        page::build(self, cli, runs)
    }
}
