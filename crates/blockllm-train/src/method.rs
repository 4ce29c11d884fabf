//! Training methods, and how the command line names them: `adamw`, `blockllm:0.95`, `random:0.9@3e-3`.
use crate::{TrainConfig, TrainError};
use blockllm_optim::{AdamW, BlockOptimizer, BlockOptimizerConfig, NormKind};
use blockllm_policy::{Partition, PolicyConfig, Roles};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// What is trained, and by which rule it is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// As it was asked for; names the run's folder and its row in the tables.
    pub label: String,
    /// The policy; `all` with sparsity 0 is dense `AdamW`.
    pub policy: PolicyConfig,
    /// `s` in `[0, 1)`.
    pub sparsity: f64,
    /// Its own peak learning rate; the run's when absent.
    pub learning_rate: Option<f64>,
    /// Settings of the block optimizer that matter to a comparison.
    #[serde(default)]
    pub blocks: BlockSettings,
}

/// The block optimizer's settings, as run records keep them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlockSettings {
    /// `tensor`, `module` or `decoder-layer`.
    pub partition: String,
    /// Path patterns of the always-trained parameters.
    pub always: Vec<String>,
    /// Path patterns of the never-trained parameters.
    pub never: Vec<String>,
    /// `grad` or `rms`.
    pub norm: String,
    /// Probes per step.
    pub probes: usize,
}

impl Default for BlockSettings {
    fn default() -> Self {
        Self {
            partition: "tensor".into(),
            always: vec![],
            never: vec![],
            norm: "rms".into(),
            probes: 2,
        }
    }
}

impl Method {
    /// Dense `AdamW`: every block, every entry.
    pub fn adamw() -> Self {
        Self {
            label: "adamw".into(),
            policy: PolicyConfig::All,
            sparsity: 0.0,
            learning_rate: None,
            blocks: BlockSettings::default(),
        }
    }

    /// Parses `NAME[:SPARSITY][@LEARNING_RATE]`, where `NAME` is `adamw` or a policy.
    ///
    /// # Errors
    /// Names the part that is wrong and what may stand there.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let (rest, learning_rate) = match text.split_once('@') {
            Some((rest, rate)) => (rest, Some(number("learning rate", text, rate)?)),
            None => (text, None),
        };
        let (name, sparsity) = match rest.split_once(':') {
            Some((name, sparsity)) => (name, Some(number("sparsity", text, sparsity)?)),
            None => (rest, None),
        };
        if let Some(rate) = learning_rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(refuse(text, &format!("the learning rate {rate} is not positive")));
        }
        if name == "adamw" {
            if sparsity.is_some() {
                return Err(refuse(text, "`adamw` trains everything and takes no sparsity"));
            }
            return Ok(Self {
                label: text.to_owned(),
                learning_rate,
                ..Self::adamw()
            });
        }
        let policy = PolicyConfig::from_name(name).map_err(|_| refuse(text, &unknown(name)))?;
        let sparsity = sparsity.unwrap_or(if policy == PolicyConfig::All { 0.0 } else { 0.95 });
        if !(0.0..1.0).contains(&sparsity) {
            return Err(refuse(
                text,
                &format!("the sparsity {sparsity} is outside [0, 1)"),
            ));
        }
        Ok(Self {
            label: text.to_owned(),
            policy,
            sparsity,
            learning_rate,
            blocks: BlockSettings::default(),
        })
    }

    /// The same method with another patience, where its policy has one.
    #[must_use]
    pub fn with_patience(mut self, new: usize) -> Self {
        match &mut self.policy {
            PolicyConfig::BlockLlm { patience }
            | PolicyConfig::BlockLlmNoVisits { patience }
            | PolicyConfig::Suboptimal { patience }
            | PolicyConfig::EpsilonGreedy { patience, .. } => *patience = new,
            PolicyConfig::Magnitude { interval }
            | PolicyConfig::Random { interval, .. }
            | PolicyConfig::Cyclic { interval, .. }
            | PolicyConfig::Importance { interval, .. } => *interval = new as u64,
            PolicyConfig::Fixed { .. } | PolicyConfig::All => {}
        }
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

    /// Builds the optimizer for `module`.
    ///
    /// # Errors
    /// When a setting is out of its range or does not fit the module.
    pub fn optimizer<M: Module>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<BlockOptimizer, TrainError> {
        let BlockSettings {
            partition,
            always,
            never,
            norm,
            probes,
        } = self.blocks.clone();
        let settings = BlockOptimizerConfig {
            partition: Partition::from_name(&partition)?,
            roles: Roles { always, never },
            norm: norm_kind(&norm)?,
            probes,
            max_grad_norm: config.max_grad_norm,
            update: AdamW {
                weight_decay: config.weight_decay,
                ..AdamW::default()
            }
            .into(),
            seed: config.seed,
            ..BlockOptimizerConfig::new(self.sparsity)
        };
        Ok(BlockOptimizer::with_boxed_policy(
            module,
            settings,
            self.policy.build()?,
        )?)
    }
}

fn norm_kind(name: &str) -> Result<NormKind, TrainError> {
    match name {
        "grad" => Ok(NormKind::Grad),
        "rms" => Ok(NormKind::Rms),
        _ => Err(TrainError::Setting {
            field: "blocks.norm",
            value: name.to_owned(),
            mend: "use grad or rms".into(),
        }),
    }
}

fn number(what: &str, text: &str, value: &str) -> Result<f64, TrainError> {
    value
        .parse()
        .map_err(|_| refuse(text, &format!("the {what} `{value}` is not a number")))
}

fn unknown(name: &str) -> String {
    format!(
        "no method is called `{name}`; there are adamw, {}",
        PolicyConfig::names().join(", ")
    )
}

fn refuse(text: &str, why: &str) -> TrainError {
    TrainError::Setting {
        field: "methods",
        value: text.to_owned(),
        mend: format!("{why}; write NAME[:SPARSITY][@LEARNING_RATE], such as blockllm:0.95@1e-3"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_read_from_one_word() {
        let method = Method::parse("blockllm:0.9@3e-3").unwrap();
        assert!((method.sparsity - 0.9).abs() < 1e-12);
        assert_eq!(method.learning_rate, Some(3e-3));
        assert_eq!(method.folder_name(2), "blockllm-0.9-3e-3-2");
        assert_eq!(Method::parse("adamw").unwrap(), Method::adamw());
    }

    #[test]
    fn a_wrong_method_is_told_with_the_names_that_exist() {
        for (text, expected) in [
            ("blokllm", "there are adamw, blockllm"),
            ("blockllm:1.0", "outside [0, 1)"),
            ("blockllm:half", "`half` is not a number"),
            ("adamw:0.5", "takes no sparsity"),
            ("adamw@-1", "not positive"),
        ] {
            let error = Method::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(text), "{error}");
        }
    }
}
