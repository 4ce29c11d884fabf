//! `misa`: modules drawn with a probability made of the moving average of their norms (MISA).
use super::checked::{at_least_one, checked};
use super::settings::{Settings, told};
use crate::{
    BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, every_k_steps,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Draws blocks without replacement, with probability proportional to `exp(eta average)`.
///
/// *Rule:* the Gumbel-top-k order of `eta` times the moving average of a block's gradient norm, again every `interval` steps,
/// until the budget is met. *Source:* MISA (module-wise importance sampling, `NeurIPS` 2025); its blocks are the matrices of
/// attention and MLP, here whatever the partition gives. *Settings:* `interval` (50 steps), `eta` (500, for RMS norms, which
/// are small; 0 draws uniformly), `decay` of the average (0.9). *Use it* where the latest mini-batch's norms are too noisy to
/// choose by.
#[derive(Clone, Copy, Debug)]
pub struct Misa {
    settings: MisaSettings,
}

impl Misa {
    /// Drawing again every `interval` steps.
    ///
    /// # Errors
    /// When `interval` is 0, `eta` is below 0 or `decay` is outside `[0, 1)`.
    pub fn new(interval: u64, eta: f64, decay: f64) -> Result<Self, PolicyError> {
        let mend = "use 0 to draw uniformly, more to prefer large norms";
        let is_share = |value: &f64| (0.0..1.0).contains(value);
        let settings = MisaSettings {
            eta: checked("eta", eta, |eta| eta.is_finite() && *eta >= 0.0, mend)?,
            decay: checked("decay", decay, is_share, "use a number in [0, 1)")?,
            interval: at_least_one("interval", interval)?,
        };
        Ok(Self { settings })
    }
}

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MisaSettings {
    /// Steps between selections.
    pub interval: u64,
    /// How much the averages count: 0 draws uniformly.
    pub eta: f64,
    /// How much of the average stays at each step that measures a block.
    pub decay: f64,
}

impl Settings for MisaSettings {
    fn defaults() -> Option<Self> {
        Some(Self {
            interval: 50,
            eta: 500.0,
            decay: 0.9,
        })
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Misa::new(self.interval, self.eta, self.decay)?))
    }
}

impl Policy for Misa {
    fn name(&self) -> &'static str {
        "misa"
    }

    fn settings(&self) -> serde_json::Value {
        told(&self.settings)
    }

    fn signals(&self) -> &[Signal] {
        &[Signal::GradNormAverage]
    }

    fn average_decay(&self) -> f64 {
        self.settings.decay
    }

    fn rank(
        &mut self,
        context: &SelectContext<'_>,
        rng: &mut PolicyRng,
    ) -> Result<Vec<BlockId>, PolicyError> {
        context.ranked_by(|block| {
            let uniform: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
            Ok(self.settings.eta * context.norm("misa", block)? - (-uniform.ln()).ln())
        })
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        every_k_steps(progress, self.settings.interval)
    }

    fn lookback(&self) -> usize {
        0
    }
}
