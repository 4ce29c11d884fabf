//! `official-compat`: the selection rule of the authors' released code, for comparison with the paper's.
use super::checked::at_least_one;
use super::settings::{Settings, told};
use crate::{
    BlockId, Policy, PolicyError, PolicyRng, ProbeContext, Progress, Reason, SelectContext, Signal, Take,
};
use serde::{Deserialize, Serialize};

/// Selects as the authors' public code does, which is not what the paper says (ALGORITHM, last section).
///
/// *Rule:* score `norm / exp(visits / step)`, descending, where the divisor is practically 1; blocks are taken whole
/// and without a mask until the next one would cross the budget, and that one is dropped. Norms are those that happen
/// to be known: nothing is probed, so a block outside the selection keeps the norm of the first measurement. Again only
/// at every `interval`-th step, and only when the mean of all losses since the last selection is no higher than the
/// mean of the last `patience`. *Source:* the code's commit 4a629f4, as ALGORITHM tells it; which losses "all" are is
/// our reading. *Settings:* `interval` (1000 in the code), `patience`; for the rest of its behaviour use
/// `NormKind::Grad`, `SweepMode::Full` and embeddings and head among the never-trained. *Use it* only to measure what
/// the differences from the paper are worth: in runs shorter than `interval` it never selects again.
#[derive(Clone, Copy, Debug)]
pub struct OfficialCompat {
    settings: OfficialCompatSettings,
}

impl OfficialCompat {
    /// Looking at the losses every `interval` steps, at the last `patience` of them.
    ///
    /// # Errors
    /// When a number is 0.
    pub fn new(interval: u64, patience: usize) -> Result<Self, PolicyError> {
        let settings = OfficialCompatSettings {
            patience: at_least_one("patience", patience)?,
            interval: at_least_one("interval", interval)?,
        };
        Ok(Self { settings })
    }
}

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficialCompatSettings {
    /// Steps after which it looks at the losses.
    pub interval: u64,
    /// At how many of the last losses it looks.
    pub patience: usize,
}

impl Settings for OfficialCompatSettings {
    fn defaults() -> Option<Self> {
        Some(Self {
            interval: 1000,
            patience: 100,
        })
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(OfficialCompat::new(self.interval, self.patience)?))
    }

    fn takes_probes(&self) -> bool {
        false
    }
}

impl Policy for OfficialCompat {
    fn name(&self) -> &'static str {
        "official-compat"
    }

    fn settings(&self) -> serde_json::Value {
        told(&self.settings)
    }

    fn take(&self) -> Take {
        Take::BelowBudget
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        let step = context.step.max(1) as f64;
        let norms = context.measurements.of(Signal::GradNorm);
        let mut known = context.ranked_by(|block| {
            let penalty = (context.visits.count(block) as f64 / step).exp();
            Ok(norms[block.0].map_or(f64::NEG_INFINITY, |norm| norm / penalty))
        })?;
        known.retain(|block| norms[block.0].is_some());
        Ok(known)
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        let OfficialCompatSettings { interval, patience } = self.settings;
        if !progress.step.is_multiple_of(interval) || progress.history.len() + 1 < patience {
            return None;
        }
        let losses: Vec<f64> = progress.history.iter().copied().chain([progress.loss]).collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let recent = &losses[losses.len() - patience..];
        (mean(&losses) <= mean(recent)).then_some(Reason::LossStalled)
    }

    fn probes(&mut self, _: &ProbeContext<'_>, _: &mut PolicyRng) -> Vec<BlockId> {
        Vec::new()
    }
}
