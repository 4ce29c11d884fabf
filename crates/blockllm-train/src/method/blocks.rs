//! Settings of the methods that train blocks of parameters.
use crate::{TrainConfig, TrainError};
use blockllm_optim::{
    BlockOptimizer, BlockOptimizerConfig, CarriedMoments, HalfWeights, MaskRefresh, MaskScope, MaskThreshold,
    Measured, MomentPrecision, NormKind, SignSgd, SweepMode, Update, parameters,
};
use blockllm_policy::{CyclicOrder, Partition, PolicyConfig, Role, Roles, VisitSmoothing};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// A policy, its budget, and what matters to a comparison; the choices are those of [`BlockOptimizerConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockMethod {
    /// The policy; `all` with sparsity 0 is dense `AdamW`.
    pub policy: PolicyConfig,
    /// `s` in `[0, 1)`.
    pub sparsity: f64,
    /// `tensor`, `module` or `decoder-layer`.
    pub partition: String,
    /// Path patterns of the always-trained parameters.
    pub always: Vec<String>,
    /// Path patterns of the never-trained parameters.
    pub never: Vec<String>,
    /// The norm that the policy ranks by.
    pub norm: NormKind,
    /// Probes per step.
    pub probes: usize,
    /// Whose norms are measured beside those of what is trained.
    #[serde(default)]
    pub measured: Measured,
    /// How the first norms are measured.
    pub sweep: SweepMode,
    /// How visits become a frequency.
    pub visit_smoothing: VisitSmoothing,
    /// Over what the mask's threshold is taken.
    pub mask: MaskScope,
    /// How exactly it is found.
    pub threshold: MaskThreshold,
    /// When the mask is made anew.
    pub refresh: MaskRefresh,
    /// What becomes of the moments at a selection.
    pub moments: CarriedMoments,
    /// In what the moments are kept.
    pub moment_precision: MomentPrecision,
    /// How trained weights in half precision are kept.
    #[serde(default)]
    pub half_weights: HalfWeights,
    /// What the blocks outside the selection do.
    pub inactive: Option<SignSgd>,
    /// The update rule of the trained entries; the run's weight decay replaces its own.
    pub update: Update,
}

impl BlockMethod {
    /// `policy` at `sparsity`, one block per tensor, RMS norms, two probes.
    pub fn new(policy: PolicyConfig, sparsity: f64) -> Self {
        Self {
            policy,
            sparsity,
            partition: "tensor".into(),
            always: vec![],
            never: vec![],
            norm: NormKind::default(),
            probes: 2,
            measured: Measured::default(),
            sweep: SweepMode::Grouped(4),
            visit_smoothing: VisitSmoothing::default(),
            mask: MaskScope::default(),
            threshold: MaskThreshold::default(),
            refresh: MaskRefresh::default(),
            moments: CarriedMoments::default(),
            moment_precision: MomentPrecision::default(),
            half_weights: HalfWeights::default(),
            inactive: None,
            update: Update::default(),
        }
    }

    /// `BAdam` (arXiv 2404.02827): `blocks` decoder layers at a time, whole, in a new random order each cycle.
    /// Embeddings, last norm and head are blocks too, since they would stay random in pretraining.
    pub fn badam(interval: u64, blocks: usize) -> Self {
        let policy = PolicyConfig::Cyclic {
            interval,
            order: CyclicOrder::Random,
            blocks: Some(blocks),
        };
        Self {
            partition: "decoder-layer".into(),
            ..Self::new(policy, 0.0)
        }
    }

    /// LISA (arXiv 2403.17919): `blocks` random decoder layers at a time, whole; embeddings, last norm and head
    /// always.
    pub fn lisa(interval: u64, blocks: usize) -> Self {
        let policy = PolicyConfig::Random {
            interval,
            blocks: Some(blocks),
        };
        Self {
            partition: "decoder-layer".into(),
            always: lisa_always(),
            ..Self::new(policy, 0.0)
        }
    }

    /// Always trains what lies at `paths` too.
    pub(super) fn train_always(&mut self, paths: &[String]) {
        let roles = Roles {
            always: self.always.clone(),
            never: self.never.clone(),
        };
        let missing = paths.iter().filter(|path| roles.role(path) == Role::Candidate);
        self.always.extend(missing.cloned());
    }

    /// The same method with another patience, or interval between selections; nothing where a policy has neither.
    #[must_use]
    pub fn with_patience(mut self, new: usize) -> Self {
        match &mut self.policy {
            PolicyConfig::BlockLlm { patience }
            | PolicyConfig::BlockLlmNoVisits { patience }
            | PolicyConfig::Suboptimal { patience }
            | PolicyConfig::EpsilonGreedy { patience, .. }
            | PolicyConfig::OfficialCompat { patience, .. } => *patience = new,
            PolicyConfig::Magnitude { interval }
            | PolicyConfig::Random { interval, .. }
            | PolicyConfig::Cyclic { interval, .. }
            | PolicyConfig::Importance { interval, .. } => *interval = new as u64,
            PolicyConfig::Fixed { .. } | PolicyConfig::All => {}
        }
        self
    }

    /// The roles in a model with parameters at `paths`. What is asked for by name must be there; of LISA's own list, what
    /// is not there, such as the head of a model whose head is the embedding, is left out.
    pub(crate) fn roles(&self, paths: &[&str]) -> Roles {
        let mut always = self.always.clone();
        if always == lisa_always() {
            always.retain(|pattern| {
                let alone = Roles {
                    always: vec![pattern.clone()],
                    never: Vec::new(),
                };
                paths.iter().any(|path| alone.role(path) == Role::Always)
            });
        }
        Roles {
            always,
            never: self.never.clone(),
        }
    }

    pub(super) fn optimizer<M: Module>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<BlockOptimizer, TrainError> {
        let parameters = parameters(module);
        let paths: Vec<_> = parameters
            .iter()
            .map(|parameter| parameter.info.path.as_str())
            .collect();
        let settings = BlockOptimizerConfig {
            partition: Partition::from_name(&self.partition)?,
            roles: self.roles(&paths),
            norm: self.norm,
            probes: self.probes,
            measured: self.measured,
            sweep: self.sweep,
            visit_smoothing: self.visit_smoothing,
            mask: self.mask,
            threshold: self.threshold,
            refresh: self.refresh,
            moments: self.moments,
            moment_precision: self.moment_precision,
            half_weights: self.half_weights,
            inactive: self.inactive,
            max_grad_norm: config.max_grad_norm,
            update: self.update.with_weight_decay(config.weight_decay),
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

/// What LISA trains at every step of a pretraining.
pub(super) fn lisa_always() -> Vec<String> {
    ["embed_tokens", "model.norm", "lm_head"]
        .map(String::from)
        .to_vec()
}
