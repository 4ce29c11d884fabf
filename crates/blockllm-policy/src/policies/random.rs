//! `random`: uniformly drawn blocks every `k` steps (LISA).
use super::at_least_one::at_least_one;
use crate::{
    BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take, every_k_steps,
};
use rand::seq::SliceRandom;

/// Draws blocks uniformly.
///
/// *Rule:* a uniformly random order, again every `interval` steps; either until the budget is met, or `blocks`
/// whole blocks. *Source:* LISA, arXiv 2403.17919, with the decoder-layer partition and embeddings and head
/// always trained. *Settings:* `interval` (100 steps), `blocks` (the budget when absent). *Use it* as the baseline that asks whether choosing by norm is worth anything.
#[derive(Clone, Copy, Debug)]
pub struct RandomBlocks {
    interval: u64,
    blocks: Option<usize>,
}

impl RandomBlocks {
    /// Drawing again every `interval` steps; `blocks` whole blocks, or the budget when `None`.
    ///
    /// # Errors
    /// When a number is 0.
    pub fn new(interval: u64, blocks: Option<usize>) -> Result<Self, PolicyError> {
        at_least_one("blocks", blocks.unwrap_or(1) as u64)?;
        Ok(Self {
            interval: at_least_one("interval", interval)?,
            blocks,
        })
    }
}

impl Policy for RandomBlocks {
    fn name(&self) -> &'static str {
        "random"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "interval": self.interval, "blocks": self.blocks })
    }

    fn signal(&self) -> Signal {
        Signal::None
    }

    fn take(&self) -> Take {
        self.blocks.map_or(Take::Budget, Take::Blocks)
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

    fn is_due(&self, progress: &Progress<'_>) -> Option<Reason> {
        every_k_steps(progress, self.interval)
    }

    fn lookback(&self) -> usize {
        0
    }
}
