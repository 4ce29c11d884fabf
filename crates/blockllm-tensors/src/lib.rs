//! Named tensors and their files (safetensors both ways, GGUF to be read), a piece at a time: what a model, an adapter or a checkpoint weighs never
//! stands on the host a second time.
//!
//! [`HeldTensor`] is a tensor that may be written: it shares the memory of its device until a piece of it is asked for.
//! [`write_tensors`] puts many into a file, [`TensorFile`] finds them there, and [`StoredTensor::read`] brings one back in
//! the number format and orientation that are wanted. [`Header`] is for who wants the bytes as they are. [`GgufFile`](gguf::GgufFile) finds the tensors of llama.cpp's files, with
//! all that such a file says of its model and tokenizer.

mod blocks;
mod error;
mod file;
pub mod gguf;
mod header;
mod held;
mod numbers;
mod stored;
mod super_blocks;
mod writer;

pub use error::TensorFileError;
pub use file::TensorFile;
pub use header::Header;
pub use held::HeldTensor;
pub use stored::StoredTensor;
pub use writer::{Written, digest, write_tensors};

/// Bytes that are converted, hashed and written at a time: little beside a matrix, much beside the cost of a read.
const PIECE: usize = 4 << 20;
