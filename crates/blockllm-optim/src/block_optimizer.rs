//! The block optimizer: selection, masks and sparse state over any burn module (ALGORITHM, "Training").
use crate::grad_norm::{self, SumsOfSquares};
use crate::sparse_state::SparseState;
use crate::step::{Step, Updater, flat_gradients};
use crate::sweep::sweep;
use crate::{
    BlockOptimizerConfig, MaskScope, OptimError, Parameter, SelectionEvent, TopK, UpdateRule, mask,
    parameters, set_trainable,
};
use blockllm_policy::{BlockId, Policy, Reason, Role, Selector, Signal, Visits};
use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
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
    always: BTreeSet<usize>,
    states: BTreeMap<usize, SparseState>,
    sums: SumsOfSquares,
    probes: Vec<BlockId>,
    pending: Option<Reason>,
    /// Entries to keep of a selection whose mask the next backward makes.
    unmasked: Option<u64>,
    event: Option<SelectionEvent>,
}

impl BlockOptimizer {
    /// An optimizer for `module`; the policy is passed by value.
    ///
    /// # Errors
    /// When a setting is out of its range, a role pattern matches nothing, or the always-trained parameters use
    /// up the budget.
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
        config.validate()?;
        let parameters = parameters(module);
        let infos: Vec<_> = parameters
            .iter()
            .map(|parameter| parameter.info.clone())
            .collect();
        let blocks = config.partition.blocks(&infos, &config.roles)?;
        let selector = Selector::new(blocks, config.selector(), policy)?;
        let always = selector
            .blocks()
            .iter()
            .filter(|block| block.role == Role::Always);
        Ok(Self {
            always: always.flat_map(|block| block.params.iter().copied()).collect(),
            index: grad_norm::positions(&parameters),
            selector,
            parameters,
            states: BTreeMap::new(),
            sums: SumsOfSquares::new(),
            probes: Vec::new(),
            pending: Some(Reason::First),
            unmasked: None,
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
    /// When a selection fails: a norm is not finite, or the policy's ranking is invalid.
    pub fn prepare<M: Module>(
        &mut self,
        mut module: M,
        mut loss_of: impl FnMut(&M) -> Tensor<1>,
    ) -> Result<M, OptimError> {
        if let Some(reason) = self.pending {
            if reason == Reason::First && self.selector.signal() == Signal::GradNorm {
                module = self.sweep(module, &mut loss_of);
            }
            self.select(&module, reason)?;
            self.pending = None;
        }
        self.probes = self.selector.probes()?;
        for block in self.probes.iter().chain(&self.selector.selected().to_vec()) {
            self.selector.note_measured(*block);
        }
        let trainable = self
            .trained_params()
            .into_iter()
            .chain(self.params_of(&self.probes));
        Ok(set_trainable(
            module,
            &trainable.map(|param| self.parameters[param].id).collect(),
        ))
    }

    /// Updates the trained entries. `gradients` are those of the loss whose forward ran on the prepared module,
    /// averaged over the micro-batches if there are several.
    ///
    /// # Errors
    /// When a trained parameter has no gradient, or the device fails; the module is lost then, as it is the
    /// caller's only copy.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<Step<M>, OptimError> {
        let sums = grad_norm::of_gradients(&module, &gradients, &self.index);
        let trained = self.trained_params();
        if let Some(param) = trained.iter().find(|param| !sums.contains_key(param)) {
            return Err(OptimError::MissingGradient {
                path: self.parameters[*param].info.path.clone(),
            });
        }
        if let Some(keep) = self.unmasked.take() {
            self.make_masks(&module, &gradients, keep)?;
        }
        let grad_norm = grad_norm::global(&sums, &trained).expect("a selection is never empty");
        self.sums.extend(sums);
        let clip = self.config.max_grad_norm.map(|max| {
            // `torch.nn.utils.clip_grad_norm_` adds the same 1e-6.
            grad_norm
                .clone()
                .add_scalar(1e-6)
                .recip()
                .mul_scalar(max)
                .clamp_max(1.0)
        });
        let mut updater = Updater {
            rule: &self.config.update,
            learning_rate,
            clip,
            gradients,
            index: &self.index,
            states: &mut self.states,
        };
        Ok(Step {
            model: module.map(&mut updater),
            grad_norm,
        })
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
        self.pending = due.or(self.pending);
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

    /// Names of the selected blocks, in block order.
    pub fn selected_blocks(&self) -> Vec<&str> {
        self.selector
            .selected()
            .iter()
            .map(|id| self.selector.block(*id).name.as_str())
            .collect()
    }

    /// The selection side: blocks, budget, visits.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Visit counts.
    pub fn visits(&self) -> &Visits {
        self.selector.visits()
    }

    /// The module's parameters, in visiting order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Entries that have optimizer state, counted.
    pub fn trained_entries(&self) -> u64 {
        self.states.values().map(SparseState::trained_entries).sum()
    }

    /// Bytes of optimizer state held, counted from the tensors.
    pub fn state_bytes(&self) -> u64 {
        self.states.values().map(SparseState::bytes).sum()
    }

    /// What [`state_bytes`](Self::state_bytes) should be: 8 bytes per entry or 12 per trained entry with
    /// `AdamW`, whichever is less for each parameter.
    pub fn estimated_state_bytes(&self) -> u64 {
        self.states.values().map(|state| state.estimate().bytes()).sum()
    }

    /// Entries whose gradients exist in the current step: `S`, `P` and `A`.
    pub fn gradient_entries(&self) -> u64 {
        let params = self
            .trained_params()
            .into_iter()
            .chain(self.params_of(&self.probes));
        params.map(|param| self.parameters[param].info.numel).sum()
    }

    fn sweep<M: Module>(&mut self, module: M, loss_of: &mut impl FnMut(&M) -> Tensor<1>) -> M {
        let ids: Vec<_> = self.parameters.iter().map(|parameter| parameter.id).collect();
        let candidates = self.selector.candidates();
        let blocks = self.selector.blocks();
        let (module, sums) = sweep(
            module,
            self.config.sweep,
            blocks,
            &candidates,
            &ids,
            &self.index,
            loss_of,
        );
        self.sums = sums;
        for block in candidates {
            self.selector.note_measured(block);
        }
        module
    }

    fn select<M: Module>(&mut self, module: &M, reason: Reason) -> Result<(), OptimError> {
        match self.selector.signal() {
            Signal::None => {}
            Signal::GradNorm => self.record_norms(&grad_norm::read_back(&self.sums)?),
            Signal::WeightNorm => {
                let params = self.params_of(&self.selector.candidates()).collect();
                let sums = grad_norm::of_weights(module, &params, &self.index);
                self.record_norms(&grad_norm::read_back(&sums)?);
            }
        }
        let selection = self.selector.select_because(reason)?;
        // The moments of the selection are reset; whatever left it is dropped here and now.
        self.states.retain(|param, _| self.always.contains(param));
        self.unmasked = Some(selection.trained_entries);
        self.event = Some(SelectionEvent::new(&selection, &self.selector));
        Ok(())
    }

    fn record_norms(&mut self, sums: &BTreeMap<usize, f64>) {
        for id in self.selector.candidates() {
            let block = self.selector.block(id);
            let sum: Option<f64> = block.params.iter().map(|param| sums.get(param)).sum();
            if let Some(sum) = sum {
                let norm = self.config.norm.of(sum, block.numel);
                self.selector.record_norm(id, norm);
            }
        }
    }

    /// Makes the masks of the selection from its first gradients, and state for them and for `A`.
    fn make_masks<M: Module>(
        &mut self,
        module: &M,
        gradients: &GradientsParams,
        keep: u64,
    ) -> Result<(), OptimError> {
        let selected: BTreeSet<_> = self.params_of(self.selector.selected()).collect();
        let mut flat = flat_gradients(module, gradients, &self.index);
        flat.retain(|param, _| selected.contains(param));
        let device = flat.values().next().expect("a selection is never empty").device();
        let masks = match self.config.mask {
            MaskScope::Global => mask::largest(flat.into_values().collect(), keep)?,
            MaskScope::PerParameter => per_parameter(flat, keep)?,
        };
        let arrays = self.config.update.state_arrays();
        let selected = selected.into_iter().zip(masks);
        let always = self.always.iter().map(|param| (*param, TopK::All));
        for (param, mask) in selected.chain(always) {
            let numel = self.parameters[param].info.numel;
            // `A` keeps the state it has.
            self.states
                .entry(param)
                .or_insert_with(|| SparseState::new(&mask, numel, arrays, &device));
        }
        Ok(())
    }

    fn params_of<'a>(&'a self, blocks: &'a [BlockId]) -> impl Iterator<Item = usize> + 'a {
        blocks
            .iter()
            .flat_map(|id| self.selector.block(*id).params.iter().copied())
    }

    fn trained_params(&self) -> BTreeSet<usize> {
        self.params_of(self.selector.selected())
            .chain(self.always.iter().copied())
            .collect()
    }
}

/// The same share of each parameter, rounded so that the shares add up to `keep`.
fn per_parameter(flat: BTreeMap<usize, Tensor<1>>, keep: u64) -> Result<Vec<TopK>, OptimError> {
    let total: u128 = flat.values().map(|gradient| gradient.dims()[0] as u128).sum();
    let (mut seen, mut kept) = (0u128, 0u128);
    let one = |gradient: Tensor<1>| {
        seen += gradient.dims()[0] as u128;
        let until_here = u128::from(keep) * seen / total;
        let share = until_here - kept;
        kept = until_here;
        Ok(mask::largest(vec![gradient], share as u64)?.remove(0))
    };
    flat.into_values().map(one).collect()
}
