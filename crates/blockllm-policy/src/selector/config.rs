//! Settings of a selector.
use crate::VisitSmoothing;
use serde::{Deserialize, Serialize};

/// Settings of a [`Selector`](crate::Selector).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectorConfig {
    /// `s` in `[0, 1)`: the share of entries that is not trained.
    pub sparsity: f64,
    /// `p`: blocks outside the selection whose gradient norm each step measures.
    pub probes: usize,
    /// **Choice:** how visits become a frequency.
    pub visit_smoothing: VisitSmoothing,
    /// Seed of the policy's random numbers.
    pub seed: u64,
    /// Whether a policy that takes up to the budget takes whole blocks, which no mask brings down to it: the first of its
    /// ranking in any case, then each that still fits.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub whole_blocks: bool,
}

impl Default for SelectorConfig {
    fn default() -> Self {
        Self {
            sparsity: 0.95,
            probes: 2,
            visit_smoothing: VisitSmoothing::AddOne,
            seed: 0,
            whole_blocks: false,
        }
    }
}
