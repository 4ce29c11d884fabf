//! The settings that all methods of the family have, and what is refused of them.
use super::adam::GaLoreAdam;
use super::rule::Rule;
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

/// What a [`GaLoreConfig`](crate::GaLoreConfig) or an [`ApolloConfig`](crate::ApolloConfig) becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRankConfig {
    pub(crate) rank: usize,
    pub(crate) update_proj_gap: u64,
    pub(crate) projection: Projection,
    pub(crate) rule: Rule,
    pub(crate) targets: Vec<String>,
    pub(crate) adam: GaLoreAdam,
    pub(crate) groups: Groups,
    pub(crate) max_grad_norm: Option<f64>,
    pub(crate) seed: u64,
}

impl LowRankConfig {
    /// Checks that gradients of the matrix at `path`, with these sides, can be projected to the rank.
    ///
    /// # Errors
    /// When the rank is above its smaller side.
    pub fn check_rank(&self, path: &str, sides: [usize; 2]) -> Result<(), OptimError> {
        OptimError::check_rank(path, self.rank, &sides)
    }

    /// Checks that each of the targets is in a path of `matrices`, which are those of all parameters with two dimensions.
    ///
    /// # Errors
    /// Names the first target that is in none.
    pub fn check_targets(&self, matrices: &[&str]) -> Result<(), OptimError> {
        OptimError::check_targets(&self.targets, matrices)
    }

    /// Checks the settings that need no module to be wrong.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn validate(&self) -> Result<(), OptimError> {
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
        let scale = match self.rule {
            Rule::GaLore { scale, .. } => scale,
            Rule::Apollo { scale, norm_growth } => {
                if !(norm_growth.is_finite() && norm_growth >= 1.0) {
                    return refuse(
                        "norm_growth",
                        norm_growth.to_string(),
                        "use a number of 1 or more",
                    );
                }
                scale
            }
        };
        let numbers = [
            ("scale", scale, 0.0, f64::MAX),
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
