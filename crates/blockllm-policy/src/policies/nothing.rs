//! `nothing`: no block is ever selected.
use crate::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take};

/// Selects no candidate.
///
/// *Rule:* nothing. *Source:* the control without block selection. *Settings:* none. *Use it* to train what is always trained
/// alone, or beside a rule for all else, as SCALE (arXiv 2506.16659) does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

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
