//! Named tensors and safetensors files, both ways a piece at a time: what a model, an adapter or a checkpoint weighs never
//! stands on the host a second time.
//!
//! [`HeldTensor`] is a tensor that may be written: it shares the memory of its device until a piece of it is asked for.
//! [`write_tensors`] puts many into a file, [`TensorFile`] finds them there, and [`StoredTensor::read`] brings one back in
//! the number format and orientation that are wanted.

mod error;
mod file;
mod held;
mod numbers;
mod writer;

pub use error::TensorFileError;
pub use file::{StoredTensor, TensorFile};
pub use held::HeldTensor;
pub use writer::{Written, digest, write_tensors};

/// Bytes that are converted, hashed and written at a time: little beside a matrix, much beside the cost of a read.
const PIECE: usize = 4 << 20;
