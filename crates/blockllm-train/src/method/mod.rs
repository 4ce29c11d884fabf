//! Training methods: blocks of parameters by a policy, LoRA adapters, or `GaLore`; dense `AdamW` is every block.
mod blocks;
mod fine_tuning;
mod parse;
mod settings;

pub use blocks::BlockMethod;
pub use fine_tuning::FineTuning;
pub use settings::SETTINGS_HELP;

use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_optim::{
    GaLoreAdam, GaLoreConfig, GaLoreOptimizer, LoraConfig, SvdMethod, parameters, set_trainable,
};
use blockllm_policy::{PolicyConfig, Role, Roles};
use burn::module::Module;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is trained, and by which rule it is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// As it was asked for; names the run's folder and its row in the tables.
    pub label: String,
    /// The rule.
    pub algorithm: Algorithm,
    /// The settings that its name brings, in their order; the algorithm holds them already.
    pub settings: Vec<(String, String)>,
    /// Its own peak learning rate; the run's when absent.
    pub learning_rate: Option<f64>,
}

/// The rule by which a method trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Blocks of parameters at a time.
    Blocks(BlockMethod),
    /// Low-rank adapters.
    Lora(LoraMethod),
    /// Low-rank gradients.
    #[serde(rename = "galore")]
    GaLore(GaLoreMethod),
}

/// LoRA on the linear layers of attention and MLP, trained by `AdamW`; all that is not adapted (embeddings, norms,
/// head) is trained too, as in `GaLore`'s table, since it would stay random in pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraMethod {
    /// Inner dimension of the factors.
    pub rank: usize,
    /// The product of the factors is multiplied with `alpha / rank`.
    pub alpha: f64,
    /// Whether what is not adapted is trained.
    pub train_rest: bool,
    /// Path patterns of what is trained in any case, such as a fresh head.
    pub always: Vec<String>,
    /// Path patterns of the linear layers that are adapted.
    pub targets: Vec<String>,
}

impl LoraMethod {
    /// Rank `rank`, `alpha` 32 as in `GaLore`'s runs, the rest trained.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            alpha: 32.0,
            train_rest: true,
            always: Vec::new(),
            targets: decoder_matrices(),
        }
    }
}

/// `GaLore` on the matrices of attention and MLP, `AdamW` on the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaLoreMethod {
    /// Rank of the projected gradients.
    pub rank: usize,
    /// Steps between new projections.
    pub update_proj_gap: u64,
    /// Factor of the projected updates.
    pub scale: f64,
    /// How the projections are found.
    pub svd: SvdMethod,
    /// Path patterns of the matrices whose gradients are projected.
    pub targets: Vec<String>,
}

impl GaLoreMethod {
    /// `GaLore`'s pretraining settings: scale 0.25, a new projection every 200 steps, exact SVD.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            update_proj_gap: 200,
            scale: 0.25,
            svd: SvdMethod::Exact,
            targets: decoder_matrices(),
        }
    }
}

/// Attention and MLP of a Llama.
fn decoder_matrices() -> Vec<String> {
    ["self_attn", "mlp"].map(String::from).to_vec()
}

impl Method {
    /// Dense `AdamW`: every block, every entry.
    pub fn adamw() -> Self {
        Self {
            label: "adamw".into(),
            algorithm: Algorithm::Blocks(BlockMethod::new(PolicyConfig::All, 0.0)),
            settings: Vec::new(),
            learning_rate: None,
        }
    }

    /// The same method with another patience, interval between selections, or gap between projections.
    #[must_use]
    pub fn with_patience(mut self, patience: usize) -> Self {
        self.algorithm = match self.algorithm {
            Algorithm::Blocks(blocks) => Algorithm::Blocks(blocks.with_patience(patience)),
            Algorithm::GaLore(galore) => Algorithm::GaLore(GaLoreMethod {
                update_proj_gap: patience as u64,
                ..galore
            }),
            lora @ Algorithm::Lora(_) => lora,
        };
        self
    }

    /// A name for the run's folder: the label with only letters, digits, `.`, `-` and `_`.
    pub fn folder_name(&self, seed: u64) -> String {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '-'
            }
        };
        format!("{}-{seed}", self.label.chars().map(safe).collect::<String>())
    }

    /// The module as this method trains it: with adapters for LoRA, else as it is.
    ///
    /// # Errors
    /// When a setting does not fit the module.
    pub fn adapt<M: Module>(&self, module: M, config: &TrainConfig) -> Result<M, TrainError> {
        let Algorithm::Lora(lora) = &self.algorithm else {
            return Ok(module);
        };
        let settings = LoraConfig::new(lora.rank)
            .with_alpha(lora.alpha)
            .with_targets(lora.targets.clone())
            .with_seed(config.seed);
        let module = settings.apply(module)?;
        let parameters = parameters(&module);
        let paths: BTreeSet<_> = parameters
            .iter()
            .map(|parameter| parameter.info.path.clone())
            .collect();
        let is_base = |path: &str| paths.contains(&format!("{path}.lora.a"));
        let roles = Roles {
            always: lora.always.clone(),
            never: Vec::new(),
        };
        let is_trained = |path: &str| {
            let is_factor = path.ends_with(".lora.a") || path.ends_with(".lora.b");
            is_factor || (!is_base(path) && (lora.train_rest || roles.role(path) == Role::Always))
        };
        let trained = parameters
            .iter()
            .filter(|parameter| is_trained(&parameter.info.path));
        Ok(set_trainable(
            module,
            &trained.map(|parameter| parameter.id).collect(),
        ))
    }

    /// Builds the optimizer for an [adapted](Self::adapt) module.
    ///
    /// # Errors
    /// When a setting is out of its range or does not fit the module.
    pub fn optimizer<M: Module>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<TrainingOptimizer, TrainError> {
        Ok(match &self.algorithm {
            Algorithm::Blocks(blocks) => {
                TrainingOptimizer::Blocks(Box::new(blocks.optimizer(module, config)?))
            }
            Algorithm::Lora(_) => {
                let factors = BlockMethod::new(PolicyConfig::All, 0.0);
                TrainingOptimizer::Blocks(Box::new(factors.optimizer(module, config)?))
            }
            Algorithm::GaLore(galore) => {
                TrainingOptimizer::GaLore(Box::new(GaLoreOptimizer::new(module, galore.settings(config))?))
            }
        })
    }
}

impl GaLoreMethod {
    fn settings(&self, config: &TrainConfig) -> GaLoreConfig {
        GaLoreConfig {
            update_proj_gap: self.update_proj_gap,
            scale: self.scale,
            targets: self.targets.clone(),
            svd: self.svd,
            adam: GaLoreAdam {
                weight_decay: f64::from(config.weight_decay),
                ..GaLoreAdam::default()
            },
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
            ..GaLoreConfig::new(self.rank)
        }
    }
}
