//! The update of a parameter: one pass over its trained entries that reads gradient and state once and writes state and
//! weight in place.
//!
//! With the gradient `g` (times the clip factor), the weight `w` in f32, and the state arrays of an entry:
//!
//! - AdamW: `m = b1 m + (1 - b1) g`; `v = b2 v + (1 - b2) g^2`; `d = m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)`;
//!   `w += -rate / (1 - b1^t) d - rate decay w`
//! - SGD: `m = momentum m + g`; `w += -rate m - rate decay w`
//! - Lion: `d = sign(b1 m + (1 - b1) g)`; `m = b2 m + (1 - b2) g`; `w += -rate d - rate decay w`
//! - Sign: `w += -rate sign(g)`, without state
//!
//! The operations and their order are those of the compositions in `blockllm-optim`, entry by entry. An entry of which a
//! master copy is kept is changed there in f32, and the weight gets its rounded value; without a copy the weight may be
//! rounded up or down by chance. State in 8-bit codes is decoded, changed and coded again within the pass.
//!
//! Shape legend: `N` entries of the parameter, `K` trained ones.

mod backends;
#[cfg(test)]
mod coded_tests;
mod codes;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use backends::ArrayParts;
pub use backends::{Maybe, Places, StateArrays, UpdateBackend, UpdateParts, Updated};
pub use codes::{CODE_BLOCK, CODE_WORDS, Coding, SMALLEST_SCALE, code_blocks};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;
pub use step::{FusedRule, Rounding, UpdateStep};

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

/// Marks an entry that is not trained in the first state array of the dense form. No momentum reaches the largest
/// float, and comparing with it is exact on every backend, which NaN is not.
pub const EXCLUDED: f32 = f32::MAX;

/// Which entries of a parameter are trained, and so how its state is laid out.
#[derive(Clone, Copy, Debug)]
pub enum TrainedEntries<'a> {
    /// Every entry: state arrays of `[N]`.
    All,
    /// Those whose first state array is not [`EXCLUDED`]: state arrays of `[N]`.
    Marked,
    /// Those at these indices, ascending and each only once: state arrays of `[K]`.
    At(&'a Tensor<1, Int>),
}

/// One array of state.
#[allow(
    clippy::large_enum_variant,
    reason = "a parameter has two of them, while it is updated"
)]
#[derive(Clone, Debug)]
pub enum StateArray {
    /// `[N]` or `[K]`, f32.
    F32(Tensor<1>),
    /// In 8-bit codes.
    Int8 {
        /// `[blocks * CODE_WORDS]`, i32.
        words: Tensor<1, Int>,
        /// `[blocks]`, f32.
        scales: Tensor<1>,
    },
}

impl StateArray {
    fn into_parts(self) -> ArrayParts<Dispatch> {
        match self {
            Self::F32(values) => ArrayParts::F32(values.into_dispatch()),
            Self::Int8 { words, scales } => ArrayParts::Int8(words.into_dispatch(), scales.into_dispatch()),
        }
    }

    fn from_parts(parts: ArrayParts<Dispatch>) -> Self {
        match parts {
            ArrayParts::F32(values) => Self::F32(Tensor::from_dispatch(values)),
            ArrayParts::Int8(words, scales) => Self::Int8 {
                words: Tensor::from_dispatch(words),
                scales: Tensor::from_dispatch(scales),
            },
        }
    }
}

/// What an update changes.
#[derive(Debug)]
pub struct Trained {
    /// `[N]`, of any float type.
    pub weight: Tensor<1>,
    /// As many as the rule keeps, over `N` or `K` entries; all in f32, or all in codes.
    pub state: Vec<StateArray>,
    /// The f32 copy of the trained weights, laid out as the state, where one is kept.
    pub master: Option<Tensor<1>>,
}

/// One step of a rule on the trained entries of a parameter; all others keep their bits. Tensors that nobody else holds
/// are changed in place.
///
/// # Shapes
///
/// - gradient: `[N]`, of any float type
/// - clip, what the gradient is multiplied with: `[1]`, f32
///
/// # Panics
///
/// When `of` has not as many state arrays as the rule keeps, or some are coded and some are not.
pub fn update(
    of: Trained,
    gradient: Tensor<1>,
    clip: Option<&Tensor<1>>,
    entries: TrainedEntries<'_>,
    step: UpdateStep,
) -> Trained {
    assert_eq!(of.state.len(), step.rule.state_arrays(), "arrays of state");
    let maybe = |tensor: Option<Tensor<1>>| match tensor {
        Some(tensor) => Maybe::Present(tensor.into_dispatch()),
        None => Maybe::Absent,
    };
    let parts = UpdateParts {
        state: StateArrays::from_vec(of.state.into_iter().map(StateArray::into_parts).collect()),
        master: maybe(of.master),
        clip: maybe(clip.cloned()),
        places: match entries {
            TrainedEntries::All => Places::All,
            TrainedEntries::Marked => Places::Marked,
            TrainedEntries::At(indices) => Places::At(indices.clone().into_dispatch()),
        },
    };
    let updated = Dispatch::update(of.weight.into_dispatch(), gradient.into_dispatch(), parts, step);
    Trained {
        weight: Tensor::from_dispatch(updated.weight),
        state: updated
            .state
            .into_vec()
            .into_iter()
            .map(StateArray::from_parts)
            .collect(),
        master: updated.master.into_option().map(Tensor::from_dispatch),
    }
}
