//! `magnitude`: the blocks with the largest weights.
use super::checked::at_least_one;
use super::settings::{Settings, told};
use crate::{
    BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, every_k_steps,
};
use serde::{Deserialize, Serialize};

/// Selects by weight norm.
///
/// *Rule:* largest weight norm first, again every `interval` steps. *Source:* `BlockLLM`, section 2 (the
/// magnitude pruning that motivates it). *Settings:* `interval` (100 steps). *Use it* as a baseline that needs no gradient to select.
#[derive(Clone, Copy, Debug)]
pub struct Magnitude {
    settings: MagnitudeSettings,
}

impl Magnitude {
    /// Selecting again every `interval` steps.
    ///
    /// # Errors
    /// When `interval` is 0.
    pub fn new(interval: u64) -> Result<Self, PolicyError> {
        let interval = at_least_one("interval", interval)?;
        Ok(Self {
            settings: MagnitudeSettings { interval },
        })
    }
}

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MagnitudeSettings {
    /// Steps between selections.
    pub interval: u64,
}

impl Settings for MagnitudeSettings {
    fn defaults() -> Option<Self> {
        Some(Self { interval: 100 })
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Magnitude::new(self.interval)?))
    }
}

impl Policy for Magnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    fn settings(&self) -> serde_json::Value {
        told(&self.settings)
    }

    fn signals(&self) -> &[Signal] {
        &[Signal::WeightNorm]
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        context.ranked_by(|block| context.norm("magnitude", block))
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        every_k_steps(progress, self.settings.interval)
    }

    fn lookback(&self) -> usize {
        0
    }
}
