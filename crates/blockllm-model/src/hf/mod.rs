//! Hugging Face folders: `config.json` and safetensors, in one file or in shards, both ways.
//!
//! [`WeightFolder`] reads single tensors and [`module`] puts them into any burn module; [`save`] goes the other
//! way. Only `pretrained.rs`, `llama_classifier.rs` and `peft.rs` (LoRA adapters, as PEFT keeps them) know of
//! Llama, and only `encoder.rs` of BERT and RoBERTa, and `adaptable.rs` and `linears.rs` of both, so another architecture needs no more than its own such files.

mod adaptable;
mod adapter_config;
mod adapter_file;
mod classifier;
pub(crate) mod companions;
mod dtype;
pub(crate) mod encoder;
mod folder;
mod generation_settings;
mod index;
mod linears;
mod llama_classifier;
pub mod module;
mod peft;
pub(crate) mod pretrained;
pub mod save;

pub use adaptable::Adaptable;
pub use classifier::Loaded;
pub use companions::save_companions;
pub use dtype::WeightDtype;
pub use folder::WeightFolder;
pub use generation_settings::GenerationSettings;
pub use llama_classifier::{
    llama_classifier_config, llama_labels, load_llama_classifier, load_llama_classifier_as,
    save_llama_classifier, save_llama_classifier_with,
};
pub use peft::{load_adapter, save_adapter};
pub use pretrained::{
    check_pretrained, load_pretrained, load_pretrained_as, save_pretrained, save_pretrained_with,
};
pub use save::SaveOptions;
