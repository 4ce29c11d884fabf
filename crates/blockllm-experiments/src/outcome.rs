//! How a run came out: with a result, or with numbers that are none.
use crate::command_line;
use anyhow::{Result, bail};
use blockllm_train::{RunFolder, RunResult};

/// A complete run: its result, and its folder for the curves.
#[derive(Debug)]
pub struct CompleteRun {
    /// The figures.
    pub result: RunResult,
    /// Where its records are.
    pub folder: RunFolder,
}

/// How a run came out.
#[derive(Debug)]
pub enum Outcome {
    /// With a result.
    Complete(Box<CompleteRun>),
    /// Its numbers are no longer numbers.
    Diverged {
        /// What was said.
        message: String,
        /// Whether it was found now, not in an earlier call.
        is_new: bool,
    },
}

/// A run that diverged, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DivergedRun {
    /// Its method's label.
    pub method: String,
    /// Which, and what was said.
    pub description: String,
    /// Whether it was found now, not in an earlier call.
    pub is_new: bool,
}

/// The error of a command some of whose runs have diverged just now; those that were known before are only told.
///
/// # Errors
/// When there are any, or no run is complete.
pub fn check_diverged(diverged: &[DivergedRun], complete: usize) -> Result<()> {
    let told = |runs: &[&DivergedRun]| {
        let descriptions: Vec<_> = runs.iter().map(|run| run.description.as_str()).collect();
        descriptions.join("; ")
    };
    let new: Vec<_> = diverged.iter().filter(|run| run.is_new).collect();
    if !new.is_empty() {
        bail!(
            "{} of the runs diverged, and the report lacks them: {}",
            new.len(),
            told(&new)
        );
    }
    if complete == 0 {
        bail!(
            "all runs have diverged: {}; `{} --fresh` trains them anew",
            told(&diverged.iter().collect::<Vec<_>>()),
            command_line::typed(true)
        );
    }
    Ok(())
}
