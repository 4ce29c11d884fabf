//! Settings of GaLore, under galore-torch's names.
use crate::{Groups, OptimError};
use serde::{Deserialize, Serialize};

/// Which side of a gradient is projected; "rows" and "columns" are those of PyTorch's `[out, in]` layout.
///
/// The matrix of a burn `Linear` is `[in, out]`, so its rows are PyTorch's columns; every other matrix, such as an
/// embedding, has one layout in both. This decides only which side of a square matrix `std` takes, and what `left`
/// and `right` mean: numbers are those of galore-torch on the same model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// The smaller side: columns of a tall or square matrix, rows of a wide one.
    #[default]
    Std,
    /// The larger side: rows of a tall or square matrix, columns of a wide one.
    ReverseStd,
    /// The rows.
    Left,
    /// The columns.
    Right,
}

impl Projection {
    /// Which dimension of a `rows x columns` matrix, in PyTorch's layout, is projected: 0 or 1.
    pub(crate) fn side(self, rows: usize, columns: usize) -> usize {
        match self {
            Self::Std => usize::from(rows >= columns),
            Self::ReverseStd => usize::from(rows < columns),
            Self::Left => 0,
            Self::Right => 1,
        }
    }
}

/// How the leading singular vectors of a gradient are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SvdMethod {
    /// A whole SVD by burn-linalg, on the host: each projected gradient is read back once per refresh.
    #[default]
    Exact,
    /// A randomized range finder (Halko et al., arXiv 0909.4061, algorithms 4.4 and 5.1): matrix products and
    /// Gram-Schmidt on the device, nothing is read back.
    Randomized {
        /// Sketched directions beyond the rank.
        oversampling: usize,
        /// Multiplications of the sketch with `G G^T`.
        power_iterations: usize,
    },
}

impl SvdMethod {
    /// The randomized range finder with 8 directions beyond the rank and 2 power iterations.
    pub fn randomized() -> Self {
        Self::Randomized {
            oversampling: 8,
            power_iterations: 2,
        }
    }
}

/// Adam as galore-torch has it: `w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)`, then `w -= lr decay w`.
///
/// `eps` is added before the bias correction, and the decay acts on the weight already updated: both differ from
/// [`AdamW`](crate::AdamW).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaLoreAdam {
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay, of projected and plain weights alike.
    pub weight_decay: f64,
}

impl Default for GaLoreAdam {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            weight_decay: 0.0,
        }
    }
}

/// Settings of a [`GaLoreOptimizer`](crate::GaLoreOptimizer).
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

    pub(crate) fn validate(&self) -> Result<(), OptimError> {
        let refuse = |field, value: String, mend| Err(OptimError::Setting { field, value, mend });
        if self.rank == 0 {
            return refuse("rank", "0".into(), "use at least 1");
        }
        if self.update_proj_gap == 0 {
            return refuse("update_proj_gap", "0".into(), "refresh after at least 1 step");
        }
        if self.targets.is_empty() {
            return refuse(
                "targets",
                "empty".into(),
                "name what to project, such as self_attn",
            );
        }
        self.groups.validate()?;
        let numbers = [
            ("scale", self.scale, 0.0, f64::MAX),
            ("beta_1", self.adam.beta_1, 0.0, 1.0),
            ("beta_2", self.adam.beta_2, 0.0, 1.0),
            ("epsilon", self.adam.epsilon, 0.0, f64::MAX),
            ("weight_decay", self.adam.weight_decay, 0.0, f64::MAX),
        ];
        for (field, value, low, high) in numbers {
            if !(low..high).contains(&value) {
                let mend = if high > 1.0 {
                    "use a number of 0 or more"
                } else {
                    "use a number in [0, 1)"
                };
                return refuse(field, value.to_string(), mend);
            }
        }
        match self.max_grad_norm {
            Some(norm) if !(norm.is_finite() && norm > 0.0) => refuse(
                "max_grad_norm",
                norm.to_string(),
                "use a positive number, or none",
            ),
            _ => Ok(()),
        }
    }
}
