//! The files beside weights that transformers reads with them: tokenizer, chat template, settings of generation.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use serde_json::json;

use super::save::{Unfinished, write_text};
use crate::ModelError;
use crate::llama::LlamaConfig;

/// The settings of generation: above all, at which tokens it stops.
pub(super) const GENERATION: &str = "generation_config.json";

/// What a folder may hold beside its weights and their configuration, and a model made from it needs too.
const COMPANIONS: [&str; 10] = [
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
];

/// Puts beside a model that was saved in `dir` what the folder `from`, which it was made from, has beside its weights: all files of
/// the tokenizer, the chat template, and the settings of generation, as they are. What `dir` has of an earlier model and `from` has
/// not goes: transformers would read it.
///
/// A folder without settings of generation gets those of `config`, so that transformers stops at its tokens.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn save_companions(from: &Path, config: &LlamaConfig, dir: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    let same = |path: &Path| fs::canonicalize(path).map_err(ModelError::io(path, "look up"));
    if same(from)? != same(dir)? {
        for name in COMPANIONS {
            copy(&from.join(name), &dir.join(name))?;
        }
    }
    if from.join(GENERATION).is_file() {
        return Ok(());
    }
    write_text(&dir.join(GENERATION), &generation_config(config))
}

/// The text of a `generation_config.json` with the special tokens of `config`.
pub(crate) fn generation_config(config: &LlamaConfig) -> String {
    let ends = match config.eos_token_id.as_slice() {
        [] => json!(null),
        [end] => json!(end),
        ends => json!(ends),
    };
    let settings = json!({
        "_from_model_config": true,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": ends,
        "pad_token_id": config.pad_token_id,
    });
    format!("{settings:#}\n")
}

/// Copies a file, whole or not at all; where it is not there, it is there no more either.
fn copy(from: &Path, to: &Path) -> Result<(), ModelError> {
    if !from.is_file() {
        return match fs::remove_file(to) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(ModelError::io(to, "remove")(error)),
            _ => Ok(()),
        };
    }
    let mut unfinished = Unfinished::default();
    let temporary = unfinished.beside(to);
    fs::copy(from, temporary).map_err(ModelError::io(from, "copy"))?;
    File::open(temporary)
        .and_then(|file| file.sync_all())
        .map_err(ModelError::io(temporary, "write"))?;
    unfinished.publish()
}
