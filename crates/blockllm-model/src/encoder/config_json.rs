//! `config.json` of a BERT or RoBERTa as transformers 4 and 5 write it, both ways.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::config::{EncoderConfig, EncoderKind};
use crate::{Labels, ModelError, config_file};

/// The keys of `config.json` that concern an encoder; all others are passed over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EncoderConfigJson {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    hidden_act: Option<String>,
    max_position_embeddings: Option<usize>,
    position_embedding_type: Option<String>,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    pad_token_id: Option<usize>,
    initializer_range: Option<f64>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    classifier_dropout: Option<f64>,
    id2label: Option<BTreeMap<String, String>>,
    is_decoder: Option<bool>,
    #[serde(skip_serializing)]
    num_labels: Option<usize>,
}

impl EncoderConfig {
    /// Reads and validates a Hugging Face `config.json`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no JSON, lacks a size, or describes another model than BERT or RoBERTa.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        let json: EncoderConfigJson = config_file::read(path)?;
        json.into_config(&path.display().to_string())
    }

    /// Reads and validates the `config.json` of the folder `dir`.
    ///
    /// # Errors
    ///
    /// When the file is missing, no JSON, lacks a size, or describes another model than BERT or RoBERTa.
    pub fn from_folder(dir: &Path) -> Result<Self, ModelError> {
        Self::from_file(&config_file::in_folder(dir)?)
    }

    /// The text of a `config.json` that transformers 4 and 5 both read.
    pub fn to_json(&self) -> String {
        let json = EncoderConfigJson::from(self.clone());
        let text = serde_json::to_string_pretty(&json)
            .expect("a struct of numbers, strings and lists is always valid JSON");
        config_file::with_keys(&text, self.labels.json_keys())
    }
}

impl Serialize for EncoderConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        EncoderConfigJson::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EncoderConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = EncoderConfigJson::deserialize(deserializer)?;
        json.try_into().map_err(D::Error::custom)
    }
}

impl TryFrom<EncoderConfigJson> for EncoderConfig {
    type Error = ModelError;

    fn try_from(json: EncoderConfigJson) -> Result<Self, ModelError> {
        json.into_config("encoder config")
    }
}

impl EncoderConfigJson {
    /// Parses the raw keys into a valid configuration.
    fn into_config(self, origin: &str) -> Result<EncoderConfig, ModelError> {
        let kind = self.kind(origin)?;
        self.refuse_other_arithmetic(origin)?;
        let need = |field: &str, value: Option<usize>| {
            let mend = format!("add `{field}` to the file");
            value.ok_or_else(|| ModelError::config(origin, field, "a number", "missing", mend))
        };
        let config = EncoderConfig {
            kind,
            vocab_size: need("vocab_size", self.vocab_size)?,
            hidden_size: need("hidden_size", self.hidden_size)?,
            num_hidden_layers: need("num_hidden_layers", self.num_hidden_layers)?,
            num_attention_heads: need("num_attention_heads", self.num_attention_heads)?,
            intermediate_size: need("intermediate_size", self.intermediate_size)?,
            // What follows may be missing where it is what transformers assumes.
            max_position_embeddings: self.max_position_embeddings.unwrap_or(512),
            type_vocab_size: self.type_vocab_size.unwrap_or(2),
            layer_norm_eps: self.layer_norm_eps.unwrap_or(1e-12),
            pad_token_id: self
                .pad_token_id
                .unwrap_or(usize::from(kind == EncoderKind::Roberta)),
            initializer_range: self.initializer_range.unwrap_or(0.02),
            hidden_dropout_prob: self.hidden_dropout_prob.unwrap_or(0.1),
            attention_probs_dropout_prob: self.attention_probs_dropout_prob.unwrap_or(0.1),
            classifier_dropout: self.classifier_dropout,
            labels: Labels::from_json(self.id2label, self.num_labels),
        };
        config.validate_as(origin)?;
        Ok(config)
    }

    /// BERT or RoBERTa, by `model_type`, or in files older than that key by the class of the model.
    fn kind(&self, origin: &str) -> Result<EncoderKind, ModelError> {
        let classes = self.architectures.as_deref().unwrap_or_default();
        let made_by = |prefix: &str| classes.iter().any(|class| class.starts_with(prefix));
        match self.model_type.as_deref() {
            Some("bert") => Ok(EncoderKind::Bert),
            Some("roberta") => Ok(EncoderKind::Roberta),
            None if made_by("Bert") => Ok(EncoderKind::Bert),
            None if made_by("Roberta") => Ok(EncoderKind::Roberta),
            found => {
                // Whoever names the folder of a BERT that does not say so is not helped by being told to name a BERT's.
                let mend = match found {
                    None => {
                        "add `\"model_type\": \"bert\"` (or \"roberta\") to the file, if that is what it is"
                    }
                    Some(_) => "name the folder of a BERT or RoBERTa (a Llama has a loader of its own)",
                };
                let found = found.unwrap_or("missing");
                Err(ModelError::config(
                    origin,
                    "model_type",
                    "bert or roberta",
                    found,
                    mend,
                ))
            }
        }
    }

    /// Refuses what this implementation would silently compute otherwise than transformers.
    fn refuse_other_arithmetic(&self, origin: &str) -> Result<(), ModelError> {
        let fields = [
            (
                "hidden_act",
                &self.hidden_act,
                "gelu",
                "use a model with the exact GELU",
            ),
            (
                "position_embedding_type",
                &self.position_embedding_type,
                "absolute",
                "use a model with learned absolute positions",
            ),
        ];
        for (field, value, expected, mend) in fields {
            if let Some(found) = value.as_deref().filter(|found| *found != expected) {
                return Err(ModelError::config(origin, field, expected, found, mend));
            }
        }
        if self.is_decoder == Some(true) {
            let mend = "use a model that sees both sides of every token";
            return Err(ModelError::config(origin, "is_decoder", "false", true, mend));
        }
        Ok(())
    }
}

impl From<EncoderConfig> for EncoderConfigJson {
    fn from(config: EncoderConfig) -> Self {
        let class = match config.kind {
            EncoderKind::Bert => "BertForSequenceClassification",
            EncoderKind::Roberta => "RobertaForSequenceClassification",
        };
        let names = config.labels.names().iter().cloned().enumerate();
        Self {
            architectures: Some(vec![class.to_owned()]),
            model_type: Some(config.kind.name().to_owned()),
            vocab_size: Some(config.vocab_size),
            hidden_size: Some(config.hidden_size),
            num_hidden_layers: Some(config.num_hidden_layers),
            num_attention_heads: Some(config.num_attention_heads),
            intermediate_size: Some(config.intermediate_size),
            hidden_act: Some("gelu".to_owned()),
            max_position_embeddings: Some(config.max_position_embeddings),
            position_embedding_type: Some("absolute".to_owned()),
            type_vocab_size: Some(config.type_vocab_size),
            layer_norm_eps: Some(config.layer_norm_eps),
            pad_token_id: Some(config.pad_token_id),
            initializer_range: Some(config.initializer_range),
            hidden_dropout_prob: Some(config.hidden_dropout_prob),
            attention_probs_dropout_prob: Some(config.attention_probs_dropout_prob),
            classifier_dropout: config.classifier_dropout,
            id2label: Some(names.map(|(id, name)| (id.to_string(), name)).collect()),
            is_decoder: Some(false),
            num_labels: None,
        }
    }
}
