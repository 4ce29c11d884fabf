//! The experiments by name.
use crate::{Cli, c4, glue, gpu_check, memory, options};
use anyhow::{Result, anyhow};
use blockllm_train::DeviceChoice;

type Experiment = fn(&Cli) -> Result<()>;

const EXPERIMENTS: [(&str, Experiment); 4] = [
    ("c4", c4::run),
    ("glue", glue::run),
    ("memory", memory::run),
    (gpu_check::NAME, gpu_check::run),
];

/// The names of all experiments.
pub fn names() -> Vec<&'static str> {
    EXPERIMENTS.iter().map(|(name, _)| *name).collect()
}

/// Runs the experiment that `cli` names, on a device that is there: one that is missing is told before data is read.
///
/// # Errors
/// What the experiment fails with, when there is none of that name, or the device is missing.
pub fn run(cli: &Cli) -> Result<()> {
    options::check_experiment(cli)?;
    // The check of GPUs has something to say where there is none.
    if cli.experiment == gpu_check::NAME {
        return gpu_check::run(cli);
    }
    let device = cli.device.resolve()?;
    if cli.device == DeviceChoice::Auto {
        let because = device.passed_over.join("; ");
        let because = if because.is_empty() {
            String::new()
        } else {
            format!(" ({because})")
        };
        eprintln!("device: {}{because}", device.choice.name());
    }
    let cli = &Cli {
        device: device.choice,
        ..cli.clone()
    };
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
