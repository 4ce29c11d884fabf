//! When to select again: from the loss history (the paper's patience) or from the step.
use serde::{Deserialize, Serialize};

/// How training has gone since the last selection.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// `H`: the losses since the last selection, oldest first, without this step's; at least as many of the latest as the
    /// policy's [lookback](crate::Policy::lookback), if there were so many.
    pub history: &'a [f64],
    /// `phi_t`: this step's loss.
    pub loss: f64,
    /// `t`: optimizer steps done, from 1.
    pub step: u64,
    /// Optimizer steps done with the current selection, this one included.
    pub steps_since_selection: u64,
}

/// Why a selection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The first one.
    First,
    /// The policy found the loss no longer falling.
    LossStalled,
    /// The policy's number of steps has passed.
    StepInterval,
    /// The caller asked for it.
    Requested,
}

/// The paper's rule: true when there are at least `patience` losses and this one is no lower than the mean of
/// the last `patience` of them.
pub fn loss_patience(progress: &Progress<'_>, patience: usize) -> Option<Reason> {
    let patience = patience.max(1);
    let recent = &progress.history[progress.history.len().checked_sub(patience)?..];
    let mean = recent.iter().sum::<f64>() / patience as f64;
    (progress.loss >= mean).then_some(Reason::LossStalled)
}

/// True at every `interval`-th step of a selection.
pub fn every_k_steps(progress: &Progress<'_>, interval: u64) -> Option<Reason> {
    (progress.steps_since_selection >= interval.max(1)).then_some(Reason::StepInterval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(history: &[f64], loss: f64) -> Progress<'_> {
        Progress {
            history,
            loss,
            step: 9,
            steps_since_selection: history.len() as u64 + 1,
        }
    }

    #[test]
    fn patience_waits_for_enough_losses() {
        assert_eq!(loss_patience(&progress(&[1.0, 1.0], 5.0), 3), None);
        assert_eq!(
            loss_patience(&progress(&[1.0, 1.0, 1.0], 5.0), 3),
            Some(Reason::LossStalled)
        );
    }

    #[test]
    fn patience_compares_with_the_last_losses_only() {
        let history = [9.0, 9.0, 2.0, 2.0];
        assert_eq!(loss_patience(&progress(&history, 1.9), 2), None);
        assert_eq!(
            loss_patience(&progress(&history, 2.0), 2),
            Some(Reason::LossStalled)
        );
        assert_eq!(loss_patience(&progress(&history, 5.0), 4), None);
    }

    #[test]
    fn an_interval_counts_the_steps_of_the_selection() {
        assert_eq!(every_k_steps(&progress(&[1.0], 1.0), 3), None);
        assert_eq!(
            every_k_steps(&progress(&[1.0, 1.0], 1.0), 3),
            Some(Reason::StepInterval)
        );
    }
}
