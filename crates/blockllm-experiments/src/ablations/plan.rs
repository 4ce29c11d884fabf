//! Which questions the ablations ask in which stages, and the runs of C4 and GLUE that answer them.
use super::cost::Cost;
use super::question::Question;
use super::questions::find;
use crate::cli::{Scale, Stage};
use crate::experiment::NotTaken;
use crate::{Cli, c4, glue, options};
use anyhow::Result;
use blockllm_data::glue::GlueTask;
use blockllm_train::Method;
use std::collections::BTreeSet;

/// What is fine-tuned on where no task is named: small, and one of GLUE's own.
const TASK: GlueTask = GlueTask::Mrpc;

/// The highest rate at the quick scale of what chooses blocks and names none: in steps of 512 tokens a sparse run's loss turns at the
/// rate that is its own in steps of 1,024 (docs/experiment-log.md, 2026-12-01).
const QUICK_RATE: f64 = 1e-3;

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
    pub cost: Cost,
}

impl<P> Asked<P> {
    /// How many questions and runs it has, and roughly how long these take.
    pub fn told(&self) -> String {
        let cost = self.cost.told();
        match self.questions.len() {
            1 => format!("1 question, {cost}"),
            count => format!("{count} questions, {cost}"),
        }
    }
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
            pretraining: pretraining.map(|asked| of_c4(cli, asked)).transpose()?,
            fine_tuning: fine_tuning.map(|asked| of_glue(cli, asked)).transpose()?,
        })
    }
}

/// The `questions` of a pretraining, and the plan of C4's experiment that answers them.
fn of_c4(cli: &Cli, questions: Vec<AskedQuestion>) -> Result<Asked<c4::Plan>> {
    let mut of_c4 = with_methods(cli, &questions)?;
    if cli.scale == Scale::Quick {
        of_c4.methods.iter_mut().for_each(slow_down);
    }
    let plan = c4::Plan::with_settings(&of_c4, pretraining(cli.scale))?;
    Ok(Asked {
        cost: Cost::of_pretraining(cli, &plan),
        questions,
        plan,
    })
}

/// Gives a method that chooses blocks no more than [`QUICK_RATE`], where its name has no rate.
fn slow_down(method: &mut Method) {
    let own = method.algorithm.learning_rates().pretraining;
    if method.learning_rate.is_none() && method.algorithm.sparsity().is_some() && own > QUICK_RATE {
        method.learning_rate = Some(QUICK_RATE);
    }
}

/// The same of a fine-tuning, and GLUE's.
fn of_glue(cli: &Cli, questions: Vec<AskedQuestion>) -> Result<Asked<glue::Plan>> {
    let mut of_glue = with_methods(cli, &questions)?;
    if of_glue.tasks.is_empty() {
        of_glue.tasks = vec![TASK.name().to_owned()];
    }
    let plan = glue::Plan::new(&of_glue)?;
    Ok(Asked {
        cost: Cost::of_fine_tuning(cli, &plan),
        questions,
        plan,
    })
}

/// `cli` with the methods of all `questions`, each once.
fn with_methods(cli: &Cli, questions: &[AskedQuestion]) -> Result<Cli> {
    let mut seen = BTreeSet::new();
    let all = questions.iter().flat_map(|asked| &asked.methods);
    let distinct = all.filter(|name| seen.insert(name.as_str()));
    let methods = distinct
        .map(|name| Ok(Method::parse(name)?))
        .collect::<Result<_>>()?;
    Ok(Cli {
        methods,
        ..cli.clone()
    })
}

/// How a model is pretrained at a scale: at the quick one for fewer steps of fewer tokens than by `c4`, since there are so many
/// runs; at all others as there.
pub(super) fn pretraining(scale: Scale) -> c4::Settings {
    let of_c4 = c4::Settings::of(scale);
    match scale {
        Scale::Quick => c4::Settings {
            batch_size: 4,
            steps: 60,
            validation_labels: 8192,
            patience: 6,
            ..of_c4
        },
        Scale::Cpu | Scale::Paper => of_c4,
    }
}

/// The patience of a stage's runs at a scale.
pub(super) fn patience(stage: Stage, scale: Scale) -> usize {
    match stage {
        Stage::Pretraining => pretraining(scale).patience,
        Stage::FineTuning => glue::Settings::of(scale).patience,
    }
}

/// The questions of `cli` in `stage`.
fn asked(cli: &Cli, stage: Stage) -> Result<Vec<AskedQuestion>> {
    let questions = find(&cli.ablations, stage)?;
    let of_scale = patience(stage, cli.scale);
    let patience = cli.patience.map_or(of_scale, |patience| patience as usize);
    let asked = questions.into_iter().map(|question| AskedQuestion {
        question,
        methods: question.methods(stage, patience),
    });
    Ok(asked.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Experiment;
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
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join("train.jsonl"), documents(0..200)).unwrap();
        let planned = |words: &str| {
            let folder = out.path().display();
            let cli = cli(&format!(
                "--ablations norm,patience --data {folder} --out {folder}/out {words}"
            ));
            let asked = Ablations::new(&cli).unwrap().pretraining.unwrap();
            let rows: Vec<_> = asked
                .plan
                .methods
                .iter()
                .map(|method| method.label.clone())
                .collect();
            let rates = asked.plan.methods.iter().map(|method| method.learning_rate);
            let rates: Vec<_> = rates.collect();
            (asked.plan.settings, rows, rates, asked.cost.told())
        };
        let (settings, rows, rates, cost) = planned("");
        assert_eq!(settings, pretraining(Scale::Quick));
        assert_eq!(rates, [Some(QUICK_RATE); 6]);
        assert_eq!(
            rows,
            [
                "",
                "+norm=grad",
                "+norm=processed",
                "+patience=3",
                "+patience=12",
                "+patience=24"
            ]
            .map(|setting| format!("blockllm:0.9{setting}"))
        );
        assert!(
            cost.starts_with("6 runs, about ") && cost.ends_with(" on two CPU cores"),
            "{cost}"
        );
        let (settings, rows, ..) = planned("--steps 7 --patience 3");
        assert_eq!((settings.steps, settings.patience), (7, 3));
        assert!(rows.contains(&"blockllm:0.9+patience=1".to_owned()), "{rows:?}");
        assert_eq!(pretraining(Scale::Cpu), c4::Settings::of(Scale::Cpu));
        // Longer runs keep the rates of `c4`.
        assert_eq!(planned("--scale cpu").2, [None; 6]);
    }

    /// Lines of a file of texts.
    fn documents(numbers: std::ops::Range<usize>) -> String {
        let line = |number: usize| {
            let text = format!(
                "Document {number} is about block {} and step {}. ",
                number % 7,
                number * 3
            );
            serde_json::json!({ "text": text.repeat(4) }).to_string() + "\n"
        };
        numbers.map(line).collect()
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
