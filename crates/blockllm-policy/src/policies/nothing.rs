//! `nothing`: no block is ever selected.
use super::settings::Settings;
use crate::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take};
use serde::{Deserialize, Serialize};

/// Selects no candidate.
///
/// *Rule:* nothing. *Source:* the control without block selection. *Settings:* none. *Use it* to train what is always trained
/// alone, or beside a rule for all else, as SCALE (arXiv 2506.16659) does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing;

/// It has no settings: it stands for itself.
impl Settings for Nothing {
    /// By itself it would train nothing at all.
    fn defaults() -> Option<Self> {
        None
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(*self))
    }
}

impl Policy for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn take(&self) -> Take {
        Take::Nothing
    }

    fn rank(&mut self, _: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        Ok(Vec::new())
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }

    fn lookback(&self) -> usize {
        0
    }
}
