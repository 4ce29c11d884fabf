//! `GenerationSettings`: what the author of a model says of its generation, in `generation_config.json`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use super::companions::GENERATION;
use crate::ModelError;
use crate::config_file::without_mark;
use crate::llama::{GenerateConfig, LlamaConfig};

/// Keys of a file that would change a text and are not followed, each with the number that changes nothing, if one does.
const UNFOLLOWED: [(&str, Option<f64>); 21] = [
    ("num_beams", Some(1.0)),
    ("num_beam_groups", Some(1.0)),
    ("no_repeat_ngram_size", Some(0.0)),
    ("encoder_repetition_penalty", Some(1.0)),
    ("suppress_tokens", None),
    ("begin_suppress_tokens", None),
    ("bad_words_ids", None),
    ("sequence_bias", None),
    ("forced_bos_token_id", None),
    ("forced_eos_token_id", None),
    ("min_length", Some(0.0)),
    ("min_new_tokens", Some(0.0)),
    ("typical_p", Some(1.0)),
    ("epsilon_cutoff", Some(0.0)),
    ("eta_cutoff", Some(0.0)),
    ("penalty_alpha", Some(0.0)),
    ("guidance_scale", Some(1.0)),
    ("dola_layers", None),
    ("stop_strings", None),
    ("token_healing", None),
    ("exponential_decay_length_penalty", None),
];

/// The settings of a model's generation, as far as they are said: what is `None` or empty is not.
///
/// [`of_folder`](Self::of_folder) reads a folder's. Of a model without such a file, in a GGUF file for one,
/// [`of_model`](Self::of_model) has at least the tokens at which a text ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationSettings {
    /// Whether tokens are drawn; without, the likeliest is taken, whatever the other fields say.
    pub do_sample: Option<bool>,
    /// What logits are divided by.
    pub temperature: Option<f64>,
    /// The number of likeliest tokens that are drawn from; a file's 0 is none.
    pub top_k: Option<usize>,
    /// The share of the probability that is drawn from.
    pub top_p: Option<f64>,
    /// The least probability of what is drawn, as a share of the largest.
    pub min_p: Option<f64>,
    /// The penalty on tokens that the text has.
    pub repetition_penalty: Option<f64>,
    /// Most tokens to add.
    pub max_new_tokens: Option<usize>,
    /// The token that opens a text.
    pub bos_token_id: Option<u32>,
    /// The tokens that close a text: Llama 3 has several.
    pub eos_token_id: Vec<u32>,
    /// The token that fills up a batch.
    pub pad_token_id: Option<u32>,
    /// Keys of the file that would change a text in transformers and are not followed here.
    pub unfollowed: Vec<String>,
}

impl GenerationSettings {
    /// Those of the folder `dir`; `None` where it has no `generation_config.json`. Other keys of the file are passed over; those
    /// that would change a text are [`unfollowed`](Self::unfollowed).
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no JSON object, or a value is of another type or senseless: then file and field are named.
    pub fn of_folder(dir: &Path) -> Result<Option<Self>, ModelError> {
        let path = dir.join(GENERATION);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(ModelError::io(&path, "read"))?,
        };
        let keys = serde_json::from_str(without_mark(&text)).map_err(|error| ModelError::Json {
            path: path.clone(),
            message: error.to_string(),
            mend: format!("mend the line, or fetch {GENERATION} again"),
        })?;
        let origin = path.display().to_string();
        let settings = Self::of_keys(&Keys {
            origin: &origin,
            keys,
        })?;
        settings.generate_config(1, 0).validate_as(&origin)?;
        Ok(Some(settings))
    }

    /// The special tokens of a model, and nothing else.
    pub fn of_model(config: &LlamaConfig) -> Self {
        Self {
            bos_token_id: config.bos_token_id,
            eos_token_id: config.eos_token_id.clone(),
            pad_token_id: config.pad_token_id,
            ..Self::default()
        }
    }

    /// The same, with the special tokens of the model where these settings have none.
    #[must_use]
    pub fn or_tokens_of(mut self, config: &LlamaConfig) -> Self {
        self.bos_token_id = self.bos_token_id.or(config.bos_token_id);
        self.pad_token_id = self.pad_token_id.or(config.pad_token_id);
        if self.eos_token_id.is_empty() {
            self.eos_token_id.clone_from(&config.eos_token_id);
        }
        self
    }

    /// How to choose tokens by these settings: greedily where they do not say to draw, at temperature 1 where they say no other, with
    /// no cut or penalty that is not said (transformers itself adds a `top_k` of 50), and with their ends.
    ///
    /// `max_new_tokens` counts where the settings say nothing.
    pub fn generate_config(&self, max_new_tokens: usize, seed: u64) -> GenerateConfig {
        let draws = self.do_sample.unwrap_or(false);
        let count = self.max_new_tokens.unwrap_or(max_new_tokens);
        let temperature = if draws {
            self.temperature.unwrap_or(1.0)
        } else {
            0.0
        };
        let unsaid = GenerateConfig::sampling(count, temperature, seed);
        GenerateConfig {
            top_k: self.top_k,
            top_p: self.top_p.unwrap_or(unsaid.top_p),
            min_p: self.min_p.unwrap_or(unsaid.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(unsaid.repetition_penalty),
            stop_at: self.eos_token_id.clone(),
            ..unsaid
        }
    }

    fn of_keys(keys: &Keys<'_>) -> Result<Self, ModelError> {
        let number = |key: &str| keys.read(key, "a number", Value::as_f64);
        let whole = |key: &str| {
            keys.read(key, "a whole number", |value| {
                usize::try_from(value.as_u64()?).ok()
            })
        };
        let token = |key: &str| {
            let found = keys.read(key, "a token's number", token)?;
            Ok::<_, ModelError>(found.and_then(|Token(id)| id))
        };
        let settings = Self {
            do_sample: keys.read("do_sample", "true or false", Value::as_bool)?,
            temperature: number("temperature")?,
            top_k: whole("top_k")?.filter(|top_k| *top_k > 0),
            top_p: number("top_p")?,
            min_p: number("min_p")?,
            repetition_penalty: number("repetition_penalty")?,
            max_new_tokens: whole("max_new_tokens")?,
            bos_token_id: token("bos_token_id")?,
            eos_token_id: keys
                .read("eos_token_id", "a token's number, or a list of them", tokens)?
                .unwrap_or_default(),
            pad_token_id: token("pad_token_id")?,
            unfollowed: keys.unfollowed(),
        };
        match settings.temperature {
            Some(temperature) if temperature < 0.0 => {
                Err(keys.refuse("temperature", "0 or more", &temperature))
            }
            _ => Ok(settings),
        }
    }
}

/// The keys of a file, and its name for errors.
struct Keys<'a> {
    origin: &'a str,
    keys: Map<String, Value>,
}

impl Keys<'_> {
    /// The value of `key`, which `parse` takes where it is what is `expected`; none where it is absent or `null`.
    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.keys.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match parse(value) {
                None => Err(self.refuse(key, expected, value)),
                parsed => Ok(parsed),
            },
        }
    }

    /// Those of [`UNFOLLOWED`] that are there and say something.
    fn unfollowed(&self) -> Vec<String> {
        let keys = UNFOLLOWED
            .iter()
            .filter(|(key, nothing)| self.says(key, *nothing));
        keys.map(|(key, _)| (*key).to_owned()).collect()
    }

    /// Whether the value of `key` is another than none and `nothing`.
    fn says(&self, key: &str, nothing: Option<f64>) -> bool {
        match self.keys.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Number(number)) => number.as_f64() != nothing,
            Some(Value::Array(values)) => !values.is_empty(),
            Some(_) => true,
        }
    }

    fn refuse(&self, key: &str, expected: &str, found: &dyn std::fmt::Display) -> ModelError {
        let mend = "correct the value, or take the line out";
        ModelError::config(self.origin, key, expected, found, mend)
    }
}

/// A token, or none where the file says so by a negative number.
struct Token(Option<u32>);

fn token(value: &Value) -> Option<Token> {
    let id = value.as_i64()?;
    if id < 0 {
        return Some(Token(None));
    }
    Some(Token(Some(u32::try_from(id).ok()?)))
}

/// One token or a list of them.
fn tokens(value: &Value) -> Option<Vec<u32>> {
    let found: Option<Vec<Token>> = match value {
        Value::Array(values) => values.iter().map(token).collect(),
        value => token(value).map(|token| vec![token]),
    };
    Some(found?.into_iter().filter_map(|Token(id)| id).collect())
}
