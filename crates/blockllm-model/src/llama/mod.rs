//! The Llama architecture and those that share its arithmetic (Mistral, Qwen2): configuration, modules, generation,
//! classification.
//!
//! Shape legend: `B` batch, `T` sequence, `S` keys attended to, `D` hidden, `I` intermediate, `H` query heads,
//! `K` key and value heads, `N` tokens (`B * T`), `V` vocabulary, `W` tokens of a sliding window.

mod attention;
mod causal_lm;
mod config;
mod config_json;
mod decoder;
mod decoder_layer;
mod family;
mod generate;
mod generate_config;
mod generator;
mod init;
mod kv_cache;
mod layer_types;
mod layer_windows;
mod mlp;
mod model;
mod presets;
mod rms_norm;
mod rope;
mod rope_frequencies;
mod rope_json;
mod rope_long;
mod rope_scaling;
mod rope_yarn;
mod sampling;
mod sequence_classification;
mod sliding_window;
mod token_scores;

pub use attention::LlamaAttention;
pub use causal_lm::LlamaForCausalLM;
pub use config::LlamaConfig;
pub use decoder_layer::LlamaDecoderLayer;
pub use family::LlamaFamily;
pub use generate::BatchStream;
pub use generate_config::GenerateConfig;
pub use generator::{Generator, TokenStream};
pub use kv_cache::{KvCache, LayerCache};
pub use layer_types::LayerType;
pub use mlp::LlamaMlp;
pub use model::LlamaModel;
pub use presets::PRESETS;
pub use rms_norm::RmsNorm;
pub use rope::{RotaryEmbedding, RotarySlice};
pub use rope_long::LongRope;
pub use rope_scaling::RopeScaling;
pub use rope_yarn::Yarn;
pub use sequence_classification::LlamaForSequenceClassification;
pub use token_scores::TokenScores;
