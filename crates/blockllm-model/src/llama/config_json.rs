//! `config.json` of the Llama family as transformers 4 and 5 write it, both ways.
//!
//! Version 4 keeps `rope_theta` beside `rope_scaling`, version 5 puts both into `rope_parameters`. We read either
//! and write both, so that either version reads what we write.

use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::config::LlamaConfig;
use super::family::{LlamaFamily, known};
use super::layer_types::LayerType;
use super::rope_json::{Lengths, RopeJson};
use super::rope_scaling::RopeScaling;
use crate::{ModelError, config_file};

/// What transformers calls the head of a language model.
const CAUSAL_LM: &str = "ForCausalLM";

/// Who takes one of these for another model.
const OTHERS: &str = "use a model of one of these";

/// The keys of `config.json` that concern a Llama model; all others are passed over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LlamaConfigJson {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Option<String>,
    max_position_embeddings: Option<usize>,
    max_sequence_length: Option<usize>,
    /// Beside the scaling where Phi-3 and transformers 4 have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    original_max_position_embeddings: Option<usize>,
    initializer_range: Option<f64>,
    rms_norm_eps: Option<f64>,
    tie_word_embeddings: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeJson>,
    rope_parameters: Option<RopeJson>,
    #[serde(skip_serializing)]
    partial_rotary_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention_bias: Option<bool>,
    #[serde(skip_serializing)]
    attention_dropout: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mlp_bias: Option<bool>,
    #[serde(skip_serializing_if = "Window::is_unsaid")]
    sliding_window: Window,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_sliding_window: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_window_layers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer_types: Option<Vec<String>>,
    bos_token_id: Option<i64>,
    eos_token_id: Option<OneOrMany>,
    pad_token_id: Option<i64>,
    #[serde(skip_deserializing)]
    torch_dtype: Option<String>,
}

/// A token, or several of them: Llama 3 has more than one end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(i64),
    Many(Vec<i64>),
}

/// `sliding_window`, of which a file that does not name it says something else than one that says `null`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(from = "Option<usize>", into = "Option<usize>")]
enum Window {
    #[default]
    Unsaid,
    Said(Option<usize>),
}

impl Window {
    fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }
}

impl From<Option<usize>> for Window {
    fn from(window: Option<usize>) -> Self {
        Self::Said(window)
    }
}

impl From<Window> for Option<usize> {
    fn from(window: Window) -> Self {
        match window {
            Window::Unsaid => None,
            Window::Said(window) => window,
        }
    }
}

impl LlamaConfig {
    /// Reads and validates a Hugging Face `config.json`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no JSON, lacks a size, or describes a model that is of another
    /// [family](LlamaFamily).
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        Self::from_file_of(path, &[CAUSAL_LM])
    }

    /// [`from_file`](Self::from_file) for one of the heads that `architectures` names behind the family's name.
    pub(crate) fn from_file_of(path: &Path, heads: &[&str]) -> Result<Self, ModelError> {
        let json: LlamaConfigJson = config_file::read(path)?;
        json.into_config(&path.display().to_string(), heads)
    }

    /// [`from_file`](Self::from_file) for keys that stand, under other names, in the file `origin`.
    pub(crate) fn from_value(json: Value, origin: &str) -> Result<Self, ModelError> {
        let json: LlamaConfigJson = config_file::of_value(json, origin)?;
        json.into_config(origin, &[CAUSAL_LM])
    }

    /// The text of a `config.json` that transformers 4 and 5 both read.
    pub fn to_json(&self) -> String {
        let json = LlamaConfigJson::from(self.clone());
        serde_json::to_string_pretty(&json)
            .expect("a struct of numbers, strings and lists is always valid JSON")
    }
}

impl Serialize for LlamaConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        LlamaConfigJson::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LlamaConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = LlamaConfigJson::deserialize(deserializer)?;
        json.try_into().map_err(D::Error::custom)
    }
}

impl TryFrom<LlamaConfigJson> for LlamaConfig {
    type Error = ModelError;

    fn try_from(json: LlamaConfigJson) -> Result<Self, ModelError> {
        json.into_config("model config", &[CAUSAL_LM])
    }
}

impl LlamaConfigJson {
    /// Parses the raw keys into a valid configuration.
    fn into_config(self, origin: &str, heads: &[&str]) -> Result<LlamaConfig, ModelError> {
        let family = self.family(origin, heads)?;
        self.refuse_other_arithmetic(origin)?;
        let need = |field: &str, value: Option<usize>| {
            let mend = format!("add `{field}` to the file");
            value.ok_or_else(|| ModelError::config(origin, field, "a number", "missing", mend))
        };
        let hidden_size = need("hidden_size", self.hidden_size)?;
        let heads = need("num_attention_heads", self.num_attention_heads)?;
        if self.head_dim.is_none() && (heads == 0 || !hidden_size.is_multiple_of(heads)) {
            let mend = "choose a width that the heads divide, or give `head_dim`";
            let expected = format!("a multiple of {heads} heads");
            return Err(ModelError::config(
                origin,
                "hidden_size",
                expected,
                hidden_size,
                mend,
            ));
        }
        let positions = self.max_position_embeddings.or(self.max_sequence_length);
        // What the classes of transformers take for a key that is not there.
        let (key_value_heads, most) = match family {
            LlamaFamily::Llama => (heads, 2048),
            LlamaFamily::Mistral => (8, 131_072),
            LlamaFamily::Qwen2 => (32, 32_768),
        };
        let max_position_embeddings = positions.unwrap_or(most);
        let is_llama = family == LlamaFamily::Llama;
        let config = LlamaConfig {
            family,
            vocab_size: need("vocab_size", self.vocab_size)?,
            hidden_size,
            intermediate_size: need("intermediate_size", self.intermediate_size)?,
            num_hidden_layers: need("num_hidden_layers", self.num_hidden_layers)?,
            num_attention_heads: heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(key_value_heads),
            head_dim: self.head_dim.unwrap_or_else(|| hidden_size / heads),
            max_position_embeddings,
            sliding_window: self.window(family),
            max_window_layers: self.max_window_layers.filter(|_| family == LlamaFamily::Qwen2),
            layer_types: self.layer_types(origin, family)?,
            attention_bias: (is_llama && self.attention_bias == Some(true)) || family == LlamaFamily::Qwen2,
            mlp_bias: is_llama && self.mlp_bias == Some(true),
            rms_norm_eps: self.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: self.rope_theta(),
            rope_scaling: self.rope_scaling(origin, max_position_embeddings)?,
            tie_word_embeddings: self.tie_word_embeddings.unwrap_or(false),
            initializer_range: self.initializer_range.unwrap_or(0.02),
            bos_token_id: self.bos_token_id.and_then(token),
            eos_token_id: self.eos_token_id.map(OneOrMany::into_tokens).unwrap_or_default(),
            pad_token_id: self.pad_token_id.and_then(token),
        };
        config.validate_as(origin)?;
        Ok(config)
    }

    /// Which of the known architectures this is; it must have one of these heads.
    fn family(&self, origin: &str, heads: &[&str]) -> Result<LlamaFamily, ModelError> {
        let refuse = |field: &str, expected: String, found: &str| {
            Err(ModelError::config(origin, field, expected, found, OTHERS))
        };
        let family = match self.model_type.as_deref() {
            None => LlamaFamily::Llama,
            Some(kind) => match LlamaFamily::of(kind) {
                Some(family) => family,
                None => return refuse("model_type", format!("one of {}", known()), kind),
            },
        };
        let classes: Vec<String> = heads.iter().map(|head| family.class(head)).collect();
        // GaLore's own files spell it `LLaMAForCausalLM`.
        let is_known = |name: &String| classes.iter().any(|class| name.eq_ignore_ascii_case(class));
        match &self.architectures {
            Some(names) if !names.iter().any(is_known) => {
                refuse("architectures", classes.join(" or "), &names.join(", "))
            }
            _ => Ok(family),
        }
    }

    /// Refuses what this implementation would silently compute otherwise than transformers.
    fn refuse_other_arithmetic(&self, origin: &str) -> Result<(), ModelError> {
        let refuse = |field: &str, expected: &str, found: &dyn ToString, mend: &str| {
            let found = found.to_string();
            Err(ModelError::config(origin, field, expected, found, mend))
        };
        if let Some(act) = self.hidden_act.as_deref().filter(|act| *act != "silu") {
            let mend = "use a model with SwiGLU feed-forward layers";
            return refuse("hidden_act", "silu", &act, mend);
        }
        if let Some(dropout) = self.attention_dropout.filter(|dropout| *dropout != 0.0) {
            let mend = "attention is never dropped here: set it to 0 to train without";
            return refuse("attention_dropout", "0", &dropout, mend);
        }
        let part = |rope: &Option<RopeJson>| rope.as_ref().and_then(|rope| rope.partial_rotary_factor);
        let part = part(&self.rope_parameters)
            .or(part(&self.rope_scaling))
            .or(self.partial_rotary_factor);
        if let Some(part) = part.filter(|part| !(1.0..=1.0).contains(part)) {
            let mend = "use a model whose heads are rotated whole";
            return refuse("partial_rotary_factor", "1", &part, mend);
        }
        Ok(())
    }

    /// The window of a model of that family: a Mistral has one unless its file says otherwise, a Qwen2 where its file says so.
    fn window(&self, family: LlamaFamily) -> Option<usize> {
        let is_used = match family {
            LlamaFamily::Llama => false,
            LlamaFamily::Mistral => true,
            LlamaFamily::Qwen2 => self.use_sliding_window == Some(true),
        };
        let window = match self.sliding_window {
            Window::Unsaid => Some(4096),
            Window::Said(window) => window,
        };
        window.filter(|_| is_used)
    }

    /// What layers see in a Qwen2 whose file lists it; in others transformers does not look at the list.
    fn layer_types(&self, origin: &str, family: LlamaFamily) -> Result<Option<Vec<LayerType>>, ModelError> {
        let Some(names) = self.layer_types.as_ref().filter(|_| family == LlamaFamily::Qwen2) else {
            return Ok(None);
        };
        let kind = |(index, name): (usize, &String)| {
            LayerType::of(name).ok_or_else(|| {
                let expected = LayerType::ALL.map(LayerType::name).join(" or ");
                ModelError::config(origin, &format!("layer_types[{index}]"), expected, name, OTHERS)
            })
        };
        let types: Result<Vec<LayerType>, ModelError> = names.iter().enumerate().map(kind).collect();
        types.map(Some)
    }

    /// The rotary base, from where either version keeps it.
    fn rope_theta(&self) -> f64 {
        let nested = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        nested.or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// The rotary scaling, from where either version keeps it.
    fn rope_scaling(&self, origin: &str, positions: usize) -> Result<RopeScaling, ModelError> {
        let found = self
            .rope_parameters
            .as_ref()
            .map(|rope| ("rope_parameters", rope));
        match found.or(self.rope_scaling.as_ref().map(|rope| ("rope_scaling", rope))) {
            None => Ok(RopeScaling::Default),
            Some((field, rope)) => {
                let original = self.original_max_position_embeddings;
                rope.scaling(origin, field, Lengths { positions, original })
            }
        }
    }
}

impl From<LlamaConfig> for LlamaConfigJson {
    fn from(config: LlamaConfig) -> Self {
        let scaled = config.rope_scaling != RopeScaling::Default;
        let is_llama = config.family == LlamaFamily::Llama;
        let mut ends: Vec<i64> = config.eos_token_id.iter().copied().map(i64::from).collect();
        Self {
            architectures: Some(vec![config.family.class(CAUSAL_LM)]),
            model_type: Some(config.family.model_type().to_owned()),
            vocab_size: Some(config.vocab_size),
            hidden_size: Some(config.hidden_size),
            intermediate_size: Some(config.intermediate_size),
            num_hidden_layers: Some(config.num_hidden_layers),
            num_attention_heads: Some(config.num_attention_heads),
            num_key_value_heads: Some(config.num_key_value_heads),
            head_dim: Some(config.head_dim),
            hidden_act: Some("silu".to_owned()),
            max_position_embeddings: Some(config.max_position_embeddings),
            max_sequence_length: None,
            original_max_position_embeddings: match &config.rope_scaling {
                RopeScaling::LongRope(long) => Some(long.original_max_position_embeddings),
                _ => None,
            },
            initializer_range: Some(config.initializer_range),
            rms_norm_eps: Some(config.rms_norm_eps),
            tie_word_embeddings: Some(config.tie_word_embeddings),
            rope_theta: Some(config.rope_theta),
            rope_scaling: scaled.then(|| RopeJson::new(&config.rope_scaling, None)),
            rope_parameters: Some(RopeJson::new(&config.rope_scaling, Some(config.rope_theta))),
            partial_rotary_factor: None,
            attention_bias: is_llama.then_some(config.attention_bias),
            attention_dropout: None,
            mlp_bias: is_llama.then_some(config.mlp_bias),
            // A Mistral without a window has to say so.
            sliding_window: if config.family == LlamaFamily::Mistral || config.sliding_window.is_some() {
                Window::Said(config.sliding_window)
            } else {
                Window::Unsaid
            },
            use_sliding_window: (config.family == LlamaFamily::Qwen2)
                .then_some(config.sliding_window.is_some()),
            max_window_layers: config.max_window_layers,
            layer_types: config
                .layer_types
                .map(|types| types.into_iter().map(|kind| kind.name().to_owned()).collect()),
            bos_token_id: config.bos_token_id.map(i64::from),
            eos_token_id: match ends.len() {
                0 => None,
                1 => ends.pop().map(OneOrMany::One),
                _ => Some(OneOrMany::Many(ends)),
            },
            pad_token_id: config.pad_token_id.map(i64::from),
            torch_dtype: Some("float32".to_owned()),
        }
    }
}

impl OneOrMany {
    /// The tokens, without the negative numbers by which some files say "none".
    fn into_tokens(self) -> Vec<u32> {
        match self {
            Self::One(id) => token(id).into_iter().collect(),
            Self::Many(ids) => ids.into_iter().filter_map(token).collect(),
        }
    }
}

/// A token, or nothing where the file says "none" by a negative number.
fn token(id: i64) -> Option<u32> {
    u32::try_from(id).ok()
}
