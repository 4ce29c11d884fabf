//! LoRA (arXiv 2106.09685): frozen matrices with low-rank adapters, trained by `AdamW`.
use super::fine_tuning::decoder_matrices;
use super::group_settings::{self, Grouped};
use super::{BlockMethod, FineTuning, LearningRates, NamedMethod, Setting, TrainingMethod, adamw, count};
use crate::memory::plan::{ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_model::ParameterKind;
use blockllm_optim::{Groups, LoraConfig, MomentPrecision, parameters, set_trainable};
use blockllm_policy::{ParamInfo, Roles, path_matches};
use burn::module::Module;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// The learning rate's multipliers by groups of parameters, and which weights decay.
    #[serde(default, skip_serializing_if = "Groups::is_default")]
    pub groups: Groups,
    /// Its own decoupled weight decay, of the adapters' factors and of what is trained beside them, as under PEFT; the run's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
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
            groups: Groups::default(),
            weight_decay: None,
        }
    }

    /// Which matrices get factors, and how these start.
    fn config(&self) -> LoraConfig {
        LoraConfig::new(self.rank)
            .with_alpha(self.alpha)
            .with_targets(self.targets.clone())
    }

    /// Refuses a pattern of `always` that matches none of `parameters`.
    fn check_always(&self, parameters: &[ParamInfo]) -> Result<(), TrainError> {
        let roles = Roles {
            always: self.always.clone(),
            never: Vec::new(),
        };
        Ok(roles.check(parameters)?)
    }

    /// `AdamW` of the factors and of what is trained beside them.
    fn dense(&self) -> BlockMethod {
        let mut dense = adamw::dense();
        dense.groups = self.groups;
        dense.weight_decay = self.weight_decay;
        dense
    }

    /// Whether what is at `path`, and not adapted, is trained.
    fn trains_beside(&self, path: &str) -> bool {
        self.train_rest || matches(&self.always, path)
    }
}

fn matches(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| path_matches(pattern, path))
}

impl Grouped for LoraMethod {
    fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    fn weight_decay(&mut self) -> &mut Option<f32> {
        &mut self.weight_decay
    }
}

impl NamedMethod for LoraMethod {
    type Method = Self;

    fn names() -> Vec<&'static str> {
        vec!["lora"]
    }

    fn example(name: &str) -> String {
        format!("{name}:4")
    }

    fn method(_: &str, number: Option<&str>) -> Result<Self, String> {
        Ok(Self::new(count("rank", number, 8)?))
    }
}

impl TrainingMethod for LoraMethod {
    fn kind() -> &'static str {
        "lora"
    }

    fn settings() -> Vec<Setting<Self>> {
        let own: Vec<Setting<Self>> = vec![
            Setting::new(
                "alpha",
                "X",
                "the product of the factors is multiplied with X / rank",
                |lora, given| given.number_into(&mut lora.alpha),
            ),
            Setting::new(
                "always",
                "PATHS",
                "what is trained whole beside the adapters (PEFT's modules_to_save), by parts of its path: always=pooler",
                |lora, given| {
                    lora.always = given.paths();
                    Ok(())
                },
            ),
        ];
        [own, group_settings::table()].concat()
    }

    fn adapt<M: Module + 'static>(&self, module: M, config: &TrainConfig) -> Result<M, TrainError> {
        let infos = parameters(&module).into_iter().map(|parameter| parameter.info);
        self.check_always(&infos.collect::<Vec<_>>())?;
        let module = self.config().with_seed(config.seed).apply(module)?;
        let parameters = parameters(&module);
        let paths: BTreeSet<_> = parameters
            .iter()
            .map(|parameter| parameter.info.path.clone())
            .collect();
        let is_base = |path: &str| paths.contains(&format!("{path}.lora.a"));
        let is_trained = |path: &str| {
            let is_factor = path.ends_with(".lora.a") || path.ends_with(".lora.b");
            is_factor || (!is_base(path) && self.trains_beside(path))
        };
        let trained = parameters
            .iter()
            .filter(|parameter| is_trained(&parameter.info.path));
        Ok(set_trainable(
            module,
            &trained.map(|parameter| parameter.id).collect(),
        ))
    }

    /// What is frozen counts as untrainable, so dense `AdamW` trains the factors and the rest.
    fn optimizer<M: Module + 'static>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError> {
        self.dense().optimizer(module, config)
    }

    /// Factors and head alone, with `alpha = 2 rank`.
    fn fine_tune(&mut self, parts: &FineTuning) {
        self.train_rest = false;
        self.targets.clone_from(&parts.matrices);
        self.alpha = 2.0 * self.rank as f64;
    }

    fn train_always(&mut self, paths: &[String]) {
        let missing = paths.iter().filter(|path| !matches(&self.always, path));
        self.always.extend(missing.cloned().collect::<Vec<_>>());
    }

    /// Published is its paper's rate on RoBERTa-base (appendix D).
    fn learning_rates(&self) -> LearningRates {
        LearningRates {
            classifiers: 3e-4,
            language_models: 3e-4,
            from_scratch: 5e-3,
            published: Some(4e-4),
            ..LearningRates::default()
        }
    }

    /// The factors stand behind the matrices that they adapt; all else is frozen but what is trained too.
    fn plan(&self, parameters: Vec<PlannedParameter>, step: &PlannedStep<'_>) -> Result<Scheme, TrainError> {
        let config = self.config();
        config.validate()?;
        let info =
            |parameter: &PlannedParameter| ParamInfo::shaped(parameter.path.clone(), parameter.shape.clone());
        self.check_always(&parameters.iter().map(info).collect::<Vec<_>>())?;
        let mut list = Vec::new();
        for mut parameter in parameters {
            let is_adapted =
                parameter.kind == ParameterKind::Linear && matches(&self.targets, &parameter.path);
            if is_adapted {
                config.check_rank(&parameter.path, &parameter.shape)?;
            }
            parameter.free = !is_adapted && self.trains_beside(&parameter.path);
            let factor = |name: &str, shape: [usize; 2]| PlannedParameter {
                path: format!("{}.lora.{name}", parameter.path),
                shape: shape.to_vec(),
                kind: ParameterKind::Linear,
                entries: shape.iter().map(|side| *side as u64).product(),
                free: true,
            };
            let factors = is_adapted.then(|| {
                let (inputs, outputs) = (parameter.shape[0], parameter.shape[1]);
                [
                    factor("a", [inputs, self.rank]),
                    factor("b", [self.rank, outputs]),
                ]
            });
            list.push(parameter);
            list.extend(factors.into_iter().flatten());
        }
        self.dense().plan(list, step)
    }

    fn planned_state(&self, parameter: &PlannedParameter, kept: u64, place: StatePlace) -> ParameterState {
        ParameterState::sparse(parameter, kept, 2, MomentPrecision::F32, true, place)
    }
}

mod tests;
