//! GGUF files of the Llama family, read whole: configuration, weights, tokenizer and chat template.
//!
//! llama.cpp's files keep the rows of queries and keys in another order and call everything by other names; [`GgufModel`] gives
//! the model that a Hugging Face folder of the same weights would give.

mod config;
mod model;
mod names;
mod tokenizer;
mod tokenizer_kind;

pub use model::GgufModel;
