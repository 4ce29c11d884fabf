//! Settings of APOLLO-Mini (arXiv 2412.05270, section 4.2), under `apollo_torch`'s names.
use super::adam::GaLoreAdam;
use super::config::{LowRankConfig, Projection};
use super::rule::Rule;
use crate::Groups;
use serde::{Deserialize, Serialize};

/// Settings of APOLLO-Mini for a [`LowRankOptimizer`](crate::LowRankOptimizer).
///
/// The gradient of a matrix is projected by random numbers, `P` of standard deviation `1 / sqrt(rank)`; Adam runs in that
/// subspace alone, and its direction says how long the gradient in full is made (`scale_type="tensor"`):
///
/// ```text
/// G' = G |adam(P G)| / (|P G| + 1e-8),  its norm at most norm_growth times that of the step before
/// W -= lr sqrt(1 - b2^t) / (1 - b1^t) sqrt(scale) G',  then W -= lr decay W
/// ```
///
/// `P` projects the smaller side. It is drawn anew after every `update_proj_gap` steps, from `seed`, the parameter's
/// position and the number of draws, and kept until then: `rank` numbers for each row or column of that side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApolloConfig {
    /// `r`: dimension of the subspace, at most the smaller side of every projected matrix.
    pub rank: usize,
    /// `T`: steps between two draws of the projection.
    pub update_proj_gap: u64,
    /// The update is multiplied with its square root.
    pub scale: f64,
    /// The most that the norm of a matrix's update may grow by in a step, 1 or more.
    pub norm_growth: f64,
    /// Path patterns, on part boundaries, of what is projected; of the parameters they match, the matrices are. All
    /// else is trained by the same Adam in full.
    pub targets: Vec<String>,
    /// Betas, epsilon and weight decay.
    pub adam: GaLoreAdam,
    /// The learning rate's multipliers by groups of parameters, and which weights decay.
    pub groups: Groups,
    /// The global norm that gradients are clipped to before they are projected; none when `None`.
    pub max_grad_norm: Option<f64>,
    /// Seed of the projections.
    pub seed: u64,
}

/// The authors' pretraining settings: rank 1, scale 128, a growth of 1.01, 200 steps, the matrices of `self_attn` and
/// `mlp`, no decay, no clipping.
impl Default for ApolloConfig {
    fn default() -> Self {
        Self {
            rank: 1,
            update_proj_gap: 200,
            scale: 128.0,
            norm_growth: 1.01,
            targets: vec!["self_attn".into(), "mlp".into()],
            adam: GaLoreAdam::default(),
            groups: Groups::default(),
            max_grad_norm: None,
            seed: 0,
        }
    }
}

impl From<ApolloConfig> for LowRankConfig {
    fn from(config: ApolloConfig) -> Self {
        Self {
            rank: config.rank,
            update_proj_gap: config.update_proj_gap,
            projection: Projection::Std,
            rule: Rule::Apollo {
                scale: config.scale,
                norm_growth: config.norm_growth,
            },
            targets: config.targets,
            adam: config.adam,
            groups: config.groups,
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
        }
    }
}
