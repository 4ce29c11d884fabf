//! `random`: uniformly drawn blocks every `k` steps (LISA).
use super::checked::at_least_one;
use super::settings::{Settings, told};
use crate::{
    BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take, Terms,
    every_k_steps,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// Draws blocks uniformly.
///
/// *Rule:* a uniformly random order, again every `interval` steps; either until the budget is met, or `blocks`
/// whole blocks. An unbiased one steps a block at the learning rate over the probability that it is drawn, `blocks` of all
/// candidates, so that each gets the steps that it would have if all were trained, on average (GUM). *Source:* LISA, arXiv
/// 2403.17919, with the decoder-layer partition and embeddings and head always trained. *Settings:* `interval` (100 steps),
/// `blocks` (the budget when absent), `unbiased` (no; only with `blocks`, since under a budget large blocks are drawn no
/// oftener but fill it sooner). *Use it* as the baseline that asks whether choosing by norm is worth anything.
#[derive(Clone, Copy, Debug)]
pub struct RandomBlocks {
    settings: RandomSettings,
}

impl RandomBlocks {
    /// Drawing again every `interval` steps; `blocks` whole blocks, or the budget when `None`.
    ///
    /// # Errors
    /// When a number is 0.
    pub fn new(interval: u64, blocks: Option<usize>) -> Result<Self, PolicyError> {
        let settings = RandomSettings {
            blocks: blocks.map(|blocks| at_least_one("blocks", blocks)).transpose()?,
            interval: at_least_one("interval", interval)?,
            unbiased: false,
        };
        Ok(Self { settings })
    }

    /// Stepping each drawn block at the learning rate over its probability.
    ///
    /// # Errors
    /// When no number of blocks is set: their probabilities are not known then.
    pub fn unbiased(mut self, unbiased: bool) -> Result<Self, PolicyError> {
        if unbiased && self.settings.blocks.is_none() {
            return Err(PolicyError::Setting {
                field: "unbiased",
                value: "true".into(),
                mend: "set `blocks` too: how many are drawn, whatever the budget".into(),
            });
        }
        self.settings.unbiased = unbiased;
        Ok(self)
    }
}

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomSettings {
    /// Steps between selections.
    pub interval: u64,
    /// How many whole blocks are drawn; as many as meet the budget where there is no number.
    pub blocks: Option<usize>,
    /// Whether each block is stepped at the learning rate over the probability that it is drawn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unbiased: bool,
}

impl Settings for RandomSettings {
    fn defaults() -> Option<Self> {
        Some(Self {
            interval: 100,
            blocks: None,
            unbiased: false,
        })
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        let policy = RandomBlocks::new(self.interval, self.blocks)?;
        Ok(Box::new(policy.unbiased(self.unbiased)?))
    }

    fn unwritten_when_false(&self) -> &'static [&'static str] {
        &["unbiased"]
    }
}

impl Policy for RandomBlocks {
    fn name(&self) -> &'static str {
        "random"
    }

    fn settings(&self) -> serde_json::Value {
        told(&self.settings)
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn take(&self) -> Take {
        self.settings.blocks.map_or(Take::Budget, Take::Blocks)
    }

    fn rank(
        &mut self,
        context: &SelectContext<'_>,
        rng: &mut PolicyRng,
    ) -> Result<Vec<BlockId>, PolicyError> {
        let mut blocks = context.candidates.to_vec();
        blocks.shuffle(rng);
        Ok(blocks)
    }

    fn terms(
        &mut self,
        context: &SelectContext<'_>,
        selected: &[BlockId],
        _: &mut PolicyRng,
    ) -> Result<Vec<Terms>, PolicyError> {
        if !self.settings.unbiased {
            return Ok(Vec::new());
        }
        let inverse = context.candidates.len() as f64 / selected.len() as f64;
        Ok(vec![Terms::at_rate(inverse); selected.len()])
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        every_k_steps(progress, self.settings.interval)
    }

    fn lookback(&self) -> usize {
        0
    }
}
