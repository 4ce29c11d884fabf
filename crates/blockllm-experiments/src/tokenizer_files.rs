//! What transformers reads beside a saved model: `tokenizer.json`, `tokenizer_config.json`, `generation_config.json`.
use anyhow::{Context, Result};
use blockllm_data::Tokenizer;
use blockllm_data::atomic_file::write_atomically;
use serde_json::json;
use std::path::Path;

/// Writes the three files into `dir`, with the special tokens that the tokenizer has.
///
/// # Errors
/// When a file cannot be written, or a special token has no name.
pub fn write(tokenizer: &Tokenizer, max_length: usize, dir: &Path) -> Result<()> {
    tokenizer.save(&dir.join("tokenizer.json"))?;
    let named = |id: u32| {
        tokenizer
            .token(id)
            .with_context(|| format!("the tokenizer {} has no token {id}", tokenizer.label()))
    };
    let name_of = |id: Option<u32>| id.map(named).transpose();
    let (eos, pad) = (name_of(tokenizer.eos_id())?, name_of(tokenizer.pad_id())?);
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "pad_token": pad,
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": false,
    });
    let generation_config = json!({
        "_from_model_config": true,
        "eos_token_id": tokenizer.eos_id(),
        "pad_token_id": tokenizer.pad_id(),
    });
    for (name, value) in [
        ("tokenizer_config.json", tokenizer_config),
        ("generation_config.json", generation_config),
    ] {
        write_atomically(&dir.join(name), format!("{value:#}\n").as_bytes())?;
    }
    Ok(())
}
