//! Settings of the block optimizer; each **choice** of ALGORITHM is one field.
use crate::choices::{
    CarriedMoments, HalfWeights, MaskRefresh, MaskScope, MaskThreshold, Measured, NormKind, SweepMode,
};
use crate::{
    AdamW, EntryScore, Groups, InactiveRule, MaskScore, MaskUnit, MomentPrecision, OptimError, Recovery,
    UpdateRule,
};
use blockllm_policy::{Partition, Roles, SelectorConfig, Signal, VisitSmoothing};
use std::sync::Arc;

/// Settings of a [`BlockOptimizer`](crate::BlockOptimizer).
#[derive(Clone, Debug)]
pub struct BlockOptimizerConfig {
    /// `s` in `[0, 1)`: the share of entries that is not trained.
    pub sparsity: f64,
    /// How parameters are grouped.
    pub partition: Partition,
    /// What is always or never trained.
    pub roles: Roles,
    /// The norm that the policy ranks by.
    pub norm: NormKind,
    /// `p`: probes per step.
    pub probes: usize,
    /// Whose norms are measured beside those of what is trained.
    pub measured: Measured,
    /// How the first norms are measured.
    pub sweep: SweepMode,
    /// Over what the mask's threshold is taken, or that there is no mask.
    pub mask: MaskScope,
    /// How exactly the mask's threshold is found.
    pub threshold: MaskThreshold,
    /// When the mask is made anew.
    pub refresh: MaskRefresh,
    /// What a selection's entries are ranked by.
    pub score: Arc<dyn EntryScore>,
    /// What is trained or left out as one inside a matrix.
    pub unit: MaskUnit,
    /// What becomes of the moments of what stays in the selection.
    pub moments: CarriedMoments,
    /// In what the moments are kept.
    pub moment_precision: MomentPrecision,
    /// How trained weights in half precision are kept.
    pub half_weights: HalfWeights,
    /// What the entries do that are not trained; nothing when `None`.
    pub inactive: Option<InactiveRule>,
    /// How masked-out entries of selected parameters follow those that are trained; they stand still, or move by the inactive
    /// rule, when `None`.
    pub recovery: Option<Recovery>,
    /// Over how many of its first steps the updates of fresh state grow to their full length: the `t`-th one is `t / ramp` of it.
    /// None when 0. Adam's first steps are as long as its later ones, on moments that have seen next to nothing.
    ///
    /// It scales the whole update, a weight decay in it too; SMET (ICML 2026), its source, the first moment alone. State has one
    /// clock for all entries of a parameter, so that entries must not join it in progress: with
    /// [`CarriedMoments::CarriedOver`] or [`MaskRefresh::EachStep`] a ramp is refused, unless there is no mask and whole
    /// parameters join.
    pub ramp: u64,
    /// The learning rate's multipliers by groups of parameters, and which weights decay.
    pub groups: Groups,
    /// How visits become a frequency.
    pub visit_smoothing: VisitSmoothing,
    /// The global norm that the gradients of the trained blocks are clipped to; none when `None`.
    pub max_grad_norm: Option<f64>,
    /// The update rule of the trained entries.
    pub update: Arc<dyn UpdateRule>,
    /// Seed of the policy's random numbers.
    pub seed: u64,
}

impl BlockOptimizerConfig {
    /// The defaults at `sparsity`: one block per tensor, RMS norms, two probes, sweep in groups of four blocks,
    /// global exact mask until the next selection, which resets the moments, no clipping, `AdamW` without decay,
    /// f32 moments, master copies where weights are not f32.
    pub fn new(sparsity: f64) -> Self {
        Self {
            sparsity,
            partition: Partition::Tensor,
            roles: Roles::default(),
            norm: NormKind::default(),
            probes: 2,
            measured: Measured::default(),
            sweep: SweepMode::Grouped(4),
            mask: MaskScope::default(),
            threshold: MaskThreshold::default(),
            refresh: MaskRefresh::default(),
            score: Arc::new(MaskScore::default()),
            unit: MaskUnit::default(),
            moments: CarriedMoments::default(),
            moment_precision: MomentPrecision::default(),
            half_weights: HalfWeights::default(),
            inactive: None,
            recovery: None,
            ramp: 0,
            groups: Groups::default(),
            visit_smoothing: VisitSmoothing::default(),
            max_grad_norm: None,
            update: Arc::new(AdamW::default()),
            seed: 0,
        }
    }

    /// With other always- and never-trained parameters.
    #[must_use]
    pub fn with_roles(mut self, roles: Roles) -> Self {
        self.roles = roles;
        self
    }

    /// With another partition.
    #[must_use]
    pub fn with_partition(mut self, partition: Partition) -> Self {
        self.partition = partition;
        self
    }

    /// With another norm.
    #[must_use]
    pub fn with_norm(mut self, norm: NormKind) -> Self {
        self.norm = norm;
        self
    }

    /// With gradients clipped to this global norm.
    #[must_use]
    pub fn with_max_grad_norm(mut self, max_grad_norm: Option<f64>) -> Self {
        self.max_grad_norm = max_grad_norm;
        self
    }

    /// With other multipliers of the learning rate, or other weights that decay.
    #[must_use]
    pub fn with_groups(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// With a rule for the entries that are not trained.
    #[must_use]
    pub fn with_inactive(mut self, rule: impl Into<Option<InactiveRule>>) -> Self {
        self.inactive = rule.into();
        self
    }

    /// With another score of entries, one of ours or of your own.
    #[must_use]
    pub fn with_score(mut self, score: impl EntryScore + 'static) -> Self {
        self.score = Arc::new(score);
        self
    }

    /// With masked-out entries that follow the trained ones.
    #[must_use]
    pub fn with_recovery(mut self, recovery: impl Into<Option<Recovery>>) -> Self {
        self.recovery = recovery.into();
        self
    }

    /// With another update rule, one of ours or of your own.
    #[must_use]
    pub fn with_update(mut self, update: impl UpdateRule + 'static) -> Self {
        self.update = Arc::new(update);
        self
    }

    /// Checks the settings that need no module to be wrong, under a policy that asks for these `signals`.
    ///
    /// # Errors
    /// When one is out of its range, or does not go with another or with a signal.
    pub fn validate(&self, signals: &[Signal]) -> Result<(), OptimError> {
        if self.norm == NormKind::Processed && signals.contains(&Signal::GradNormAverage) {
            return Err(OptimError::Setting {
                field: "norm",
                value: "processed".into(),
                mend: "moving averages are of raw gradients: use rms or grad",
            });
        }
        if self.sweep == SweepMode::Grouped(0) {
            return Err(OptimError::Setting {
                field: "sweep",
                value: "Grouped(0)".into(),
                mend: "unfreeze at least one block per pass",
            });
        }
        if let Some(norm) = self
            .max_grad_norm
            .filter(|norm| !(norm.is_finite() && *norm > 0.0))
        {
            return Err(OptimError::Setting {
                field: "max_grad_norm",
                value: norm.to_string(),
                mend: "use a positive number, or none",
            });
        }
        self.threshold.validate()?;
        self.score.validate()?;
        self.check_without_mask()?;
        self.check_ramp()?;
        if let Some(inactive) = &self.inactive {
            inactive.validate()?;
        }
        if let Some(recovery) = self.recovery {
            recovery.validate()?;
            if self.inactive.as_ref().is_some_and(|rule| rule.masked_out) {
                return Err(OptimError::Setting {
                    field: "recovery",
                    value: format!("{recovery:?}"),
                    mend: "the inactive rule moves masked-out entries already: let it leave them, or recovery be none",
                });
            }
        }
        self.groups.validate()?;
        self.update.validate()
    }

    /// Refuses settings of a mask where there is none.
    fn check_without_mask(&self) -> Result<(), OptimError> {
        if self.mask != MaskScope::None {
            return Ok(());
        }
        let of_a_mask = [
            ("threshold", self.threshold != MaskThreshold::Exact),
            ("refresh", self.refresh != MaskRefresh::EachSelection),
            ("score", !self.score.is_gradient()),
            ("unit", self.unit != MaskUnit::Entry),
            ("recovery", self.recovery.is_some()),
        ];
        match of_a_mask.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(OptimError::Setting {
                field,
                value: "set for a mask, with mask=none".into(),
                mend: "leave it out, or use mask=global or mask=per-parameter",
            }),
            None => Ok(()),
        }
    }

    /// Refuses a ramp where entries join state in progress, whose clock they would have.
    fn check_ramp(&self) -> Result<(), OptimError> {
        // The first step of a ramp over one is a whole one already.
        if self.ramp <= 1 || self.mask == MaskScope::None {
            return Ok(());
        }
        let with = match (self.moments, self.refresh) {
            (CarriedMoments::Reset, MaskRefresh::EachSelection) => return Ok(()),
            (CarriedMoments::Reset, MaskRefresh::EachStep) => "refresh=each-step",
            (CarriedMoments::CarriedOver, _) => "moments=carried-over",
        };
        Err(OptimError::Setting {
            field: "ramp",
            value: format!("{} with {with}", self.ramp),
            mend: "entries that join state in progress have its clock and would not ramp: use moments=reset and \
                   refresh=each-selection, or mask=none, or ramp=0",
        })
    }

    pub(crate) fn selector(&self) -> SelectorConfig {
        SelectorConfig {
            sparsity: self.sparsity,
            probes: self.probes,
            visit_smoothing: self.visit_smoothing,
            seed: self.seed,
            whole_blocks: self.mask == MaskScope::None,
        }
    }
}
