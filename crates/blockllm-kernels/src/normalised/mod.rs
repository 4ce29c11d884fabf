//! Normalised SGD: each column of a gradient is divided by its root mean square, so that every column moves as far.
//!
//! With the gradient `g` of `[R, C]`, or its decayed sum `m = momentum m + g` where a momentum is kept:
//!
//! - `u[r, c] = g[r, c] / max(sqrt(sum over r of g[r, c]^2 / R), 1e-8)`
//! - `w[r, c] += -rate u[r, c]`
//!
//! It is the rule without state of SCALE (arXiv 2506.16659), which normalises over the inputs of a linear layer, the rows of
//! burn's weights, and over the vocabulary of an embedding, the rows too; its momentum is an average, which is `1 - momentum`
//! times the sum here: the same direction. A vector is one column.
//!
//! Sums are in f32, in an order that depends on the shape alone. Entries that another rule trains may be left as they are.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(test)]
mod tests;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{DType, Int, Tensor};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use crate::Rounding;

/// The least root mean square that a column is divided by.
const SMALLEST: f32 = 1e-8;

/// Which entries of a parameter stay as they are.
#[derive(Clone, Copy, Debug)]
pub enum Stay<'a> {
    /// None: all move.
    None,
    /// Those whose number here, `[R * C]` in f32, is not [`EXCLUDED`](crate::EXCLUDED): the trained ones of dense state.
    Unmarked(&'a Tensor<1>),
    /// Those at these indices, ascending and each only once: the trained ones of compact state.
    At(&'a Tensor<1, Int>),
}

/// How far to go, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalisedStep {
    /// Columns of the parameter; its entries are a multiple of them.
    pub columns: usize,
    /// How far an entry of its column's root mean square goes.
    pub learning_rate: f64,
    /// How a weight in half precision is rounded.
    pub rounding: Rounding,
}

/// `kept` times `momentum` plus the gradient. A `kept` that nobody else holds is changed in place.
///
/// # Shapes
///
/// - kept and output: `[N]`, f32
/// - gradient: `[N]`, of any float type
pub fn decayed_sum(kept: Tensor<1>, gradient: Tensor<1>, momentum: f32) -> Tensor<1> {
    let sum = Dispatch::decayed_sum(kept.into_dispatch(), gradient.into_dispatch(), momentum);
    Tensor::from_dispatch(sum)
}

/// The weight after one step of normalised SGD along `direction`, a gradient or a momentum. A weight that nobody else holds
/// is changed in place.
///
/// # Shapes
///
/// - weight, direction and output: `[R * C]`, of any float type
pub fn normalised_update(
    weight: Tensor<1>,
    direction: Tensor<1>,
    stay: Stay<'_>,
    step: NormalisedStep,
) -> Tensor<1> {
    let stay = match stay {
        Stay::None => Staying::None,
        Stay::Unmarked(first) => Staying::Unmarked(first.clone().into_dispatch()),
        Stay::At(indices) => Staying::At(indices.clone().into_dispatch()),
    };
    let sums = column_sums_of_squares(direction.clone(), step.columns);
    let weight = Dispatch::normalised_step(
        weight.into_dispatch(),
        direction.into_dispatch(),
        sums.into_dispatch(),
        StayParts { stay },
        step,
    );
    Tensor::from_dispatch(weight)
}

/// The sum of squares of each column of `of`, a matrix of `columns`.
///
/// # Shapes
///
/// - of: `[R * C]`, of any float type
/// - output: `[C]`, f32
pub fn column_sums_of_squares(of: Tensor<1>, columns: usize) -> Tensor<1> {
    if columns == 1 {
        let none = Tensor::full([1], 0.0, (&of.device(), DType::F32));
        return crate::with_sum_of_squares(none, 0, of);
    }
    Tensor::from_dispatch(Dispatch::column_sums_of_squares(of.into_dispatch(), columns))
}

/// Which entries stay, as it crosses to a backend.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Staying<B: Backend> {
    /// None.
    None,
    /// Those that are not marked.
    Unmarked(FloatTensor<B>),
    /// Those at these indices.
    At(IntTensor<B>),
}

/// [`Staying`] as the part of a call.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct StayParts<B: Backend> {
    /// Which entries stay.
    #[extension_type]
    pub stay: Staying<B>,
}

/// Backends with normalised SGD.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait NormalisedBackend: Backend {
    /// `kept` times `momentum` plus the gradient: `[N]` in f32.
    #[fusion(dtype = kept, shape = kept)]
    fn decayed_sum(kept: FloatTensor<Self>, gradient: FloatTensor<Self>, momentum: f32) -> FloatTensor<Self>;

    /// The sum of squares of each of several columns: `[C]` in f32.
    #[fusion(meta = |of, columns| {
        let mut sums = of.clone();
        sums.shape = burn::tensor::Shape::new([columns]);
        sums.dtype = burn::tensor::DType::F32;
        sums
    })]
    fn column_sums_of_squares(of: FloatTensor<Self>, columns: usize) -> FloatTensor<Self>;

    /// The weight after a step along `direction`, whose columns have these `sums` of squares.
    #[fusion(dtype = weight, shape = weight)]
    fn normalised_step(
        weight: FloatTensor<Self>,
        direction: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        #[extension_type] stay: StayParts<Self>,
        step: NormalisedStep,
    ) -> FloatTensor<Self>;
}
