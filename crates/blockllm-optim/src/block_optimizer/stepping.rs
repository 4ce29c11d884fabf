//! A step of the block optimizer: gradients are taken whole or layer by layer, then the trained entries are updated.
use super::BlockOptimizer;
use crate::grad_norm;
use crate::mask::{MaskGroup, MaskPlan, scores};
use crate::parts::Given;
use crate::step::{Step, Updater, flat_gradients, flat_weights};
use crate::{MaskRefresh, MaskScope, MaskThreshold, OptimError, ScoreContext};
use blockllm_policy::BlockId;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};

impl BlockOptimizer {
    /// Takes a part of the step's gradients, such as a layer's, from a backward pass that goes layer by layer;
    /// [`step`](Self::step) then takes the last part, or none, and ends the step.
    ///
    /// The norm of every gradient is measured. Gradients of trained parameters wait for the end of the step where that
    /// needs all of them: while there is a global clip, and where masks are made. Otherwise they are used at once. Blocks
    /// outside the selection move at once by the `inactive` rule. All that is not waiting is dropped.
    ///
    /// # Errors
    /// When nothing was prepared, or a parameter's gradient is given twice; the module is lost then.
    pub fn take<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<M, OptimError> {
        if self.selector.visits().selections() == 0 {
            return Err(OptimError::NotPrepared);
        }
        let found = grad_norm::of_gradients(&module, &gradients, &self.index, &mut self.sums);
        self.parts.note(&found, &self.parameters)?;
        let trained = self.trained_params();
        let inactive: BTreeSet<_> = self.params_of(&self.inactive).collect();
        let (wait, now) = if self.waits_for_all() {
            (trained, inactive.clone())
        } else {
            (BTreeSet::new(), trained.union(&inactive).copied().collect())
        };
        let gradients = self.parts.sort(&module, gradients, &self.index, &wait, &now);
        if self.makes_masks() && !self.waits_for_all() {
            let selected = self.params_of(self.selector.selected());
            let masked = selected.filter(|param| found.contains(param)).collect();
            self.make_masks(&module, &gradients, None, &masked)?;
        }
        Ok(self.update(module, gradients, learning_rate, None, &inactive))
    }

    /// Whether a part's gradients are used and dropped as they come: then a backward pass over several micro-batches should
    /// go through all of them layer by layer. Else the gradients of what is trained exist until the end of the step.
    pub fn uses_parts_at_once(&self) -> bool {
        self.config.inactive.is_some() || !self.waits_for_all()
    }

    /// Bytes of the gradients that wait for the end of the step.
    pub fn waiting_gradient_bytes(&self) -> u64 {
        self.parts.waiting_bytes()
    }

    /// Updates the trained entries. `gradients` are those of the loss whose forward ran on the prepared module,
    /// averaged over the micro-batches if there are several; or what [`take`](Self::take) was not given yet of them.
    ///
    /// # Errors
    /// When nothing was prepared, no trained parameter has a gradient, or the device fails; the module is lost
    /// then, as it is the caller's only copy.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<Step<M>, OptimError> {
        let module = self.take(module, gradients, learning_rate)?;
        let Given {
            all,
            trained,
            without_gradient,
            waiting,
        } = self.parts.finish(self.trained_params(), &self.parameters)?;
        self.average(&all);
        let (grad_norm, clip) = self.sums.norm(&trained, self.config.max_grad_norm);
        if self.makes_masks() {
            // All of the selection; or what no part had a gradient of.
            let mut masked: BTreeSet<_> = self.params_of(self.selector.selected()).collect();
            if !self.waits_for_all() {
                masked.retain(|param| !trained.contains(param));
            }
            self.make_masks(&module, &waiting, clip.as_ref(), &masked)?;
            self.unmasked = false;
        }
        let step = self.selector.step() + 1;
        let measured = [self.selector.selected(), &self.probes, &self.inactive].concat();
        for block in measured {
            self.selector.note_measured(block, step);
        }
        let model = self.update(module, waiting, learning_rate, clip, &BTreeSet::new());
        Ok(Step {
            model,
            grad_norm,
            without_gradient,
        })
    }

    /// Whether this step makes masks, from the gradients of the whole selection.
    fn makes_masks(&self) -> bool {
        self.unmasked || self.config.refresh == MaskRefresh::EachStep
    }

    /// Whether no trained entry can move before all gradients are there.
    fn waits_for_all(&self) -> bool {
        self.config.max_grad_norm.is_some() || (self.makes_masks() && self.masks_need_all())
    }

    /// Whether a mask depends on the gradients of other parameters: where one threshold is for all, unless it keeps all, and
    /// where it is sampled.
    fn masks_need_all(&self) -> bool {
        let selected = self.params_of(self.selector.selected());
        let entries: u64 = selected.map(|param| self.parameters[param].info.numel).sum();
        let exact = self.config.threshold == MaskThreshold::Exact;
        !exact || (self.config.mask == MaskScope::Global && self.keep < entries)
    }

    /// Moves whatever has a gradient: the parameters in `inactive` by the inactive rule, all others as selected ones.
    fn update<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
        clip: Option<Tensor<1>>,
        inactive: &BTreeSet<usize>,
    ) -> M {
        if gradients.is_empty() {
            return module;
        }
        let rates = self.rates();
        let turn = self.selector.step().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        module.map(&mut Updater {
            config: &self.config,
            learning_rate,
            clip,
            gradients,
            parameters: &self.parameters,
            index: &self.index,
            states: &mut self.states,
            momenta: &mut self.momenta,
            recovered: &mut self.recovered,
            rates: &rates,
            inactive,
            seed: self.config.seed.wrapping_add(turn),
        })
    }

    /// Makes the masks of the parameters in `masked`, which are selected, from the step's gradients, and the state of what
    /// is trained. What has no gradient takes part as if it were zero: it may get one in the next step.
    fn make_masks<M: Module>(
        &mut self,
        module: &M,
        gradients: &GradientsParams,
        clip: Option<&Tensor<1>>,
        masked: &BTreeSet<usize>,
    ) -> Result<(), OptimError> {
        let mut flat = flat_gradients(module, gradients, &self.index);
        flat.retain(|param, _| masked.contains(param));
        let device = module.devices().remove(0).without_autodiff();
        for param in masked {
            let numel = self.parameters[*param].info.numel as usize;
            flat.entry(*param)
                .or_insert_with(|| Tensor::full([numel], 0.0, (&device, DType::F32)));
        }
        let plan = MaskPlan {
            groups: self.mask_groups(),
            scope: self.config.mask,
            threshold: self.config.threshold,
            seed: self.config.seed.wrapping_add(self.selector.step()),
        };
        let masks = plan.masks(&self.scores(module, &flat))?;
        self.states
            .make(masks, flat, &*self.config.update, clip, &self.parameters, &device);
        Ok(())
    }

    /// What shares a number of entries to keep: each selected block that has a budget of its own, or the whole selection.
    fn mask_groups(&self) -> Vec<MaskGroup> {
        let selected = self.selector.selected();
        let group = |blocks: &[BlockId], keep| MaskGroup {
            sizes: self
                .params_of(blocks)
                .map(|param| (param, self.parameters[param].info.numel))
                .collect(),
            keep,
        };
        match self.selector.budgets() {
            Some(budgets) => {
                let blocks = selected.iter().zip(budgets);
                blocks.map(|(block, keep)| group(&[*block], keep)).collect()
            }
            None => vec![group(selected, self.keep)],
        }
    }

    /// What the entries of parameters are ranked by, whose gradients are in `flat`.
    fn scores<M: Module>(&self, module: &M, flat: &BTreeMap<usize, Tensor<1>>) -> BTreeMap<usize, Tensor<1>> {
        let score = &*self.config.score;
        let mut weights = if score.is_gradient() {
            BTreeMap::new()
        } else {
            flat_weights(module, &flat.keys().copied().collect(), &self.index)
        };
        let one = |(param, gradient): (&usize, &Tensor<1>)| {
            let context = ScoreContext {
                parameter: &self.parameters[*param],
                seed: self.config.seed,
                step: self.selector.step(),
            };
            let weight = || {
                weights
                    .remove(param)
                    .expect("a selected parameter is in the module")
            };
            (*param, scores(score, self.config.unit, context, weight, gradient))
        };
        flat.iter().map(one).collect()
    }

    /// What the learning rate of each selected parameter is multiplied with.
    fn rates(&self) -> BTreeMap<usize, f64> {
        let mut rates = BTreeMap::new();
        for block in self.selector.selected() {
            let rate = self.selector.rate(*block);
            rates.extend(self.params_of(&[*block]).map(|param| (param, rate)));
        }
        rates
    }
}
