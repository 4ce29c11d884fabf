//! `epsilon-greedy`: by norm, but now and then at random, ever more rarely.
use super::checked::{at_least_one, checked};
use super::settings::Settings;
use crate::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, loss_patience};
use rand::{RngExt, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// Explores with probability `epsilon`, which decays with every selection, and else exploits.
///
/// *Rule:* with probability `epsilon` a uniformly random order, else largest norm first; again when the loss
/// stalls; `epsilon` is multiplied by `decay` at each selection. *Source:* the decaying exploration of `AdaGradSelect`,
/// arXiv 2512.15764. It is not that method whole: `AdaGradSelect` exploits by sampling blocks from a distribution over how
/// often each was updated, and selects at every step; this policy takes the largest norms, when the loss stalls.
/// *Settings:* `patience` (100 steps), `epsilon` at the start (1), `decay` (0.9). *Use it* to ask whether early exploration pays.
#[derive(Clone, Copy, Debug)]
pub struct EpsilonGreedy {
    patience: usize,
    epsilon: f64,
    decay: f64,
}

impl EpsilonGreedy {
    /// Starting from `epsilon`, times `decay` at each selection.
    ///
    /// # Errors
    /// When `patience` is 0, or `epsilon` or `decay` is outside `[0, 1]`.
    pub fn new(patience: usize, epsilon: f64, decay: f64) -> Result<Self, PolicyError> {
        let is_share = |value: &f64| (0.0..=1.0).contains(value);
        let share = |field, value| checked(field, value, is_share, "use a number in [0, 1]");
        Ok(Self {
            epsilon: share("epsilon", epsilon)?,
            decay: share("decay", decay)?,
            patience: at_least_one("patience", patience)?,
        })
    }
}

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpsilonGreedySettings {
    /// Steps without a falling loss until the next selection.
    pub patience: usize,
    /// The probability of a random order at the first selection.
    pub epsilon: f64,
    /// What it is multiplied by at each selection.
    pub decay: f64,
}

impl Settings for EpsilonGreedySettings {
    fn defaults() -> Option<Self> {
        Some(Self {
            patience: 100,
            epsilon: 1.0,
            decay: 0.9,
        })
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        let policy = EpsilonGreedy::new(self.patience, self.epsilon, self.decay)?;
        Ok(Box::new(policy))
    }
}

impl Policy for EpsilonGreedy {
    fn name(&self) -> &'static str {
        "epsilon-greedy"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "patience": self.patience, "decay": self.decay })
    }

    fn rank(
        &mut self,
        context: &SelectContext<'_>,
        rng: &mut PolicyRng,
    ) -> Result<Vec<BlockId>, PolicyError> {
        let explore = rng.random_bool(self.epsilon);
        self.epsilon *= self.decay;
        if explore {
            let mut blocks = context.candidates.to_vec();
            blocks.shuffle(rng);
            return Ok(blocks);
        }
        context.ranked_by(|block| context.norm("epsilon-greedy", block))
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        loss_patience(progress, self.patience)
    }

    fn lookback(&self) -> usize {
        self.patience
    }

    fn state(&self) -> serde_json::Value {
        serde_json::json!({ "epsilon": self.epsilon })
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<(), PolicyError> {
        self.epsilon = state["epsilon"]
            .as_f64()
            .filter(|epsilon| (0.0..=1.0).contains(epsilon))
            .ok_or_else(|| PolicyError::StateMismatch {
                what: "policy state",
                found: state.to_string(),
                expected: "an object with `epsilon` in [0, 1]".into(),
            })?;
        Ok(())
    }
}
