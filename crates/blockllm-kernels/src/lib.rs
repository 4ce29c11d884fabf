//! Fused operations for training transformers, below burn's `Tensor`: each has one kernel for the CPU (flex), one for
//! GPUs (wgpu and CUDA), and a backward pass written by hand.
//!
//! One folder is one operation: `mod.rs` has the equation and the function over tensors, `flex.rs` and `cube.rs` the
//! kernels, `backward.rs` the place in autodiff's graph. A backend without a kernel of its own gets the composition of
//! burn's operations that stands in the trait as default, which the tests hold every kernel against.
//!
//! Statistics and sums are in f32 whatever the type of the tensors. On the CPU the bits do not depend on the number of
//! threads.
//!
//! What the optimizer does on the device is here as well: the update of a parameter's trained entries, sums of squares of
//! many tensors in one buffer, the largest magnitudes over several tensors, and values written at indices. None of these
//! has a gradient, so that they take tensors without autodiff only; each has a kernel on every backend.
//!
//! Shape legend: `N` rows (all leading dimensions), `D` width; in attention `B` batch, `T` queries,
//! `S` keys, `H` query heads, `K` key heads.

#![allow(
    clippy::inline_always,
    reason = "a loop is compiled for wide vectors only with all that it calls inlined into it"
)]
#![allow(
    clippy::used_underscore_binding,
    reason = "the argument that names the type of a GPU kernel's numbers is used by cubecl's macro alone"
)]
#![cfg_attr(
    test,
    allow(
        clippy::float_cmp,
        reason = "whole numbers in floats, and numbers that must be equal to the bit"
    )
)]

mod add_product;
mod attention;
#[cfg(feature = "cube")]
pub mod catalog;
mod composed;
mod cross_entropy;
#[cfg(feature = "cube")]
mod device;
mod dropout;
mod embedding;
mod gelu;
mod given_gradient;
#[cfg(feature = "flex")]
mod host;
#[cfg(feature = "cube")]
mod kernel_list;
#[cfg(feature = "cube")]
mod launches;
mod layer_norm;
mod linear;
mod normalised;
#[cfg(feature = "cuda")]
pub mod ptx;
mod rms_norm;
mod rotary;
mod scatter;
mod sums;
mod swiglu;
#[cfg(test)]
mod testing;
mod top_k;
mod update;

pub use add_product::{AddProductBackend, add_product};
pub use attention::{
    AttentionBackend, AttentionDropout, AttentionGrads, AttentionOptions, Visibility, Visible, attention,
    composed_attention,
};
pub use cross_entropy::{CrossEntropyBackend, cross_entropy, cross_entropy_with_grad};
pub use dropout::{DropoutBackend, dropout, dropout_state, next_dropout_seed, seed_dropout};
pub use embedding::{EmbeddingBackend, embedding};
pub use gelu::{GeluBackend, gelu};
pub use given_gradient::{GivenGradientBackend, with_gradient};
#[cfg(feature = "cube")]
pub use launches::launches_of;
pub use layer_norm::{LayerNormBackend, layer_norm};
pub use linear::{LinearBackend, linear, linear_layer, product};
pub use normalised::{
    NormalisedBackend, NormalisedStep, Stay, column_sums_of_squares, decayed_sum, normalised_update,
};
pub use rms_norm::{RmsNormBackend, rms_norm};
pub use rotary::{RotaryBackend, rotary};
pub use scatter::{ScatterBackend, with_values_at};
pub use sums::{SumsBackend, norm_and_factor, with_sum_of_squares};
pub use swiglu::{SwigluBackend, swiglu};
pub use top_k::{Kept, ReadBackError, TopKBackend, at_least, largest, magnitude_thresholds};
pub use update::{
    CODE_BLOCK, CODE_WORDS, Coding, EXCLUDED, FusedRule, Rounding, SMALLEST_SCALE, StateArray, Trained,
    TrainedEntries, UpdateBackend, UpdateStep, code_blocks, update,
};
