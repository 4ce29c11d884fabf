//! The block optimizer: selection, masks and sparse state over any burn module (ALGORITHM, "Training").
mod accounts;
mod measuring;
mod record;
mod stepping;

use crate::grad_norm::{self, SumsOfSquares};
use crate::inactive::Momenta;
use crate::layouts::trainable_blocks;
use crate::parameters::{distinct_parameters, first_missing};
use crate::parts::Parts;
use crate::precision::check_dtype;
use crate::recovery::RecoveredNorms;
use crate::states::States;
use crate::sweep::sweep;
use crate::{
    BlockOptimizerConfig, CarriedMoments, HalfWeights, Measured, OptimError, Parameter, Reach,
    SelectionEvent, SweepMode, TakeGradients, set_trainable,
};
use blockllm_policy::{BlockId, Policy, Reason, Role, Selector};
use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// Trains a few blocks of a module at a time.
///
/// Per optimizer step: [`prepare`](Self::prepare), forward and backward, [`step`](Self::step),
/// [`observe`](Self::observe).
#[derive(Debug)]
pub struct BlockOptimizer {
    config: BlockOptimizerConfig,
    selector: Selector,
    parameters: Vec<Parameter>,
    index: BTreeMap<ParamId, usize>,
    states: States,
    momenta: Momenta,
    recovered: RecoveredNorms,
    sums: SumsOfSquares,
    /// Moving averages of them, where the policy asks for such.
    averages: SumsOfSquares,
    /// Moving averages of the weights' sums, where the policy asks for them.
    weight_averages: SumsOfSquares,
    /// Blocks outside the selection whose gradients are only measured.
    probes: Vec<BlockId>,
    /// Blocks outside the selection that move by the inactive rule.
    inactive: Vec<BlockId>,
    pending: Option<Reason>,
    /// Entries that the masks of the selection keep.
    keep: u64,
    /// Whether the next backward makes the masks.
    unmasked: bool,
    /// The gradients of the step that is being made.
    parts: Parts,
    event: Option<SelectionEvent>,
}

impl BlockOptimizer {
    /// An optimizer for `module`; the policy is passed by value.
    ///
    /// Parameters that are on an autodiff device and do not require gradients now, such as the base weights under
    /// LoRA adapters, are never trained and count in no budget. A module that another optimizer has
    /// [prepared](Self::prepare) must be unfrozen first (`Module::unfreeze`).
    ///
    /// # Errors
    /// When a setting is out of its range, a role pattern matches nothing, the always-trained parameters use up the
    /// budget, or the device cannot compute in the weights' type.
    pub fn new<M: Module>(
        module: &M,
        config: BlockOptimizerConfig,
        policy: impl Policy + 'static,
    ) -> Result<Self, OptimError> {
        Self::with_boxed_policy(module, config, Box::new(policy))
    }

    /// [`new`](Self::new) with a policy that was chosen at run time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_boxed_policy<M: Module>(
        module: &M,
        config: BlockOptimizerConfig,
        policy: Box<dyn Policy>,
    ) -> Result<Self, OptimError> {
        config.validate(policy.signals())?;
        let parameters = distinct_parameters(module)?;
        for (device, parameter) in module
            .devices()
            .iter()
            .flat_map(|d| parameters.iter().map(move |p| (d, p)))
        {
            check_dtype(device, parameter.dtype)?;
        }
        check_recovery(&config, &parameters)?;
        let blocks = trainable_blocks(module, &parameters, &config)?;
        let selector = Selector::new(blocks, config.selector(), policy)?;
        let always = selector
            .blocks()
            .iter()
            .filter(|block| block.role == Role::Always);
        Ok(Self {
            states: States::new(
                always.flat_map(|block| block.params.iter().copied()).collect(),
                config.moment_precision,
                config.half_weights == HalfWeights::Masters,
            ),
            momenta: match &config.inactive {
                Some(rule) => {
                    let all = parameters.iter();
                    let all: Vec<_> = all
                        .map(|parameter| (parameter.info.path.as_str(), &*parameter.info.shape))
                        .collect();
                    Momenta::of(rule.with_momenta(&all)?)
                }
                None => Momenta::default(),
            },
            index: grad_norm::positions(&parameters),
            selector,
            recovered: RecoveredNorms::default(),
            sums: SumsOfSquares::new(parameters.len()),
            averages: SumsOfSquares::new(parameters.len()),
            weight_averages: SumsOfSquares::new(parameters.len()),
            parameters,
            probes: Vec::new(),
            inactive: Vec::new(),
            pending: Some(Reason::First),
            keep: 0,
            unmasked: false,
            parts: Parts::default(),
            event: None,
            config,
        })
    }

    /// Readies `module` for the coming step: selects if it is time, and lets gradients exist only for the
    /// selected, probed and always-trained blocks.
    ///
    /// `loss_of` is called only by the sweep before the first selection, once per group of blocks.
    ///
    /// # Errors
    /// When a selection fails: a norm is not finite, or the policy's ranking is invalid; or when `module` is not
    /// the one that the optimizer was made for.
    pub fn prepare<M: Module>(
        &mut self,
        module: M,
        mut loss_of: impl FnMut(&M) -> Tensor<1>,
    ) -> Result<M, OptimError> {
        self.prepare_with(module, |module| {
            GradientsParams::from_grads(loss_of(module).backward(), module)
        })
    }

    /// [`prepare`](Self::prepare) for a step over several micro-batches: `gradients_of` gives their averaged
    /// gradients, so that the sweep sees what the step will see and never holds more than one of their graphs.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn prepare_with<M: Module>(
        &mut self,
        module: M,
        mut gradients_of: impl FnMut(&M) -> GradientsParams,
    ) -> Result<M, OptimError> {
        let mode = self.config.sweep;
        self.prepare_sweeping(module, mode, |module, take| {
            let gradients = gradients_of(&module);
            take(module, gradients)
        })
    }

    /// [`prepare`](Self::prepare) for a backward pass that goes layer by layer: `backward` gives `take` the gradients of
    /// one layer after the other. The sweep is one such pass with all blocks unfrozen, and holds one layer's gradients.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare), and those of `backward`.
    pub fn prepare_in_parts<M: Module, E: From<OptimError>>(
        &mut self,
        module: M,
        backward: impl FnMut(M, &mut TakeGradients<'_, M>) -> Result<M, E>,
    ) -> Result<M, E> {
        self.prepare_sweeping(module, SweepMode::Full, backward)
    }

    fn prepare_sweeping<M: Module, E: From<OptimError>>(
        &mut self,
        mut module: M,
        mode: SweepMode,
        mut backward: impl FnMut(M, &mut TakeGradients<'_, M>) -> Result<M, E>,
    ) -> Result<M, E> {
        if let Some(missing) = first_missing(&module, &self.parameters) {
            let path = missing.info.path.clone();
            return Err(OptimError::MissingParameter { path }.into());
        }
        self.parts = Parts::default();
        if let Some(reason) = self.pending {
            let of_gradients = self
                .selector
                .signals()
                .iter()
                .any(|signal| signal.is_of_gradients());
            if reason == Reason::First && of_gradients {
                module = self.sweep(module, mode, &mut backward)?;
            }
            self.select(&module, reason)?;
            self.pending = None;
        }
        self.choose_unselected()?;
        let ids = self
            .params_with_gradients()
            .into_iter()
            .map(|param| self.parameters[param].id);
        Ok(set_trainable(module, &ids.collect()))
    }

    /// Tells the loss of the step (mean over the micro-batches); returns the reason if it makes the next
    /// [`prepare`](Self::prepare) select again.
    ///
    /// # Errors
    /// When the loss is NaN or infinite.
    pub fn observe(&mut self, loss: impl Into<f64>) -> Result<Option<Reason>, OptimError> {
        let loss = loss.into();
        if !loss.is_finite() {
            return Err(OptimError::BadLoss {
                step: self.selector.step() + 1,
                loss,
            });
        }
        let due = self.selector.observe(loss);
        self.pending = self.pending.or(due);
        Ok(due)
    }

    /// Lets the next [`prepare`](Self::prepare) select again, whatever the policy says.
    pub fn request_selection(&mut self) {
        self.pending = self.pending.or(Some(Reason::Requested));
    }

    /// The selection that the last [`prepare`](Self::prepare) made, if it made one; taken once.
    pub fn take_selection_event(&mut self) -> Option<SelectionEvent> {
        self.event.take()
    }

    fn sweep<M: Module, E: From<OptimError>>(
        &mut self,
        module: M,
        mode: SweepMode,
        backward: &mut impl FnMut(M, &mut TakeGradients<'_, M>) -> Result<M, E>,
    ) -> Result<M, E> {
        let ids: Vec<_> = self.parameters.iter().map(|parameter| parameter.id).collect();
        let candidates = self.selector.candidates();
        let blocks = self.selector.blocks();
        let (module, sums) = sweep(module, mode, blocks, &candidates, &ids, &self.index, backward)?;
        let measured = sums.measured().clone();
        self.sums = sums;
        self.average(&measured);
        for block in candidates {
            self.selector.note_measured(block, self.selector.step());
        }
        Ok(module)
    }

    fn select<M: Module>(&mut self, module: &M, reason: Reason) -> Result<(), OptimError> {
        self.measure(module)?;
        let selection = self.selector.select_because(reason)?;
        // Whatever left the selection is dropped here and now.
        let stay = match self.config.moments {
            CarriedMoments::Reset => BTreeSet::new(),
            CarriedMoments::CarriedOver => self.params_of(&selection.blocks).collect(),
        };
        self.states.drop_all_but(&stay);
        self.recovered.retain(|param| stay.contains(&param));
        self.keep = selection.trained_entries;
        self.unmasked = true;
        self.event = Some(SelectionEvent::new(&selection, &self.selector));
        Ok(())
    }

    /// Chooses which blocks outside the selection move, and which are only measured.
    fn choose_unselected(&mut self) -> Result<(), OptimError> {
        let reach = self.config.inactive.as_ref().map(|rule| rule.reach);
        self.inactive = Vec::new();
        self.probes = Vec::new();
        if reach == Some(Reach::All) {
            // They are all measured.
            self.inactive = self.unselected();
            return Ok(());
        }
        self.probes = self.selector.probes()?;
        let above = self.unselected_above_the_lowest();
        if reach == Some(Reach::Above) {
            self.probes.retain(|probe| !above.contains(probe));
            self.inactive = above;
        } else if self.config.measured == Measured::Passed {
            self.probes.retain(|probe| !above.contains(probe));
            self.probes.extend(above);
        }
        Ok(())
    }

    /// Blocks of `C \ S` that begin behind the first parameter of all that is trained or probed.
    fn unselected_above_the_lowest(&self) -> Vec<BlockId> {
        let lowest = self
            .params_with_gradients()
            .first()
            .copied()
            .unwrap_or(usize::MAX);
        let mut blocks = self.unselected();
        blocks.retain(|id| {
            self.selector
                .block(*id)
                .params
                .iter()
                .all(|param| *param > lowest)
        });
        blocks
    }

    /// Parameters whose gradients exist in this step: `S`, `P`, `A`, and what moves by the inactive rule.
    fn params_with_gradients(&self) -> BTreeSet<usize> {
        let mut params = self.trained_params();
        params.extend(self.params_of(&self.probes));
        params.extend(self.params_of(&self.inactive));
        params
    }

    /// `C \ S`, in block order.
    fn unselected(&self) -> Vec<BlockId> {
        let selected = self.selector.selected();
        let mut blocks = self.selector.candidates();
        blocks.retain(|block| !selected.contains(block));
        blocks
    }

    fn params_of<'a>(&'a self, blocks: &'a [BlockId]) -> impl Iterator<Item = usize> + 'a {
        blocks
            .iter()
            .flat_map(|id| self.selector.block(*id).params.iter().copied())
    }

    fn trained_params(&self) -> BTreeSet<usize> {
        self.params_of(self.selector.selected())
            .chain(self.states.always().iter().copied())
            .collect()
    }
}

/// Refuses recovery scaling of weights in half precision.
fn check_recovery(config: &BlockOptimizerConfig, parameters: &[Parameter]) -> Result<(), OptimError> {
    if config.recovery.is_some() && parameters.iter().any(|parameter| parameter.dtype != DType::F32) {
        return Err(OptimError::Setting {
            field: "recovery",
            value: "set for weights in half precision".into(),
            mend: "use f32 weights: changes of rounded ones do not tell how far they were to go",
        });
    }
    Ok(())
}
