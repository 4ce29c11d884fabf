//! What an experiment is: a plan made from the command line, runs, and a page about those that are complete.
//!
//! An experiment is a folder with a type that implements [`Experiment`], and a line in [`crate::registry`]; how one goes, from
//! the plan to the report, is written once, in [`crate::flow`].
use crate::Cli;
use crate::outcome::{CompleteRun, DivergedRun};
use crate::recorded_run::Job;
use crate::report::Page;
use crate::run_place::RunPlace;
use anyhow::Result;

/// Options that an experiment would ignore, each with what to do instead.
pub type NotTaken = &'static [(&'static str, &'static str)];

/// A plan, which knows its runs and what to say about them.
///
/// ```no_run
/// use anyhow::Result;
/// use blockllm_experiments::experiment::{Experiment, NotTaken, PlannedRun, Runs};
/// use blockllm_experiments::report::Page;
/// use blockllm_experiments::{Cli, flow};
///
/// /// Says what it would compare, and compares nothing.
/// struct Modest;
///
/// impl Experiment for Modest {
///     const NAME: &'static str = "modest";
///     const NOT_TAKEN: NotTaken = &[("tasks", "they are GLUE's: use `glue --tasks`")];
///     type Part = ();
///
///     fn plan(_: &Cli) -> Result<Self> {
///         Ok(Self)
///     }
///
///     fn describe(&self) -> String {
///         "modest: no runs".into()
///     }
///
///     fn runs<'a>(&'a self, _: &'a Cli) -> Result<Vec<PlannedRun<'a, ()>>> {
///         Ok(Vec::new())
///     }
///
///     fn page(&self, _: &Cli, _: &Runs<()>) -> Result<Page> {
///         Ok(Page::default())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// flow::run::<Modest>(&clap::Parser::parse_from(["runner", "modest", "--dry-run"]))
/// # }
/// ```
pub trait Experiment: Sized {
    /// The name on the command line, and of the folder below `--out`.
    const NAME: &'static str;

    /// The options that it would ignore, by their ids, such as `model_dir`.
    const NOT_TAKEN: NotTaken;

    /// What tells its runs apart beside method and seed, such as a task; `()` where there is nothing.
    type Part;

    /// Finds what the runs need, as far as it decides where they lie and what they are called.
    ///
    /// # Errors
    /// When the command line asks for what is not there or does not fit.
    fn plan(cli: &Cli) -> Result<Self>;

    /// One line for the terminal, which begins with the name.
    fn describe(&self) -> String;

    /// What a user should know before it begins.
    fn notes(&self) -> Vec<&str> {
        Vec::new()
    }

    /// What all runs share, by name: what `--dry-run` shows.
    fn table(&self, cli: &Cli) -> Vec<(&'static str, String)> {
        vec![
            ("plan", self.describe()),
            ("device", cli.device.name().to_owned()),
        ]
    }

    /// Reads and makes what training needs and a dry run does not.
    ///
    /// # Errors
    /// When it cannot.
    fn prepare(&mut self, _cli: &Cli) -> Result<()> {
        Ok(())
    }

    /// All runs, in the order in which they are made.
    ///
    /// # Errors
    /// When a method does not fit the model, or a folder cannot be read or made.
    fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, Self::Part>>>;

    /// What is left to do once the runs are made, before the report; the runs are complete whatever becomes of it.
    fn conclude(&self, _cli: &Cli) {}

    /// The report of the complete runs, of which there is at least one.
    ///
    /// # Errors
    /// When records cannot be read, or a plot cannot be drawn.
    fn page(&self, cli: &Cli, runs: &Runs<Self::Part>) -> Result<Page>;
}

/// A run that is to be made, or is made already.
pub struct PlannedRun<'a, P> {
    /// Its folder, and what it is a function of.
    pub place: RunPlace,
    /// What it is a run of.
    pub part: P,
    /// Its method's label.
    pub method: &'a str,
    /// What errors call it, such as ``method `adamw`, seed 0``.
    pub title: String,
    /// What a dry run calls it, with what was set for it.
    pub settings: String,
    /// How it is made.
    pub job: Box<dyn Job + 'a>,
}

impl<'a, P> PlannedRun<'a, P> {
    /// The same run in an experiment that tells its runs apart by more, of whose part `part` makes its own.
    pub fn of<Q>(self, part: impl FnOnce(P) -> Q) -> PlannedRun<'a, Q> {
        PlannedRun {
            place: self.place,
            part: part(self.part),
            method: self.method,
            title: self.title,
            settings: self.settings,
            job: self.job,
        }
    }
}

/// A complete run, and what it is a run of.
#[derive(Debug)]
pub struct PartRun<P> {
    /// What it is a run of.
    pub part: P,
    /// The run.
    pub run: CompleteRun,
}

/// All that was run.
#[derive(Debug)]
pub struct Runs<P> {
    /// The complete ones.
    pub complete: Vec<PartRun<P>>,
    /// Those whose loss, gradients or logits were no longer numbers.
    pub diverged: Vec<DivergedRun>,
}

impl<P> Default for Runs<P> {
    fn default() -> Self {
        Self {
            complete: Vec::new(),
            diverged: Vec::new(),
        }
    }
}
