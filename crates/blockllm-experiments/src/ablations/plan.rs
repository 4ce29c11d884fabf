//! Which questions the ablations ask in which stages, and the runs of C4 and GLUE that answer them.
use super::question::Question;
use super::questions::find;
use crate::cli::{Scale, Stage};
use crate::experiment::{Experiment, NotTaken};
use crate::{Cli, c4, glue, options};
use anyhow::Result;
use blockllm_data::glue::GlueTask;
use blockllm_train::Method;
use std::collections::BTreeSet;

/// Steps of a pretraining at the quick scale, and the patience that goes with so few.
const QUICK_STEPS: u64 = 100;
const QUICK_PATIENCE: u64 = 10;

/// What is fine-tuned on where no task is named: small, and one of GLUE's own.
const TASK: GlueTask = GlueTask::Mrpc;

/// What means nothing in a fine-tuning, and in a pretraining.
const OF_PRETRAINING: NotTaken = &[
    (
        "model",
        "it fine-tunes a folder: give that by --model-dir, or pretrain too by --on pretraining,fine-tuning",
    ),
    (
        "bad_documents",
        "a bad row of GLUE always ends the run: mend or remove it",
    ),
];
const OF_FINE_TUNING: NotTaken = &[
    (
        "model_dir",
        "a pretraining begins with random weights: fine-tune the folder by --on fine-tuning",
    ),
    ("tasks", "they are GLUE's: ask on them by --on fine-tuning"),
    (
        "epochs",
        "the length of a pretraining is in steps: use --steps, or fine-tune by --on fine-tuning",
    ),
    (
        "max_length",
        "rows of a pretraining have the length of the scale; those of --on fine-tuning may be cut",
    ),
    (
        "order",
        "rows of a pretraining are shuffled by the seed; those of --on fine-tuning may not be",
    ),
];

/// The questions that are asked, and the runs that answer them: a run that stands in several tables is made once, and one that
/// `c4` or `glue` has made already is taken from there.
#[derive(Debug)]
pub struct Ablations {
    pub(super) pretraining: Option<Asked<c4::Plan>>,
    pub(super) fine_tuning: Option<Asked<glue::Plan>>,
}

/// The questions of a stage, and the plan of the experiment that trains so.
#[derive(Debug)]
pub(super) struct Asked<P> {
    pub questions: Vec<AskedQuestion>,
    pub plan: P,
}

/// A question and its rows.
#[derive(Clone, Debug)]
pub(super) struct AskedQuestion {
    pub question: &'static Question,
    /// The labels of its methods, the one that all others differ from first.
    pub methods: Vec<String>,
}

/// What a run of the ablations trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trained {
    /// A language model from random weights.
    Pretraining,
    /// A classifier on this task.
    FineTuning(GlueTask),
}

impl Ablations {
    /// Finds the questions, and what their runs need.
    ///
    /// # Errors
    /// When there is no question of a name, an option is not for what is trained, and as [`c4::Plan::new`] and
    /// [`glue::Plan::new`].
    pub fn new(cli: &Cli) -> Result<Self> {
        for (stage, not_taken) in [
            (Stage::Pretraining, OF_PRETRAINING),
            (Stage::FineTuning, OF_FINE_TUNING),
        ] {
            if !cli.on.contains(&stage) {
                options::check_experiment(cli, not_taken)?;
            }
        }
        let questions = |stage| {
            let is_on = cli.on.contains(&stage);
            is_on.then(|| asked(cli, stage)).transpose()
        };
        // A name that is wrong in one of them is told before the data of the other is read.
        let (pretraining, fine_tuning) = (questions(Stage::Pretraining)?, questions(Stage::FineTuning)?);
        Ok(Self {
            pretraining: pretraining
                .map(|questions| Asked::new(&of_c4(cli), questions))
                .transpose()?,
            fine_tuning: fine_tuning
                .map(|questions| Asked::new(&of_glue(cli), questions))
                .transpose()?,
        })
    }
}

impl<P: Experiment> Asked<P> {
    /// `questions`, and the plan that `cli` makes with all their methods, each once.
    fn new(cli: &Cli, questions: Vec<AskedQuestion>) -> Result<Self> {
        let mut seen = BTreeSet::new();
        let all = questions.iter().flat_map(|asked| &asked.methods);
        let distinct = all.filter(|name| seen.insert(name.as_str()));
        let methods = distinct
            .map(|name| Ok(Method::parse(name)?))
            .collect::<Result<_>>()?;
        let plan = P::plan(&Cli {
            methods,
            ..cli.clone()
        })?;
        Ok(Self { questions, plan })
    }
}

/// The questions of `cli` in `stage`.
fn asked(cli: &Cli, stage: Stage) -> Result<Vec<AskedQuestion>> {
    let questions = find(&cli.ablations, stage)?;
    let asked = questions.into_iter().map(|question| AskedQuestion {
        question,
        methods: question.methods(stage).expect("it is asked in this stage"),
    });
    Ok(asked.collect())
}

/// The command line of `cli` as C4's experiment would read it.
fn of_c4(cli: &Cli) -> Cli {
    let is_quick = cli.scale == Scale::Quick;
    Cli {
        steps: cli.steps.or(is_quick.then_some(QUICK_STEPS)),
        patience: cli.patience.or(is_quick.then_some(QUICK_PATIENCE)),
        ..cli.clone()
    }
}

/// The same for GLUE's.
fn of_glue(cli: &Cli) -> Cli {
    let mut cli = cli.clone();
    if cli.tasks.is_empty() {
        cli.tasks = vec![TASK.name().to_owned()];
    }
    cli
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockllm_train::Methods;
    use clap::Parser;

    fn cli(words: &str) -> Cli {
        let words = ["runner", "ablations"]
            .into_iter()
            .chain(words.split_whitespace());
        Cli::try_read(words, vec!["ablations"], &Methods::built_in()).unwrap()
    }

    fn refused(words: &str) -> String {
        Ablations::new(&cli(words)).unwrap_err().to_string()
    }

    #[test]
    fn a_pretraining_is_short_at_the_quick_scale_unless_it_is_told_otherwise() {
        let short = of_c4(&cli(""));
        assert_eq!((short.steps, short.patience), (Some(100), Some(10)));
        let given = of_c4(&cli("--steps 7 --patience 3"));
        assert_eq!((given.steps, given.patience), (Some(7), Some(3)));
        assert_eq!(of_c4(&cli("--scale cpu")).steps, None);
    }

    #[test]
    fn fine_tuning_makes_every_method_once_in_a_folder_of_its_own_that_is_glue_s() {
        let out = tempfile::tempdir().unwrap();
        let words = format!("--on fine-tuning --seeds 2 --out {}", out.path().display());
        let cli = cli(&words);
        let ablations = Ablations::new(&cli).unwrap();
        assert!(ablations.pretraining.is_none());
        let runs = ablations.runs(&cli).unwrap();
        let rows: BTreeSet<_> = ablations
            .fine_tuning
            .as_ref()
            .unwrap()
            .questions
            .iter()
            .flat_map(|asked| &asked.methods)
            .collect();
        let places: BTreeSet<_> = runs.iter().map(|run| &run.place.path).collect();
        assert_eq!((runs.len(), places.len()), (2 * rows.len(), 2 * rows.len()));
        assert!(
            runs.iter()
                .all(|run| run.part == Trained::FineTuning(GlueTask::Mrpc))
        );
        let words = format!(
            "runner glue --tasks MRPC --methods blockllm:0.95,scale --out {}",
            out.path().display()
        );
        let of_glue = Cli::parse_from(words.split(' '));
        let plan = glue::Plan::new(&of_glue).unwrap();
        for run in plan.runs(&of_glue).unwrap() {
            assert!(places.contains(&run.place.path), "{}", run.title);
        }
    }

    #[test]
    fn what_the_stage_would_ignore_is_refused_with_the_mend() {
        for (words, option, mend) in [
            ("--tasks RTE", "--tasks", "--on fine-tuning"),
            ("--model-dir x", "--model-dir", "--on fine-tuning"),
            ("--on fine-tuning --model 60m", "--model:", "--model-dir"),
            (
                "--on fine-tuning --bad-documents skip",
                "--bad-documents",
                "mend or remove",
            ),
            ("--ablations sparsity,colour", "`colour`", "sparsity, patience"),
            (
                "--on pretraining,fine-tuning --ablations rule",
                "`rule`",
                "not asked in fine-tuning",
            ),
        ] {
            let message = refused(words);
            assert!(message.contains(option) && message.contains(mend), "{message}");
        }
    }
}
