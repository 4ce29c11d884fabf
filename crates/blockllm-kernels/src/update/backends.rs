//! The update as an operation of backends, and the tensors that cross to them together.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};

use super::step::UpdateStep;

/// The state arrays of a rule, all in f32 or all in 8-bit codes: words and scales of `E` entries, `N` or `K`.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum StateArrays<B: Backend> {
    /// A rule without state.
    Zero,
    /// `[E]`.
    One(FloatTensor<B>),
    /// `[E]` each.
    Two(FloatTensor<B>, FloatTensor<B>),
    /// `[blocks * 64]` and `[blocks]`.
    OneCoded(IntTensor<B>, FloatTensor<B>),
    /// The same for each.
    TwoCoded(IntTensor<B>, FloatTensor<B>, IntTensor<B>, FloatTensor<B>),
}

/// One of [`StateArrays`].
#[derive(Debug)]
pub(crate) enum ArrayParts<B: Backend> {
    F32(FloatTensor<B>),
    /// Words and scales.
    Int8(IntTensor<B>, FloatTensor<B>),
}

/// A tensor that may be there.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Maybe<B: Backend> {
    /// None.
    Absent,
    /// This one.
    Present(FloatTensor<B>),
}

/// Which entries are trained.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Places<B: Backend> {
    /// Every entry.
    All,
    /// Those whose first state array is not [`EXCLUDED`](super::EXCLUDED).
    Marked,
    /// Those at these indices, ascending: `[K]`, i32.
    At(IntTensor<B>),
}

/// All but weight and gradient.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct UpdateParts<B: Backend> {
    /// The rule's state.
    #[extension_type]
    pub state: StateArrays<B>,
    /// The f32 copy of the trained weights.
    #[extension_type]
    pub master: Maybe<B>,
    /// What the gradient is multiplied with, `[1]`.
    #[extension_type]
    pub clip: Maybe<B>,
    /// Which entries are trained.
    #[extension_type]
    pub places: Places<B>,
}

/// What an update leaves.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct Updated<B: Backend> {
    /// `[N]`.
    pub weight: FloatTensor<B>,
    /// The rule's state.
    #[extension_type]
    pub state: StateArrays<B>,
    /// The f32 copy of the trained weights.
    #[extension_type]
    pub master: Maybe<B>,
}

impl<B: Backend> StateArrays<B> {
    /// # Panics
    ///
    /// When there are more than two, or some are coded and some are not.
    pub(crate) fn from_vec(arrays: Vec<ArrayParts<B>>) -> Self {
        use ArrayParts::{F32, Int8};
        let mut arrays = arrays.into_iter();
        match (arrays.next(), arrays.next(), arrays.next()) {
            (None, ..) => Self::Zero,
            (Some(F32(first)), None, _) => Self::One(first),
            (Some(F32(first)), Some(F32(second)), None) => Self::Two(first, second),
            (Some(Int8(words, scales)), None, _) => Self::OneCoded(words, scales),
            (Some(Int8(words, scales)), Some(Int8(others, other_scales)), None) => {
                Self::TwoCoded(words, scales, others, other_scales)
            }
            _ => panic!("a rule keeps up to two arrays of state, all in f32 or all in codes"),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<ArrayParts<B>> {
        use ArrayParts::{F32, Int8};
        match self {
            Self::Zero => Vec::new(),
            Self::One(first) => vec![F32(first)],
            Self::Two(first, second) => vec![F32(first), F32(second)],
            Self::OneCoded(words, scales) => vec![Int8(words, scales)],
            Self::TwoCoded(words, scales, others, other_scales) => {
                vec![Int8(words, scales), Int8(others, other_scales)]
            }
        }
    }
}

impl<B: Backend> Maybe<B> {
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Absent => None,
            Self::Present(tensor) => Some(tensor),
        }
    }
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Maybe<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        match tensor {
            None => Self::Absent,
            Some(tensor) => Self::Present(tensor),
        }
    }
}

/// Backends with the update. There is no default: what composes it of burn's operations are the rules of
/// `blockllm-optim`, and its tests hold the two against each other.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait UpdateBackend: Backend {
    /// One step of a rule on the trained entries: `weight` and `gradient` are `[N]`.
    #[fusion(meta = |weight, _gradient, parts, _step| UpdatedMetadata {
        weight: weight.clone(),
        state: parts.state.clone(),
        master: parts.master.clone(),
    })]
    fn update(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        #[extension_type] parts: UpdateParts<Self>,
        step: UpdateStep,
    ) -> Updated<Self>;
}
