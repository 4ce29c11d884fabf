//! What transformers reads beside a saved model: `tokenizer.json`, `tokenizer_config.json`, `generation_config.json`.
use anyhow::Result;
use blockllm_data::Tokenizer;
use blockllm_data::atomic_file::write_atomically;
use serde_json::json;
use std::path::Path;

/// Writes the three files into `dir`, with the special tokens that the tokenizer has.
///
/// # Errors
/// When a file cannot be written.
pub fn write(tokenizer: &Tokenizer, max_length: usize, dir: &Path) -> Result<()> {
    tokenizer.save(&dir.join("tokenizer.json"))?;
    tokenizer.save_config(&dir.join("tokenizer_config.json"), max_length)?;
    let generation_config = json!({
        "_from_model_config": true,
        "bos_token_id": tokenizer.bos_id(),
        "eos_token_id": tokenizer.eos_id(),
        "pad_token_id": tokenizer.pad_id(),
    });
    let text = format!("{generation_config:#}\n");
    Ok(write_atomically(
        &dir.join("generation_config.json"),
        text.as_bytes(),
    )?)
}
