//! `adapter_config.json`: what PEFT needs to know of LoRA adapters.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ModelError;

/// Keys that say how adapters were made, stored or found: whatever they say, the tensors are what they are.
const TOLD: [&str; 12] = [
    "auto_mapping",
    "exclude_modules",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "eva_config",
];

/// Beginnings that leave the base as it is; others (`pissa`, `olora`, `corda`, `loftq`) take a part of it into the factors.
const HARMLESS_BEGINNINGS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// The fields of PEFT's `LoraConfig` that this crate writes, and those it must understand when it reads. PEFT adds some in
/// every release: another one is refused unless it is empty, false or null.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "the file has them")]
pub(super) struct AdapterConfig {
    pub peft_type: String,
    #[serde(default)]
    pub task_type: Option<String>,
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank.
    pub r: usize,
    /// The product of the factors is multiplied with `lora_alpha / r`.
    pub lora_alpha: serde_json::Number,
    /// Module names or paths; only written, since the tensors' keys say the same.
    #[serde(default)]
    pub target_modules: Value,
    #[serde(default)]
    pub lora_dropout: f64,
    #[serde(default = "none")]
    pub bias: String,
    #[serde(default)]
    pub fan_in_fan_out: bool,
    #[serde(default)]
    pub inference_mode: bool,
    #[serde(default)]
    pub init_lora_weights: Value,
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, Value>,
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, Value>,
    /// Whether the divisor is `sqrt(r)` instead of `r`.
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default)]
    pub use_dora: bool,
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

fn none() -> String {
    "none".to_owned()
}

impl AdapterConfig {
    /// The configuration of plain LoRA adapters.
    pub fn lora(rank: usize, alpha: f64, base_model: Option<&str>, targets: Vec<String>) -> Self {
        // `alpha` comes from `alpha / rank`: the nearest whole number is what was meant.
        let whole = alpha.round();
        let lora_alpha = if (alpha - whole).abs() < 1e-9 * alpha.abs() {
            (whole as i64).into()
        } else {
            serde_json::Number::from_f64(alpha).unwrap_or_else(|| 0.into())
        };
        Self {
            peft_type: "LORA".to_owned(),
            task_type: Some("CAUSAL_LM".to_owned()),
            base_model_name_or_path: base_model.map(str::to_owned),
            r: rank,
            lora_alpha,
            target_modules: targets.into(),
            lora_dropout: 0.0,
            bias: none(),
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: true.into(),
            modules_to_save: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            use_rslora: false,
            use_dora: false,
            rest: BTreeMap::new(),
        }
    }

    /// Reads the file's text, and refuses what is more than plain LoRA.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let config: Self = serde_json::from_str(text).map_err(|error| ModelError::Json {
            path: path.to_path_buf(),
            message: error.to_string(),
            mend: "name a folder that PEFT's `save_pretrained` has written".to_owned(),
        })?;
        config.check(&path.display().to_string())?;
        Ok(config)
    }

    /// What the product of the factors is multiplied with.
    pub fn scale(&self) -> f64 {
        let alpha = self.lora_alpha.as_f64().unwrap_or(f64::NAN);
        let rank = self.r as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    fn check(&self, origin: &str) -> Result<(), ModelError> {
        let patterns = self.rank_pattern.len() + self.alpha_pattern.len();
        let saved = self.modules_to_save.as_ref().map_or(0, Vec::len);
        let checks = [
            (
                "peft_type",
                self.peft_type == "LORA",
                "LORA",
                self.peft_type.clone(),
            ),
            ("r", self.r > 0, "at least 1", self.r.to_string()),
            (
                "lora_alpha",
                self.scale().is_finite(),
                "a finite number",
                self.lora_alpha.to_string(),
            ),
            ("bias", self.bias == "none", "none", self.bias.clone()),
            ("fan_in_fan_out", !self.fan_in_fan_out, "false", "true".to_owned()),
            ("use_dora", !self.use_dora, "false", "true".to_owned()),
            (
                "rank_pattern and alpha_pattern",
                patterns == 0,
                "empty",
                format!("{patterns} entries"),
            ),
            ("modules_to_save", saved == 0, "empty", format!("{saved} entries")),
        ];
        for (field, good, expected, found) in checks {
            if !good {
                return Err(ModelError::config(origin, field, expected, found, MERGE));
            }
        }
        self.check_rest(origin)
    }

    /// Refuses what may change the arithmetic.
    fn check_rest(&self, origin: &str) -> Result<(), ModelError> {
        let begins_harmlessly = match &self.init_lora_weights {
            Value::Null | Value::Bool(_) => true,
            Value::String(name) => HARMLESS_BEGINNINGS.contains(&name.as_str()),
            _ => false,
        };
        if !begins_harmlessly {
            let expected = format!("true, false, {}", HARMLESS_BEGINNINGS.join(", "));
            let found = &self.init_lora_weights;
            return Err(ModelError::config(
                origin,
                "init_lora_weights",
                expected,
                found,
                MERGE,
            ));
        }
        let says_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(values) => values.is_empty(),
            Value::Object(values) => values.is_empty(),
            _ => false,
        };
        let unknown =
            |(key, value): &(&String, &Value)| !TOLD.contains(&key.as_str()) && !says_nothing(value);
        match self.rest.iter().find(unknown) {
            None => Ok(()),
            Some((key, value)) => {
                let expected = "nothing, since this crate does not know what it changes";
                Err(ModelError::config(origin, key, expected, value, MERGE))
            }
        }
    }
}

/// What to do with an adapter that is more than plain LoRA.
const MERGE: &str = "merge the adapter with PEFT's `merge_and_unload` and load the merged model";
