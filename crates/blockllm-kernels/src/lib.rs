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
//! Shape legend: `N` rows (all leading dimensions), `D` width.

mod composed;
#[cfg(feature = "cube")]
mod device;
#[cfg(feature = "flex")]
mod host;
#[cfg(feature = "cube")]
mod launches;
mod rms_norm;
mod scatter;
mod sums;
#[cfg(test)]
mod testing;
mod top_k;
mod update;

#[cfg(feature = "cube")]
pub use launches::launches_of;
pub use rms_norm::{RmsNormBackend, rms_norm};
pub use scatter::{ScatterBackend, with_values_at};
pub use sums::{SumsBackend, norm_and_factor, with_sum_of_squares};
pub use top_k::{Kept, ReadBackError, TopKBackend, at_least, largest, magnitude_thresholds};
pub use update::{EXCLUDED, FusedRule, Trained, TrainedEntries, UpdateBackend, UpdateStep, update};
