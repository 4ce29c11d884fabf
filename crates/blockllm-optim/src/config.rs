//! Settings of the block optimizer; each **choice** of ALGORITHM is one field.
use crate::choices::{
    CarriedMoments, MaskRefresh, MaskScope, MaskThreshold, Measured, NormKind, SignSgd, SweepMode,
};
use crate::{MomentPrecision, OptimError, Update};
use blockllm_policy::{Partition, Roles, SelectorConfig, VisitSmoothing};

/// Settings of a [`BlockOptimizer`](crate::BlockOptimizer).
#[derive(Clone, Debug)]
pub struct BlockOptimizerConfig {
    /// `s` in `[0, 1)`: the share of entries that is not trained.
    pub sparsity: f64,
    /// How parameters are grouped.
    pub partition: Partition,
    /// What is always or never trained.
    pub roles: Roles,
    /// The norm that the policy ranks by.
    pub norm: NormKind,
    /// `p`: probes per step.
    pub probes: usize,
    /// Whose norms are measured beside those of what is trained.
    pub measured: Measured,
    /// How the first norms are measured.
    pub sweep: SweepMode,
    /// Over what the mask's threshold is taken.
    pub mask: MaskScope,
    /// How exactly the mask's threshold is found.
    pub threshold: MaskThreshold,
    /// When the mask is made anew.
    pub refresh: MaskRefresh,
    /// What becomes of the moments of what stays in the selection.
    pub moments: CarriedMoments,
    /// In what the moments are kept.
    pub moment_precision: MomentPrecision,
    /// Whether trained entries of weights that are not f32 have an f32 master copy; without it every step is rounded
    /// to the weight's own type. A block that leaves the selection keeps the rounded weights: at most half a unit in
    /// the last place of its copy is lost.
    pub master_weights: bool,
    /// What the blocks outside the selection do; nothing when `None`.
    pub inactive: Option<SignSgd>,
    /// How visits become a frequency.
    pub visit_smoothing: VisitSmoothing,
    /// The global norm that the gradients of the trained blocks are clipped to; none when `None`.
    pub max_grad_norm: Option<f64>,
    /// The update rule of the trained entries.
    pub update: Update,
    /// Seed of the policy's random numbers.
    pub seed: u64,
}

impl BlockOptimizerConfig {
    /// The defaults at `sparsity`: one block per tensor, RMS norms, two probes, sweep in groups of four blocks,
    /// global exact mask until the next selection, which resets the moments, no clipping, `AdamW` without decay,
    /// f32 moments, master copies where weights are not f32.
    pub fn new(sparsity: f64) -> Self {
        Self {
            sparsity,
            partition: Partition::Tensor,
            roles: Roles::default(),
            norm: NormKind::default(),
            probes: 2,
            measured: Measured::default(),
            sweep: SweepMode::Grouped(4),
            mask: MaskScope::default(),
            threshold: MaskThreshold::default(),
            refresh: MaskRefresh::default(),
            moments: CarriedMoments::default(),
            moment_precision: MomentPrecision::default(),
            master_weights: true,
            inactive: None,
            visit_smoothing: VisitSmoothing::default(),
            max_grad_norm: None,
            update: Update::default(),
            seed: 0,
        }
    }

    /// With other always- and never-trained parameters.
    #[must_use]
    pub fn with_roles(mut self, roles: Roles) -> Self {
        self.roles = roles;
        self
    }

    /// With another partition.
    #[must_use]
    pub fn with_partition(mut self, partition: Partition) -> Self {
        self.partition = partition;
        self
    }

    /// With another norm.
    #[must_use]
    pub fn with_norm(mut self, norm: NormKind) -> Self {
        self.norm = norm;
        self
    }

    /// With gradients clipped to this global norm.
    #[must_use]
    pub fn with_max_grad_norm(mut self, max_grad_norm: Option<f64>) -> Self {
        self.max_grad_norm = max_grad_norm;
        self
    }

    /// With another update rule.
    #[must_use]
    pub fn with_update(mut self, update: impl Into<Update>) -> Self {
        self.update = update.into();
        self
    }

    pub(crate) fn validate(&self) -> Result<(), OptimError> {
        if self.sweep == SweepMode::Grouped(0) {
            return Err(OptimError::Setting {
                field: "sweep",
                value: "Grouped(0)".into(),
                mend: "unfreeze at least one block per pass",
            });
        }
        if let Some(norm) = self
            .max_grad_norm
            .filter(|norm| !(norm.is_finite() && *norm > 0.0))
        {
            return Err(OptimError::Setting {
                field: "max_grad_norm",
                value: norm.to_string(),
                mend: "use a positive number, or none",
            });
        }
        self.threshold.validate()?;
        if let Some(inactive) = self.inactive {
            inactive.validate()?;
        }
        self.update.validate()
    }

    pub(crate) fn selector(&self) -> SelectorConfig {
        SelectorConfig {
            sparsity: self.sparsity,
            probes: self.probes,
            visit_smoothing: self.visit_smoothing,
            seed: self.seed,
        }
    }
}
