//! `importance`: blocks drawn with a probability made of their norms (MISA).
use super::checked::{at_least_one, checked};
use super::settings::{Settings, told};
use crate::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, every_k_steps};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Draws blocks without replacement, with probability proportional to `norm^(1 / temperature)`.
///
/// *Rule:* the Gumbel-top-k order of `ln(norm) / temperature`, again every `interval` steps. *Source:* the idea
/// of MISA (module-wise importance sampling). *Settings:* `interval` (100 steps) and
/// `temperature` (1): a high one nears `random`, a low one nears
/// `blockllm-no-visits`. *Use it* where a greedy choice starves blocks.
#[derive(Clone, Copy, Debug)]
pub struct Importance {
    settings: ImportanceSettings,
}

impl Importance {
    /// Drawing again every `interval` steps.
    ///
    /// # Errors
    /// When `interval` is 0 or `temperature` is not above 0.
    pub fn new(interval: u64, temperature: f64) -> Result<Self, PolicyError> {
        let mend = "use a number above 0; 1 draws in proportion to the norms";
        let is_right = |value: &f64| value.is_finite() && *value > 0.0;
        let settings = ImportanceSettings {
            temperature: checked("temperature", temperature, is_right, mend)?,
            interval: at_least_one("interval", interval)?,
        };
        Ok(Self { settings })
    }
}

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportanceSettings {
    /// Steps between selections.
    pub interval: u64,
    /// How much the norms count: the less the higher it is.
    pub temperature: f64,
}

impl Settings for ImportanceSettings {
    fn defaults() -> Option<Self> {
        Some(Self {
            interval: 100,
            temperature: 1.0,
        })
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Importance::new(self.interval, self.temperature)?))
    }
}

impl Policy for Importance {
    fn name(&self) -> &'static str {
        "importance"
    }

    fn settings(&self) -> serde_json::Value {
        told(&self.settings)
    }

    fn rank(
        &mut self,
        context: &SelectContext<'_>,
        rng: &mut PolicyRng,
    ) -> Result<Vec<BlockId>, PolicyError> {
        context.ranked_by(|block| {
            let norm = context.norm("importance", block)?.max(f64::MIN_POSITIVE);
            let uniform: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
            Ok(norm.ln() / self.settings.temperature - (-uniform.ln()).ln())
        })
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        every_k_steps(progress, self.settings.interval)
    }

    fn lookback(&self) -> usize {
        0
    }
}
