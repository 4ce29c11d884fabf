//! `adapter_config.json`: what PEFT needs to know of LoRA adapters.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ModelError;

/// The fields of PEFT's `LoraConfig` that this crate writes, and those it must understand when it reads. PEFT adds some in every
/// release, and what is new there is off unless it is asked for: a key that is not known may only be there switched off.
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
    /// Module names or paths.
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
    /// All other keys of a file that was read.
    #[serde(flatten, skip_serializing)]
    pub others: BTreeMap<String, Value>,
}

/// Keys of which no value changes what loaded factors compute. `eva_config` is of an initialization that leaves the base alone, and
/// `layers_pattern` and `qalora_group_size` say how to read keys that are looked at themselves.
const WITHOUT_EFFECT: [&str; 8] = [
    "auto_mapping",
    "eva_config",
    "layers_pattern",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Initializations that leave the base as it is: factors made with any other belong to a base that they have changed.
const INITIALIZATIONS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// The keys that pick modules, which the tensors' names are held against.
const PICKING: [&str; 2] = ["exclude_modules", "layers_to_transform"];

fn none() -> String {
    "none".to_owned()
}

impl AdapterConfig {
    /// The configuration of plain LoRA adapters, and of heads that are kept whole.
    pub fn lora(
        rank: usize,
        alpha: f64,
        base_model: Option<&str>,
        targets: Vec<String>,
        task: &str,
        heads: &[&str],
    ) -> Self {
        // `alpha` comes from `alpha / rank`: the nearest whole number is what was meant.
        let whole = alpha.round();
        let lora_alpha = if (alpha - whole).abs() < 1e-9 * alpha.abs() {
            (whole as i64).into()
        } else {
            serde_json::Number::from_f64(alpha).unwrap_or_else(|| 0.into())
        };
        Self {
            peft_type: "LORA".to_owned(),
            task_type: Some(task.to_owned()),
            base_model_name_or_path: base_model.map(str::to_owned),
            r: rank,
            lora_alpha,
            target_modules: targets.into(),
            lora_dropout: 0.0,
            bias: none(),
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: true.into(),
            modules_to_save: (!heads.is_empty())
                .then(|| heads.iter().map(|head| (*head).to_owned()).collect()),
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            use_rslora: false,
            use_dora: false,
            others: BTreeMap::new(),
        }
    }

    /// Reads the file's text, and refuses what is more than plain LoRA and these heads.
    pub fn parse(text: &str, path: &Path, heads: &[&str]) -> Result<Self, ModelError> {
        let config: Self = serde_json::from_str(text).map_err(|error| ModelError::Json {
            path: path.to_path_buf(),
            message: error.to_string(),
            mend: "name a folder that PEFT's `save_pretrained` has written".to_owned(),
        })?;
        config.check(&path.display().to_string(), heads)?;
        Ok(config)
    }

    /// What the product of the factors is multiplied with.
    pub fn scale(&self) -> f64 {
        let alpha = self.lora_alpha.as_f64().unwrap_or(f64::NAN);
        let rank = self.r as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    fn check(&self, origin: &str, heads: &[&str]) -> Result<(), ModelError> {
        let patterns = self.rank_pattern.len() + self.alpha_pattern.len();
        let saved = self.modules_to_save.iter().flatten();
        let others: Vec<&str> = saved
            .map(String::as_str)
            .filter(|name| !heads.contains(name))
            .collect();
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
            (
                "modules_to_save",
                others.is_empty(),
                "only heads of classifiers",
                others.join(", "),
            ),
        ];
        for (field, good, expected, found) in checks {
            if !good {
                return Err(ModelError::config(origin, field, expected, found, MERGE));
            }
        }
        let init = &self.init_lora_weights;
        if !(init.is_null()
            || init.is_boolean()
            || init.as_str().is_some_and(|name| INITIALIZATIONS.contains(&name)))
        {
            let expected = format!("true, false, {}", INITIALIZATIONS.join(", "));
            let mend = "it has changed the base that these factors belong to: convert the adapter with PEFT \
                        (`save_pretrained(..., path_initial_model_for_weight_conversion=...)`), or merge it";
            return Err(ModelError::config(
                origin,
                "init_lora_weights",
                expected,
                init,
                mend,
            ));
        }
        let passed_over = |key: &str| WITHOUT_EFFECT.contains(&key) || PICKING.contains(&key);
        match self
            .others
            .iter()
            .find(|(key, value)| !passed_over(key) && !is_off(value))
        {
            Some((key, found)) => Err(ModelError::config(
                origin,
                key,
                "off, since what it would change is not known here",
                found,
                MERGE,
            )),
            None => Ok(()),
        }
    }

    /// Refuses factors for a layer that PEFT would not adapt by this configuration: it would leave them out.
    pub fn check_picks(&self, layer: &str, origin: &str) -> Result<(), ModelError> {
        let refuse = |field: &str, found: &Value| {
            let expected = format!("one that picks {layer}, which the tensors are for");
            Err(ModelError::config(origin, field, expected, found, MERGE))
        };
        // A single text is a pattern, which only PEFT can read.
        if let Some(false) = names(&self.target_modules, layer) {
            return refuse("target_modules", &self.target_modules);
        }
        let other = |key: &str| self.others.get(key).unwrap_or(&Value::Null);
        let excluded = other("exclude_modules");
        if excluded.is_string() || names(excluded, layer) == Some(true) {
            return refuse("exclude_modules", excluded);
        }
        let layers = other("layers_to_transform");
        let number = layer.split('.').find_map(|part| part.parse::<u64>().ok());
        let picked = match layers {
            Value::Null => true,
            Value::Array(all) => all.is_empty() || all.iter().any(|one| one.as_u64() == number),
            one => one.is_u64() && one.as_u64() == number,
        };
        if picked {
            Ok(())
        } else {
            refuse("layers_to_transform", layers)
        }
    }
}

const MERGE: &str = "merge the adapter with PEFT's `merge_and_unload` and load the merged model";

/// Whether a list of names or paths holds this layer; nothing where it is no list.
fn names(list: &Value, layer: &str) -> Option<bool> {
    let is_this =
        |name: &str| layer == name || layer.strip_suffix(name).is_some_and(|path| path.ends_with('.'));
    let list = list.as_array()?;
    Some(list.iter().filter_map(Value::as_str).any(is_this))
}

/// Whether a value says that nothing is wanted.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}
