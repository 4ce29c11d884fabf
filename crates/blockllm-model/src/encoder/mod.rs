//! The encoder architectures BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019), and their classification head.
//!
//! Shape legend: `B` batch, `T` sequence, `D` hidden, `I` intermediate, `H` heads, `V` vocabulary, `C` classes.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use blockllm_model::encoder;
//! use burn::tensor::Device;
//!
//! let folder = Path::new("bert-base-uncased");
//! let loaded = encoder::load_for_sequence_classification(folder, 3, 0, &Device::default())?;
//! println!("drawn afresh, to be trained in any case: {:?}", loaded.fresh);
//! # Ok::<(), blockllm_model::ModelError>(())
//! ```

mod attention;
mod classifier;
mod config;
mod config_json;
mod embeddings;
mod init;
mod keys;
mod layer;
mod layer_norm;
mod model;
mod residual_output;

pub use attention::{EncoderAttention, EncoderSelfAttention};
pub use classifier::{ClassificationHead, EncoderForSequenceClassification};
pub use config::{EncoderConfig, EncoderKind};
pub use embeddings::EncoderEmbeddings;
pub use keys::hf_key;
pub use layer::{EncoderLayer, Intermediate};
pub use layer_norm::LayerNorm;
pub use model::{EncoderModel, EncoderStack, Pooler};
pub use residual_output::ResidualOutput;

pub use crate::hf::encoder::{
    load_encoder, load_for_sequence_classification, load_for_sequence_classification_as, save_pretrained,
    save_pretrained_with,
};
