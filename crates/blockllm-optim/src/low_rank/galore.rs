//! Settings of GaLore (arXiv 2403.03507), under galore-torch's names.
use super::adam::GaLoreAdam;
use super::config::{LowRankConfig, Projection};
use super::rule::Rule;
use super::svd::SvdMethod;
use crate::Groups;
use serde::{Deserialize, Serialize};

/// Settings of `GaLore` for a [`LowRankOptimizer`](crate::LowRankOptimizer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaLoreConfig {
    /// `r`: dimension of the subspace, at most the smaller side of every projected matrix.
    pub rank: usize,
    /// `T`: steps between two refreshes of the subspace.
    pub update_proj_gap: u64,
    /// What the projected update is multiplied with.
    pub scale: f64,
    /// Which side is projected.
    pub projection: Projection,
    /// How the subspace is found.
    pub svd: SvdMethod,
    /// Path patterns, on part boundaries, of what is projected; of the parameters they match, the matrices are. All
    /// else is trained by the same Adam in full.
    pub targets: Vec<String>,
    /// Betas, epsilon and weight decay.
    pub adam: GaLoreAdam,
    /// The learning rate's multipliers by groups of parameters, and which weights decay.
    #[serde(default)]
    pub groups: Groups,
    /// The global norm that gradients are clipped to before they are projected; none when `None`.
    pub max_grad_norm: Option<f64>,
    /// Seed of the randomized range finder.
    pub seed: u64,
}

impl GaLoreConfig {
    /// The defaults at `rank`: galore-torch's scale of 0.25 and 200 steps for pretraining, `std`, exact SVD, the
    /// matrices of `self_attn` and `mlp`, no decay, no clipping.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            update_proj_gap: 200,
            scale: 0.25,
            projection: Projection::default(),
            svd: SvdMethod::default(),
            targets: vec!["self_attn".into(), "mlp".into()],
            adam: GaLoreAdam::default(),
            groups: Groups::default(),
            max_grad_norm: None,
            seed: 0,
        }
    }

    /// With the subspace refreshed at every `steps`-th step.
    #[must_use]
    pub fn with_update_proj_gap(mut self, steps: u64) -> Self {
        self.update_proj_gap = steps;
        self
    }

    /// With another scale.
    #[must_use]
    pub fn with_scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// With another way to find the subspace.
    #[must_use]
    pub fn with_svd(mut self, svd: SvdMethod) -> Self {
        self.svd = svd;
        self
    }

    /// With other path patterns of what is projected.
    #[must_use]
    pub fn with_targets<S: Into<String>>(mut self, targets: impl IntoIterator<Item = S>) -> Self {
        self.targets = targets.into_iter().map(Into::into).collect();
        self
    }

    /// With other betas, epsilon and weight decay.
    #[must_use]
    pub fn with_adam(mut self, adam: GaLoreAdam) -> Self {
        self.adam = adam;
        self
    }

    /// With other multipliers of the learning rate, or other weights that decay.
    #[must_use]
    pub fn with_groups(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// With gradients clipped to this global norm.
    #[must_use]
    pub fn with_max_grad_norm(mut self, max_grad_norm: Option<f64>) -> Self {
        self.max_grad_norm = max_grad_norm;
        self
    }
}

impl From<GaLoreConfig> for LowRankConfig {
    fn from(config: GaLoreConfig) -> Self {
        Self {
            rank: config.rank,
            update_proj_gap: config.update_proj_gap,
            projection: config.projection,
            rule: Rule::GaLore {
                scale: config.scale,
                svd: config.svd,
            },
            targets: config.targets,
            adam: config.adam,
            groups: config.groups,
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
        }
    }
}
