//! The experiments by name.
use crate::{Cli, c4, glue};
use anyhow::{Result, anyhow};

type Experiment = fn(&Cli) -> Result<()>;

const EXPERIMENTS: [(&str, Experiment); 2] = [("c4", c4::run), ("glue", glue::run)];

/// The names of all experiments.
pub fn names() -> Vec<&'static str> {
    EXPERIMENTS.iter().map(|(name, _)| *name).collect()
}

/// Runs the experiment that `cli` names.
///
/// # Errors
/// What the experiment fails with, or when there is none of that name.
pub fn run(cli: &Cli) -> Result<()> {
    let (_, experiment) = EXPERIMENTS
        .iter()
        .find(|(name, _)| *name == cli.experiment)
        .ok_or_else(|| {
            anyhow!(
                "there is no experiment `{}`: use one of {}",
                cli.experiment,
                names().join(", ")
            )
        })?;
    experiment(cli)
}
