//! `blockllm`, `blockllm-no-visits` and `suboptimal`: by gradient norm, selected again when the loss stalls.
use super::checked::at_least_one;
use super::settings::Settings;
use crate::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, loss_patience};
use serde::{Deserialize, Serialize};

/// How norms order the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormOrder {
    /// `norm / f`, descending: the paper.
    #[default]
    LargestPerVisit,
    /// `norm`, descending: the paper's ablation without visit frequency.
    LargestIgnoringVisits,
    /// `norm`, ascending: the paper's `BlockLLM-SubOPT`.
    SmallestIgnoringVisits,
}

impl NormOrder {
    const ALL: [Self; 3] = [
        Self::LargestPerVisit,
        Self::LargestIgnoringVisits,
        Self::SmallestIgnoringVisits,
    ];

    /// The name of the policy that orders so.
    const fn policy(self) -> &'static str {
        match self {
            Self::LargestPerVisit => "blockllm",
            Self::LargestIgnoringVisits => "blockllm-no-visits",
            Self::SmallestIgnoringVisits => "suboptimal",
        }
    }
}

/// The paper's policy.
///
/// *Rule:* score `norm_l / f_l`, descending; again when the loss is no lower than the mean of the last
/// `patience` losses. *Source:* `BlockLLM`, arXiv 2406.17296, algorithms 1 and 2; the other two orders are its
/// ablations. *Settings:* `patience` `m`, [`NormOrder`]. *Use it* as the default, for pretraining and fine-tuning.
#[derive(Clone, Copy, Debug)]
pub struct BlockLlmPolicy {
    patience: usize,
    order: NormOrder,
}

impl Default for BlockLlmPolicy {
    fn default() -> Self {
        Self {
            patience: 100,
            order: NormOrder::LargestPerVisit,
        }
    }
}

impl BlockLlmPolicy {
    /// With patience `m`, in steps.
    ///
    /// # Errors
    /// When `patience` is 0.
    pub fn new(patience: usize) -> Result<Self, PolicyError> {
        Ok(Self {
            patience: at_least_one("patience", patience)?,
            ..Self::default()
        })
    }

    /// With another order of the candidates.
    #[must_use]
    pub fn with_order(mut self, order: NormOrder) -> Self {
        self.order = order;
        self
    }
}

/// The settings of each of the three.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockLlmSettings {
    /// Steps without a falling loss until the next selection.
    pub patience: usize,
}

impl Settings for BlockLlmSettings {
    fn defaults() -> Option<Self> {
        Some(Self { patience: 100 })
    }

    fn build(&self, name: &str) -> Result<Box<dyn Policy>, PolicyError> {
        let mut orders = NormOrder::ALL.into_iter();
        let order = orders.find(|order| order.policy() == name);
        let order = order.ok_or_else(|| PolicyError::UnknownPolicy {
            name: name.to_owned(),
            known: NormOrder::ALL.map(NormOrder::policy).join(", "),
        })?;
        Ok(Box::new(BlockLlmPolicy::new(self.patience)?.with_order(order)))
    }
}

impl Policy for BlockLlmPolicy {
    fn name(&self) -> &'static str {
        self.order.policy()
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "patience": self.patience })
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        context.ranked_by(|block| {
            let norm = context.norm(self.name(), block)?;
            Ok(match self.order {
                NormOrder::LargestPerVisit => norm / context.visits.frequency(block),
                NormOrder::LargestIgnoringVisits => norm,
                NormOrder::SmallestIgnoringVisits => -norm,
            })
        })
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        loss_patience(progress, self.patience)
    }

    fn lookback(&self) -> usize {
        self.patience
    }
}
