//! Ablations: what each choice of a method does, the rest as it is; each question a table and a plot, in pretraining.
mod page;
mod questions;

use crate::cli::Scale;
use crate::experiment::{Experiment, NotTaken, PlannedRun, Runs};
use crate::report::Page;
use crate::{Cli, c4};
use anyhow::{Result, bail};
use blockllm_train::Method;
use questions::{QUESTIONS, Question};
use std::collections::BTreeSet;

/// Steps of a run at the quick scale, and the patience that goes with so few.
const QUICK_STEPS: u64 = 100;
const QUICK_PATIENCE: u64 = 10;

/// The questions that are asked, and the runs of C4's pretraining that answer them: a run that stands in several tables is
/// made once, and one that `c4` has made already is taken from there.
#[derive(Debug)]
pub struct Ablations {
    questions: Vec<&'static Question>,
    plan: c4::Plan,
}

impl Ablations {
    /// The command line of `cli` as C4's experiment would read it, with the methods of all `questions`.
    fn of_c4(cli: &Cli, questions: &[&Question]) -> Result<Cli> {
        let mut seen = BTreeSet::new();
        let all = questions.iter().flat_map(|question| question.methods);
        let distinct = all.filter(|name| seen.insert(**name));
        let methods = distinct
            .map(|name| Ok(Method::parse(name)?))
            .collect::<Result<_>>()?;
        let is_quick = cli.scale == Scale::Quick;
        Ok(Cli {
            methods,
            steps: cli.steps.or(is_quick.then_some(QUICK_STEPS)),
            patience: cli.patience.or(is_quick.then_some(QUICK_PATIENCE)),
            ..cli.clone()
        })
    }
}

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
        let known = || {
            QUESTIONS
                .iter()
                .map(|question| question.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let find = |name: &String| match QUESTIONS.iter().find(|question| question.name == name) {
            Some(question) => Ok(question),
            None => bail!(
                "--ablations: there is no question `{name}`; use some of {}",
                known()
            ),
        };
        let questions: Vec<_> = if cli.ablations.is_empty() {
            QUESTIONS.iter().collect()
        } else {
            cli.ablations.iter().map(find).collect::<Result<_>>()?
        };
        let plan = c4::Plan::new(&Self::of_c4(cli, &questions)?)?;
        Ok(Self { questions, plan })
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn cli(words: &str) -> Cli {
        Cli::parse_from(
            ["runner", "ablations"]
                .into_iter()
                .chain(words.split_whitespace()),
        )
    }

    #[test]
    fn every_method_of_every_question_is_known_and_each_question_compares() {
        let mut names = BTreeSet::new();
        for question in &QUESTIONS {
            assert!(names.insert(question.name), "{} twice", question.name);
            assert!(question.methods.len() > 1, "{}", question.name);
            for method in question.methods {
                assert!(Method::parse(method).is_ok(), "{method}");
            }
        }
    }

    #[test]
    fn a_method_that_stands_in_several_tables_is_run_once() {
        let questions: Vec<_> = QUESTIONS.iter().collect();
        let of_c4 = Ablations::of_c4(&cli(""), &questions).unwrap();
        let labels: BTreeSet<_> = of_c4.methods.iter().map(|method| &method.label).collect();
        assert_eq!(labels.len(), of_c4.methods.len());
        assert_eq!((of_c4.steps, of_c4.patience), (Some(100), Some(10)));
        let given = Ablations::of_c4(&cli("--steps 7 --patience 3"), &questions).unwrap();
        assert_eq!((given.steps, given.patience), (Some(7), Some(3)));
    }

    #[test]
    fn a_question_that_is_none_is_told_with_those_that_are() {
        let error = Ablations::plan(&cli("--ablations sparsity,colour"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`colour`") && error.contains("sparsity, patience"),
            "{error}"
        );
    }
}
