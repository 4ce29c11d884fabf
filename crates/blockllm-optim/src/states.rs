//! Optimizer state of everything that is trained: made with the masks, dropped with the selection.
use crate::grad_norm::SumsOfSquares;
use crate::mask::Mask;
use crate::precision::in_f32;
use crate::record::mismatch;
use crate::sparse_state::{SparseState, SparseStateRecord};
use crate::{MomentPrecision, OptimError, OptimizerRecord, Parameter, StateEstimate, UpdateRule};
use blockllm_tensors::HeldTensor;
use burn::tensor::{DType, Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// States by position in the parameter list: those of `A` stay, those of `S` live as long as the selection.
#[derive(Debug)]
pub(crate) struct States {
    always: BTreeSet<usize>,
    by_param: BTreeMap<usize, SparseState>,
    moments: MomentPrecision,
    master_weights: bool,
}

impl States {
    /// No state yet; that of the parameters in `always` is kept over selections.
    pub(crate) fn new(always: BTreeSet<usize>, moments: MomentPrecision, master_weights: bool) -> Self {
        Self {
            always,
            by_param: BTreeMap::new(),
            moments,
            master_weights,
        }
    }

    /// `A`: the always-trained parameters.
    pub(crate) fn always(&self) -> &BTreeSet<usize> {
        &self.always
    }

    /// Drops the state of all but `A` and the parameters in `stay`: what left the selection is gone, and with an
    /// empty `stay` all moments of the selection are reset.
    pub(crate) fn drop_all_but(&mut self, stay: &BTreeSet<usize>) {
        let Self { always, by_param, .. } = self;
        by_param.retain(|param, _| always.contains(param) || stay.contains(param));
    }

    /// Makes the state of selected parameters under their `masks`; `gradients` are theirs, `[n_l]` each. Where a parameter still
    /// has state, the entries that stay keep it, and those that join get what their clipped gradient would have left;
    /// else state begins afresh, as it does for an `A` that has none.
    pub(crate) fn make(
        &mut self,
        masks: BTreeMap<usize, Mask>,
        mut gradients: BTreeMap<usize, Tensor<1>>,
        rule: &dyn UpdateRule,
        clip: Option<&Tensor<1>>,
        parameters: &[Parameter],
        device: &Device,
    ) {
        for (param, mask) in masks {
            let gradient = gradients.remove(&param).expect("a mask is made of a gradient");
            let state = self.by_param.remove(&param);
            // A selected parameter without a trained entry needs no state, and stays as it is.
            if mask.is_none() {
                continue;
            }
            let state = match state {
                Some(state) => {
                    let gradient = in_f32(gradient);
                    let clipped = match clip {
                        Some(clip) => gradient * clip.clone(),
                        None => gradient,
                    };
                    state.carried_over(mask, rule, &clipped)
                }
                None => SparseState::new(mask, self.settings(&parameters[param], rule), rule, device),
            };
            self.by_param.insert(param, state);
        }
        for param in self.always.clone() {
            if !self.by_param.contains_key(&param) {
                let settings = self.settings(&parameters[param], rule);
                self.by_param
                    .insert(param, SparseState::new(Mask::All, settings, rule, device));
            }
        }
    }

    fn settings(&self, parameter: &Parameter, rule: &dyn UpdateRule) -> StateEstimate {
        let numel = parameter.info.numel;
        StateEstimate {
            moments: self.moments,
            master: self.master_weights && parameter.dtype != DType::F32,
            ..StateEstimate::new(numel, numel, rule.state_arrays() as u64)
        }
    }

    /// The forms of all states; their tensors go into `tensors`.
    pub(crate) fn record(
        &self,
        tensors: &mut BTreeMap<String, HeldTensor>,
    ) -> BTreeMap<usize, SparseStateRecord> {
        let one = |(param, state): (&usize, &SparseState)| (*param, state.record(&prefix(*param), tensors));
        self.by_param.iter().map(one).collect()
    }

    /// Refuses states that another update rule, precision of the moments, or type of the weights made: the next
    /// step would read them as something else.
    pub(crate) fn check(
        &self,
        records: &BTreeMap<usize, SparseStateRecord>,
        rule: &dyn UpdateRule,
        parameters: &[Parameter],
    ) -> Result<(), OptimError> {
        for (param, record) in records {
            let Some(parameter) = parameters.get(*param) else {
                return Err(mismatch(
                    "state of parameter",
                    &param.to_string(),
                    &"no such parameter",
                ));
            };
            let (found, own) = (record.estimate(), self.settings(parameter, rule));
            if found.numel != own.numel {
                return Err(mismatch(
                    "entries of a state",
                    &found.numel.to_string(),
                    &own.numel,
                ));
            }
            if found.arrays != own.arrays {
                return Err(mismatch(
                    "state arrays per entry",
                    &found.arrays.to_string(),
                    &own.arrays,
                ));
            }
            if found.moments != own.moments {
                let name = |moments: MomentPrecision| format!("{moments:?}").to_lowercase();
                return Err(mismatch("moments in", &name(found.moments), &name(own.moments)));
            }
            if found.master != own.master {
                let name = |master| if master { "f32 copies" } else { "none" };
                return Err(mismatch("master weights", name(found.master), &name(own.master)));
            }
        }
        Ok(())
    }

    /// The states of a record.
    pub(crate) fn read(
        records: BTreeMap<usize, SparseStateRecord>,
        rule: &dyn UpdateRule,
        record: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<BTreeMap<usize, SparseState>, OptimError> {
        let one = |(param, form): (usize, SparseStateRecord)| {
            let state = SparseState::from_record(form, &prefix(param), rule, record, device)?;
            Ok((param, state))
        };
        records.into_iter().map(one).collect()
    }

    /// Takes these states for those it had.
    pub(crate) fn replace(&mut self, states: BTreeMap<usize, SparseState>) {
        self.by_param = states;
    }

    /// The state of a parameter, if it has trained entries.
    pub(crate) fn get_mut(&mut self, param: usize) -> Option<&mut SparseState> {
        self.by_param.get_mut(&param)
    }

    /// Measures the processed gradient of each parameter in `params` that has moments.
    pub(crate) fn measure_processed(
        &self,
        params: &BTreeSet<usize>,
        rule: &dyn UpdateRule,
        sums: &mut SumsOfSquares,
    ) {
        for (param, state) in self.by_param.iter().filter(|(param, _)| params.contains(param)) {
            if let Some(processed) = state.processed(rule) {
                sums.measure(*param, processed);
            }
        }
    }

    /// Entries that have state, counted.
    pub(crate) fn trained_entries(&self) -> u64 {
        self.by_param.values().map(SparseState::trained_entries).sum()
    }

    /// Bytes of the tensors held.
    pub(crate) fn bytes(&self) -> u64 {
        self.by_param.values().map(SparseState::bytes).sum()
    }

    /// What [`bytes`](Self::bytes) should be.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        self.by_param.values().map(|state| state.estimate().bytes()).sum()
    }
}

/// What the names of a parameter's tensors begin with.
fn prefix(param: usize) -> String {
    format!("state.{param}")
}
