//! GGUF, the file format of llama.cpp (versions 2 and 3): tensors, and a dictionary that describes model and tokenizer.
//!
//! Only the header is read on opening, its lengths bounded by the file's before memory is asked for; tensors are read one at a
//! time, as those of safetensors are.

mod cursor;
mod file;
mod metadata;

pub use file::GgufFile;
pub use metadata::{Metadata, Value};
