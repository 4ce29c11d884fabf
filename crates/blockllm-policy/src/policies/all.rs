//! `all`: every block at every step; with sparsity 0 this is the dense optimizer.
use super::settings::Settings;
use crate::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take};
use serde::{Deserialize, Serialize};

/// Selects every candidate, once.
///
/// *Rule:* all blocks, whole. *Source:* the control of every comparison. *Settings:* none. *Use it* for dense training with the
/// same optimizer, and to check that sparsity 0 equals AdamW.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct All;

/// It has no settings: it stands for itself.
impl Settings for All {
    fn defaults() -> Option<Self> {
        Some(Self)
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(*self))
    }
}

impl Policy for All {
    fn name(&self) -> &'static str {
        "all"
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn take(&self) -> Take {
        Take::Blocks(usize::MAX)
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        Ok(context.candidates.to_vec())
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }

    fn lookback(&self) -> usize {
        0
    }
}
