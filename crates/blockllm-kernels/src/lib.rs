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
//! Shape legend: `N` rows (all leading dimensions), `D` width.

#[cfg(feature = "cube")]
pub mod catalog;
mod composed;
#[cfg(feature = "cube")]
mod device;
#[cfg(feature = "flex")]
mod host;
#[cfg(feature = "cuda")]
pub mod ptx;
mod rms_norm;
mod swiglu;
#[cfg(test)]
mod testing;

pub use rms_norm::{RmsNormBackend, rms_norm};
pub use swiglu::{SwigluBackend, swiglu};
