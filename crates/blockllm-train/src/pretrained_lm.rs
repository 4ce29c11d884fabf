//! A language model as people have it, a Hugging Face folder or a GGUF file: configuration, weights, tokenizer, chat template.
use crate::{TrainError, WeightType, model_place};
use blockllm_data::Tokenizer;
use blockllm_data::atomic_file::write_atomically;
use blockllm_data::hashing::{sha256_file, sha256_hex};
use blockllm_data::instruct::{ChatTemplate, FixedDate, InstructEncoder};
use blockllm_model::gguf::GgufModel;
use blockllm_model::hf::{
    GenerationSettings, SaveOptions, check_pretrained, load_pretrained_as, save_companions,
    save_pretrained_with,
};
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_model::{TokenizerFiles, llama2c_tokenizer};
use burn::tensor::Device;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The tokenizer of a folder.
const TOKENIZER: &str = "tokenizer.json";
/// The settings of generation.
const GENERATION: &str = "generation_config.json";

/// A model of Llama's family on disk. Its weights are read by [`load`](Self::load), everything else is there.
#[derive(Debug)]
pub struct PretrainedLm {
    path: PathBuf,
    gguf: Option<GgufModel>,
    config: LlamaConfig,
    tokenizer: Arc<Tokenizer>,
    /// A tokenizer that the folder has not.
    is_given_tokenizer: bool,
    /// The files of a tokenizer that came in another form than transformers'.
    made_tokenizer: Option<TokenizerFiles>,
    template: Option<ChatTemplate>,
    /// A template that the model has not.
    is_given_template: bool,
}

impl PretrainedLm {
    /// Looks at the folder or GGUF file `path`; `tokenizer` is a `tokenizer.json`, or a tokenizer file of llama2.c (`.bin`), in place
    /// of its own.
    ///
    /// # Errors
    /// When there is none, a file is missing or broken, its model is none of Llama's family, or the tokenizer has more tokens than
    /// the model has embeddings.
    pub fn open(path: &Path, tokenizer: Option<&Path>) -> Result<Self, TrainError> {
        model_place::check(path)?;
        let gguf = if path.is_file() {
            Some(GgufModel::open(path)?)
        } else {
            None
        };
        let config = match &gguf {
            Some(gguf) => gguf.config().clone(),
            None => LlamaConfig::from_file(&path.join("config.json"))?,
        };
        let positions = config.max_position_embeddings;
        let (file, made_tokenizer) = match (&gguf, tokenizer) {
            (_, Some(given)) => (given.to_owned(), in_another_form(given, positions)?),
            (Some(gguf), None) => (path.to_owned(), Some(gguf.tokenizer()?)),
            (None, None) => tokenizer_of(path, positions)?,
        };
        let date = FixedDate::default();
        let label = file.display().to_string();
        let own = match &made_tokenizer {
            Some(made) => Tokenizer::from_text(&made.tokenizer, &made.config, &label)?,
            None => Tokenizer::from_file(&file)?,
        };
        let template = match (&gguf, tokenizer) {
            (Some(gguf), None) => {
                let source = gguf.chat_template()?;
                let template = source.map(|source| ChatTemplate::new(&label, source, date));
                template.transpose()?
            }
            _ => ChatTemplate::beside(&file, date)?,
        };
        Ok(Self {
            path: path.to_owned(),
            tokenizer: Arc::new(own.fitted(config.vocab_size)?),
            gguf,
            config,
            is_given_tokenizer: tokenizer.is_some(),
            made_tokenizer,
            template,
            is_given_template: false,
        })
    }

    /// The same model with another chat template, which [`save`](Self::save) writes beside it.
    #[must_use]
    pub fn with_template(mut self, template: ChatTemplate) -> Self {
        self.template = Some(template);
        self.is_given_template = true;
        self
    }

    /// Its configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Its chat template, if it has one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// How its author says that it generates; at least the tokens at which it stops.
    ///
    /// # Errors
    /// When its `generation_config.json` is broken.
    pub fn generation(&self) -> Result<GenerationSettings, TrainError> {
        let said = match &self.gguf {
            Some(_) => None,
            None => GenerationSettings::of_folder(&self.path)?,
        };
        Ok(said.unwrap_or_default().or_tokens_of(&self.config))
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model, its weights in that type; all of them require gradients when `device` is an autodiff device.
    ///
    /// # Errors
    /// When weights are missing, broken or of another model, or the device cannot compute in that type.
    pub fn load(&self, weights: WeightType, device: &Device) -> Result<LlamaForCausalLM, TrainError> {
        weights.check(device)?;
        let model = match &self.gguf {
            Some(gguf) => gguf.load(weights.into(), device)?,
            None => load_pretrained_as(&self.path, weights.into(), device)?.0,
        };
        Ok(model)
    }

    /// Looks at the headers of its weights without reading them: whether they are those of its configuration.
    ///
    /// # Errors
    /// When weights are missing, cut off or of another model.
    pub fn check_weights(&self) -> Result<(), TrainError> {
        match &self.gguf {
            Some(gguf) => Ok(gguf.check_weights()?),
            None => Ok(check_pretrained(&self.path, &self.config)?),
        }
    }

    /// Writes `model` as a folder that transformers loads, with the tokenizer, the chat template and the settings of generation
    /// that it was made with. Adapters of `LoRA` are merged.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, model: &LlamaForCausalLM, weights: WeightType, dir: &Path) -> Result<(), TrainError> {
        save_pretrained_with(model, &self.config, dir, &SaveOptions::of(weights.into()))?;
        match &self.gguf {
            Some(gguf) => gguf.save_generation(dir)?,
            None => save_companions(&self.path, &self.config, dir)?,
        }
        match &self.made_tokenizer {
            Some(made) => made.save(dir)?,
            None if self.is_given_tokenizer => self.tokenizer.save(&dir.join(TOKENIZER))?,
            None => {}
        }
        let Some(template) = &self.template else {
            return Ok(());
        };
        if self.is_given_template || self.is_given_tokenizer {
            write_atomically(&dir.join("chat_template.jinja"), template.source().as_bytes())?;
        }
        let encoder = InstructEncoder::new(self.tokenizer.clone(), template.clone())?;
        stop_at(&dir.join(GENERATION), &encoder.ends())
    }

    /// One line for people: name, kind and size.
    pub fn describe(&self) -> String {
        let name = repository_of(&self.path).unwrap_or_else(|| {
            let name = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
            let name = name.file_name().unwrap_or(self.path.as_os_str());
            name.to_string_lossy().into_owned()
        });
        format!(
            "{name} ({}, {:.1} M parameters)",
            self.config.family.model_type(),
            self.config.num_parameters() as f64 / 1e6
        )
    }

    /// What others call the model: the repository of a snapshot in the hub's cache, else the path.
    pub fn reference(&self) -> String {
        repository_of(&self.path).unwrap_or_else(|| self.path.display().to_string())
    }

    /// A SHA-256 over configuration and weights, whatever the folder is called.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn sha256(&self) -> Result<String, TrainError> {
        match &self.gguf {
            Some(_) => Ok(sha256_file(&self.path)?.1),
            None => folder_sha256(&self.path),
        }
    }
}

/// The tokenizer of a folder: its `tokenizer.json`, else the one file of llama2.c in it.
fn tokenizer_of(folder: &Path, positions: usize) -> Result<(PathBuf, Option<TokenizerFiles>), TrainError> {
    let usual = folder.join(TOKENIZER);
    let unreadable = |source| TrainError::File {
        path: folder.to_owned(),
        source,
    };
    if usual.is_file() {
        return Ok((usual, None));
    }
    let mut others = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let is_tokenizer = |name: &str| name.starts_with("tok") && is_llama2c(Path::new(name));
        others.extend(name.to_str().filter(|name| is_tokenizer(name)).map(str::to_owned));
    }
    match others.as_slice() {
        [] => Err(no_tokenizer(folder)),
        [name] => {
            let file = folder.join(name);
            let made = in_another_form(&file, positions)?;
            Ok((file, made))
        }
        _ => {
            others.sort();
            Err(TrainError::Setting {
                field: "tokenizer",
                value: others.join(", "),
                mend: format!(
                    "{} has no {TOKENIZER} and several files of llama2.c: name one of them (--tokenizer FILE)",
                    folder.display()
                ),
            })
        }
    }
}

/// What to do about a folder without a tokenizer that is read.
fn no_tokenizer(folder: &Path) -> TrainError {
    let other = if folder.join("tokenizer.model").is_file() {
        " (its tokenizer.model is not read)"
    } else {
        ""
    };
    let folder = folder.display();
    TrainError::Setting {
        field: "tokenizer",
        value: "missing".to_owned(),
        mend: format!(
            "{folder} has no {TOKENIZER}{other}; name one by --tokenizer FILE, or let transformers write it there: \
             AutoTokenizer.from_pretrained(\"{folder}\").save_pretrained(\"{folder}\")"
        ),
    }
}

/// Whether a tokenizer file is called as llama2.c's are.
fn is_llama2c(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "bin")
}

/// The tokenizer in a file of llama2.c; none of a `tokenizer.json`.
fn in_another_form(file: &Path, positions: usize) -> Result<Option<TokenizerFiles>, TrainError> {
    if is_llama2c(file) {
        Ok(Some(llama2c_tokenizer(file, positions)?))
    } else {
        Ok(None)
    }
}

/// `owner/name` of `.../models--owner--name/snapshots/COMMIT`.
fn repository_of(path: &Path) -> Option<String> {
    let snapshots = path.parent().filter(|folder| folder.ends_with("snapshots"))?;
    let folder = snapshots.parent()?.file_name()?.to_str()?;
    Some(folder.strip_prefix("models--")?.replacen("--", "/", 1))
}

/// A SHA-256 over configuration and weights of a Hugging Face folder: pins a run to its checkpoint, whatever the folder is called.
///
/// # Errors
/// When a file cannot be read.
pub fn folder_sha256(dir: &Path) -> Result<String, TrainError> {
    let unreadable = |source| TrainError::File {
        path: dir.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(dir).map_err(unreadable)?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(unreadable)?;
    let is_weights = |path: &Path| {
        path.extension()
            .is_some_and(|extension| extension == "safetensors")
    };
    files.retain(|path| path.ends_with("config.json") || is_weights(path));
    files.sort();
    let hashes = files
        .iter()
        .map(|path| Ok(sha256_file(path)?.1))
        .collect::<Result<Vec<_>, TrainError>>()?;
    Ok(sha256_hex(hashes.concat().as_bytes()))
}

/// Adds `ends` to the tokens at which generation stops by the settings in `file`.
fn stop_at(file: &Path, ends: &[u32]) -> Result<(), TrainError> {
    let broken = |message: String| TrainError::Record {
        path: file.to_owned(),
        message,
    };
    let text = std::fs::read_to_string(file).map_err(|source| TrainError::File {
        path: file.to_owned(),
        source,
    })?;
    let mut settings: Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let Some(fields) = settings.as_object_mut() else {
        return Err(broken("it is no JSON object".to_owned()));
    };
    let mut known = match fields.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.clone(),
        Some(id @ Value::Number(_)) => vec![id.clone()],
        _ => Vec::new(),
    };
    let missing: Vec<Value> = ends
        .iter()
        .map(|&id| id.into())
        .filter(|id| !known.contains(id))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    known.extend(missing);
    let ends = match known.as_slice() {
        [end] => end.clone(),
        _ => known.into(),
    };
    fields.insert("eos_token_id".to_owned(), ends);
    Ok(write_atomically(file, format!("{settings:#}\n").as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_the_hubs_cache_is_called_as_its_repository() {
        let of = |path: &str| repository_of(Path::new(path));
        let snapshot = "cache/hub/models--owner--small--model/snapshots/0123";
        assert_eq!(of(snapshot).as_deref(), Some("owner/small--model"));
        assert_eq!(of("models/llama"), None);
        assert_eq!(of("runs/snapshots/0123"), None);
    }

    #[test]
    fn a_folder_without_a_tokenizer_is_told_with_the_option_and_the_way_to_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let told = || tokenizer_of(folder.path(), 128).unwrap_err().to_string();
        for part in ["has no tokenizer.json;", "--tokenizer FILE", ".save_pretrained("] {
            assert!(told().contains(part), "{}", told());
        }
        std::fs::write(folder.path().join("tokenizer.model"), "").unwrap();
        assert!(told().contains("tokenizer.model is not read"), "{}", told());
    }
}
