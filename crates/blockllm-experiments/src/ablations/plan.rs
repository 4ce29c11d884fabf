//! Which questions the ablations ask, and the runs of C4's pretraining that answer them.
use super::questions::{QUESTIONS, Question};
use crate::cli::Scale;
use crate::{Cli, c4};
use anyhow::{Result, bail};
use blockllm_train::Method;
use std::collections::BTreeSet;

/// Steps of a run at the quick scale, and the patience that goes with so few.
const QUICK_STEPS: u64 = 100;
const QUICK_PATIENCE: u64 = 10;

/// The questions that are asked, and the runs of C4's pretraining that answer them: a run that stands in several tables is
/// made once, and one that `c4` has made already is taken from there.
#[derive(Debug)]
pub struct Ablations {
    pub(super) questions: Vec<&'static Question>,
    pub(super) plan: c4::Plan,
}

impl Ablations {
    /// Finds the questions, and what their runs need.
    ///
    /// # Errors
    /// When there is no question of a name, and as [`c4::Plan::new`].
    pub fn new(cli: &Cli) -> Result<Self> {
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
        let error = Ablations::new(&cli("--ablations sparsity,colour"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`colour`") && error.contains("sparsity, patience"),
            "{error}"
        );
    }
}
