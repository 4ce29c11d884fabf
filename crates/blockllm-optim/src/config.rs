//! Settings of the block optimizer; each **choice** of ALGORITHM is one field.
use crate::{OptimError, Update};
use blockllm_policy::{Partition, Roles, SelectorConfig, VisitSmoothing};

/// **Choice:** which norm of a gradient the policy sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormKind {
    /// L2 norm of the raw gradient: the authors' experiments. It favours large tensors.
    Grad,
    /// L2 norm divided by `sqrt(n_l)`: fair between sizes, and clearly better in pretraining
    /// (`docs/discrepancies.md`).
    #[default]
    Rms,
}

impl NormKind {
    /// The norm of a block from the sum of its squared gradient entries.
    pub(crate) fn of(self, sum_of_squares: f64, numel: u64) -> f64 {
        match self {
            Self::Grad => sum_of_squares.sqrt(),
            Self::Rms => (sum_of_squares / numel.max(1) as f64).sqrt(),
        }
    }
}

/// **Choice:** over what the mask's threshold is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskScope {
    /// The largest entries of the whole selection.
    #[default]
    Global,
    /// The same share of each parameter's largest entries.
    PerParameter,
}

/// How the first norms are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepMode {
    /// Backward passes over the same batch with this many blocks unfrozen in each, so that the peak never holds
    /// all gradients.
    Grouped(usize),
    /// One backward pass with all candidates unfrozen: what the authors' code does.
    Full,
}

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
    /// How the first norms are measured.
    pub sweep: SweepMode,
    /// Over what the mask's threshold is taken.
    pub mask: MaskScope,
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
    /// global mask, no clipping, `AdamW` without decay.
    pub fn new(sparsity: f64) -> Self {
        Self {
            sparsity,
            partition: Partition::Tensor,
            roles: Roles::default(),
            norm: NormKind::default(),
            probes: 2,
            sweep: SweepMode::Grouped(4),
            mask: MaskScope::default(),
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
