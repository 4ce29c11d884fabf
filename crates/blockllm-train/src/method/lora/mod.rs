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

    /// Refuses patterns of `always` that change nothing: those that match none of `parameters`, the model's before any is adapted, or
    /// only what is adapted, and any of them where all the rest is trained.
    fn check_always(
        &self,
        parameters: &[ParamInfo],
        is_adapted: impl Fn(&str) -> bool,
    ) -> Result<(), TrainError> {
        let roles = Roles {
            always: self.always.clone(),
            never: Vec::new(),
        };
        roles.check(parameters)?;
        let refuse = |value: String, mend: &str| {
            Err(TrainError::Setting {
                field: "always",
                value,
                mend: mend.to_owned(),
            })
        };
        if self.train_rest && !self.always.is_empty() {
            let mend = "LoRA from random weights trains all that it does not adapt already, so that this changes nothing: leave it out; \
                        in fine-tuning it says what is trained beside the adapters";
            return refuse(self.always.join("/"), mend);
        }
        let paths = || parameters.iter().map(|info| info.path.as_str());
        let is_idle =
            |pattern: &&String| !paths().any(|path| path_matches(pattern, path) && !is_adapted(path));
        match self.always.iter().find(is_idle) {
            Some(pattern) => {
                let mend = "all that it matches is adapted, and trained by its adapters alone: leave it out, or name what has none, such as \
                            norms or a head";
                refuse(pattern.clone(), mend)
            }
            None => Ok(()),
        }
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
                |lora, given| {
                    let alpha = given.number()?;
                    given.checked(LoraConfig::new(1).with_alpha(alpha).validate())?;
                    lora.alpha = alpha;
                    Ok(())
                },
            ),
            Setting::new(
                "always",
                "PATHS",
                "what fine-tuning trains whole beside the adapters (PEFT's modules_to_save), by parts of its path: always=pooler",
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
        let infos: Vec<_> = infos.collect();
        let module = self.config().with_seed(config.seed).apply(module)?;
        let parameters = parameters(&module);
        let paths: BTreeSet<_> = parameters
            .iter()
            .map(|parameter| parameter.info.path.clone())
            .collect();
        let is_base = |path: &str| paths.contains(&format!("{path}.lora.a"));
        self.check_always(&infos, is_base)?;
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

    fn trains_all(&self) -> bool {
        false
    }

    /// Factors and head alone, with `alpha = 2 rank`.
    fn fine_tune(&mut self, parts: &FineTuning) {
        self.train_rest = false;
        self.targets.clone_from(&parts.matrices);
        self.alpha = 2.0 * self.rank as f64;
    }

    fn train_always(&mut self, paths: &[String]) {
        if self.train_rest {
            return;
        }
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
        let linear = parameters
            .iter()
            .filter(|parameter| parameter.kind == ParameterKind::Linear);
        let linear: Vec<_> = linear.map(|parameter| parameter.path.as_str()).collect();
        config.check_targets(&linear)?;
        let adapted = linear.into_iter().filter(|path| matches(&self.targets, path));
        let adapted: BTreeSet<String> = adapted.map(ToOwned::to_owned).collect();
        let info =
            |parameter: &PlannedParameter| ParamInfo::shaped(parameter.path.clone(), parameter.shape.clone());
        let infos: Vec<_> = parameters.iter().map(info).collect();
        self.check_always(&infos, |path| adapted.contains(path))?;
        let mut list = Vec::new();
        for mut parameter in parameters {
            let is_adapted = adapted.contains(&parameter.path);
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
