//! Llama and its family, BERT and RoBERTa for burn: equal to transformers' in every logit and gradient, loading and saving its
//! folders, and reading llama.cpp's files.
//!
//! A model is a [`llama::LlamaConfig`] (a preset, or a Hugging Face `config.json`) and the
//! [`llama::LlamaForCausalLM`] made from it. The path of every parameter, as a burn `ModuleVisitor` sees it,
//! is its Hugging Face key, so that blocks can be named the same way everywhere; for the [`encoder`] it is that key
//! with three parts renamed (see [`encoder::hf_key`]).
//!
//! Shape legend of the whole crate: `B` batch, `T` sequence, `S` keys attended to, `D` hidden, `H` query heads,
//! `K` key and value heads, `N` tokens (`B * T`), `V` vocabulary, `C` classes.
//!
//! ```
//! use blockllm_model::llama::LlamaConfig;
//!
//! let config = LlamaConfig::preset("60m")?;
//! assert_eq!(config.num_parameters(), 58_073_600);
//! # Ok::<(), blockllm_model::ModelError>(())
//! ```

pub mod classification_loss;
mod config_file;
mod dropout;
pub mod encoder;
pub mod error;
pub mod gguf;
pub mod hf;
mod init;
pub mod labels;
pub mod llama;
pub mod loss;
mod parameter_shapes;
mod tokenizer_files;

pub use blockllm_kernels::{dropout_state, seed_dropout};
pub use classification_loss::{classification_loss, regression_loss};
pub use config_file::without_mark;
pub use error::ModelError;
pub use labels::Labels;
pub use loss::{CausalLmLoss, IGNORE_INDEX, LossOptions};
pub use parameter_shapes::{ParameterKind, ParameterShape};
pub use tokenizer_files::{TokenizerFiles, llama2c_tokenizer};
