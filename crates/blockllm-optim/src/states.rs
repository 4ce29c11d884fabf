//! Optimizer state of everything that is trained: made with the masks, dropped with the selection.
use crate::sparse_state::{SparseState, SparseStateRecord};
use crate::{MaskScope, OptimError, OptimizerRecord, Parameter, TopK, mask};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::{BTreeMap, BTreeSet};

/// States by position in the parameter list: those of `A` stay, those of `S` live as long as the selection.
#[derive(Debug)]
pub(crate) struct States {
    always: BTreeSet<usize>,
    states: BTreeMap<usize, SparseState>,
}

impl States {
    /// No state yet; that of the parameters in `always` is kept over selections.
    pub(crate) fn new(always: BTreeSet<usize>) -> Self {
        Self {
            always,
            states: BTreeMap::new(),
        }
    }

    /// `A`: the always-trained parameters.
    pub(crate) fn always(&self) -> &BTreeSet<usize> {
        &self.always
    }

    /// Drops the state of the selection: the moments are reset, and what left is gone.
    pub(crate) fn drop_selection(&mut self) {
        self.states.retain(|param, _| self.always.contains(param));
    }

    /// Makes the masks that keep `keep` entries of the selection, whose gradients are `selected` (`[n_l]` each),
    /// and fresh state for them and for an `A` that has none.
    pub(crate) fn make(
        &mut self,
        selected: BTreeMap<usize, Tensor<1>>,
        keep: u64,
        scope: MaskScope,
        arrays: usize,
        parameters: &[Parameter],
    ) -> Result<(), OptimError> {
        let Some(device) = selected.values().next().map(Tensor::device) else {
            return Ok(());
        };
        let (params, gradients): (Vec<_>, Vec<_>) = selected.into_iter().unzip();
        let masks = match scope {
            MaskScope::Global => mask::largest(gradients, keep)?,
            MaskScope::PerParameter => mask::largest_of_each(gradients, keep)?,
        };
        let new_always = self
            .always
            .iter()
            .filter(|param| !self.states.contains_key(param));
        let always: Vec<_> = new_always.map(|param| (*param, TopK::All)).collect();
        for (param, mask) in params.into_iter().zip(masks).chain(always) {
            // A selected parameter without a trained entry needs no state, and stays as it is.
            if !mask.is_none() {
                let numel = parameters[param].info.numel;
                self.states
                    .insert(param, SparseState::new(mask, numel, arrays, &device));
            }
        }
        Ok(())
    }

    /// The forms of all states; their tensors go into `tensors`.
    pub(crate) fn record(
        &self,
        tensors: &mut BTreeMap<String, TensorData>,
    ) -> Result<BTreeMap<usize, SparseStateRecord>, OptimError> {
        let one =
            |(param, state): (&usize, &SparseState)| Ok((*param, state.record(&prefix(*param), tensors)?));
        self.states.iter().map(one).collect()
    }

    /// Replaces all states by those of a record.
    pub(crate) fn restore(
        &mut self,
        records: BTreeMap<usize, SparseStateRecord>,
        mut record: OptimizerRecord,
        device: &Device,
    ) -> Result<(), OptimError> {
        self.states.clear();
        for (param, form) in records {
            let state = SparseState::from_record(form, &prefix(param), &mut record, device)?;
            self.states.insert(param, state);
        }
        Ok(())
    }

    /// The state of a parameter, if it has trained entries.
    pub(crate) fn get_mut(&mut self, param: usize) -> Option<&mut SparseState> {
        self.states.get_mut(&param)
    }

    /// Entries that have state, counted.
    pub(crate) fn trained_entries(&self) -> u64 {
        self.states.values().map(SparseState::trained_entries).sum()
    }

    /// Bytes of the tensors held.
    pub(crate) fn bytes(&self) -> u64 {
        self.states.values().map(SparseState::bytes).sum()
    }

    /// What [`bytes`](Self::bytes) should be.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        self.states.values().map(|state| state.estimate().bytes()).sum()
    }
}

/// What the names of a parameter's tensors begin with.
fn prefix(param: usize) -> String {
    format!("state.{param}")
}
