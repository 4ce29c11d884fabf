//! The choices that the paper leaves open, each a named setting (ALGORITHM, "choice").
use crate::OptimError;
use serde::{Deserialize, Serialize};

/// **Choice:** which norm of a gradient the policy sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// L2 norm of the raw gradient: the authors' experiments. It favours large tensors.
    Grad,
    /// L2 norm divided by `sqrt(n_l)`: fair between sizes, and clearly better in pretraining
    /// (`docs/discrepancies.md`).
    #[default]
    Rms,
    /// L2 norm of the update rule's processed gradient `G_l` where moments exist. Elsewhere `G_l` would be a sign,
    /// whatever the gradient: there it is the raw norm times the ratio that processed and raw norms have over the
    /// selection, so that both are of one unit. Before the first moments it is the raw norm.
    Processed,
}

impl NormKind {
    /// The norm of a block from the sum of its squared gradient entries; the raw one for `Processed`.
    pub(crate) fn of(self, sum_of_squares: f64, numel: u64) -> f64 {
        match self {
            Self::Grad | Self::Processed => sum_of_squares.sqrt(),
            Self::Rms => (sum_of_squares / numel.max(1) as f64).sqrt(),
        }
    }
}

/// **Choice:** over what the mask's threshold is taken, or that there is no mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskScope {
    /// The largest entries of the whole selection.
    #[default]
    Global,
    /// The same share of each parameter's largest entries.
    PerParameter,
    /// No mask: selected blocks are trained whole. Of the ranking the first is taken in any case, then each that still fits into
    /// the budget, which only a block alone may exceed. Policies that take a number of blocks take as many as ever.
    None,
}

/// **Choice:** how exactly the mask's threshold is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskThreshold {
    /// The exact top `k`: the budget holds to the entry.
    #[default]
    Exact,
    /// A quantile of this many gradients, drawn evenly over the selection; the mask is then compared on the device
    /// and only its bits are read back.
    ///
    /// With `k` of `n` entries wanted and `m` sampled, the share of trained entries differs from `k / n` by more
    /// than `4 sqrt(k/n (1 - k/n) / m)` in fewer than one selection of ten thousand; where it does (ties, such as
    /// many zero gradients), the exact threshold is taken instead, so that the bound always holds.
    Sampled(usize),
}

impl MaskThreshold {
    /// Fewer samples would leave the budget to chance.
    const FEWEST: usize = 256;

    pub(crate) fn validate(self) -> Result<(), OptimError> {
        match self {
            Self::Sampled(entries) if entries < Self::FEWEST => Err(OptimError::Setting {
                field: "threshold",
                value: format!("Sampled({entries})"),
                mend: "sample at least 256 entries, or take the exact threshold",
            }),
            Self::Sampled(_) | Self::Exact => Ok(()),
        }
    }
}

/// **Choice:** when the mask is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskRefresh {
    /// It holds until the next selection.
    #[default]
    EachSelection,
    /// From every step's gradients; entries that stay keep their moments. It reads the selection's gradients back
    /// at every step.
    EachStep,
}

/// **Choice:** what becomes of the moments at a selection. Those of a block that leaves are dropped in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarriedMoments {
    /// All of the selection start from zero.
    #[default]
    Reset,
    /// Entries that were trained before and still are keep theirs, and their bias correction goes on. An entry that
    /// comes into a parameter whose moments go on starts as if its first gradient had been there all along: from
    /// zero, under a bias correction that has run out, its first step would be several times too long.
    CarriedOver,
}

/// How the first norms are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SweepMode {
    /// Backward passes over the same batch with this many blocks unfrozen in each, so that the peak never holds
    /// all gradients.
    Grouped(usize),
    /// One backward pass with all candidates unfrozen: what the authors' code does.
    Full,
}

/// How trained weights in half precision are kept; f32 weights are what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HalfWeights {
    /// Each trained entry has an f32 copy, in which steps add up: 4 bytes more. A block that leaves the selection keeps
    /// the rounded weights: at most half a unit in the last place of its copy is lost.
    #[default]
    Masters,
    /// Without copies, rounded to the nearest after every step: steps below half a unit in the last place are lost.
    Nearest,
    /// Without copies, rounded up or down by chance after every step, each as probable as the number is near: small steps
    /// are taken on average. Seeded; for the rules that have a kernel.
    Stochastic,
}

/// Which blocks outside the selection something is done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// All of them: the backward pass goes down to the lowest.
    #[default]
    All,
    /// Those above the lowest that is trained or probed, in visiting order: the backward pass goes through their layers
    /// anyway, and layer by layer one layer's gradients exist at a time.
    Above,
}

/// Whose gradient norms are measured beside those of what is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// Those of the probes.
    #[default]
    Probes,
    /// Those of the probes, and of every block above the lowest that is trained or probed: norms are never older than
    /// the last time that the selection lay higher. Meant for a backward pass that goes layer by layer; a whole one
    /// holds all these gradients.
    Passed,
}
