//! What a block optimizer remembers across a resume: with it a run goes on as if it had never stopped.
use super::BlockOptimizer;
use crate::OptimError;
use crate::sparse_state::SparseStateRecord;
use blockllm_policy::{ParamInfo, PolicyError, Reason, SelectorState};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A saved optimizer: a part for a text file, and named tensors. Whoever holds it decides where it is written.
#[derive(Clone, Debug)]
pub struct OptimizerRecord {
    /// Selection, visits, loss history, random numbers, and the form of every state.
    pub meta: OptimizerMeta,
    /// State arrays, indices and measured norms.
    pub tensors: BTreeMap<String, TensorData>,
}

/// The part of an [`OptimizerRecord`] that holds no tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerMeta {
    parameters: Vec<ParamInfo>,
    selector: SelectorState,
    states: BTreeMap<usize, SparseStateRecord>,
    measured: Vec<usize>,
    pending: Option<Reason>,
    unmasked: Option<u64>,
}

/// Name of the tensor with the sums of squared gradients.
const SUMS: &str = "sums_of_squares";

impl BlockOptimizer {
    /// Everything that [`restore`](Self::restore) needs; take it between [`observe`](Self::observe) and the next
    /// [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// When the device fails while the state is read back.
    pub fn record(&self) -> Result<OptimizerRecord, OptimError> {
        let mut tensors = BTreeMap::new();
        let states = self.states.record(&mut tensors)?;
        if !self.sums.is_empty() {
            let sums = Tensor::cat(self.sums.values().cloned().collect(), 0);
            let data = sums.try_into_data().map_err(|error| OptimError::Device {
                what: "gradient norms",
                message: error.to_string(),
            })?;
            tensors.insert(SUMS.to_owned(), data);
        }
        let meta = OptimizerMeta {
            parameters: self.infos(),
            selector: self.selector.state(),
            states,
            measured: self.sums.keys().copied().collect(),
            pending: self.pending,
            unmasked: self.unmasked,
        };
        Ok(OptimizerRecord { meta, tensors })
    }

    /// Goes on from a record that an optimizer of the same module, settings and policy made.
    ///
    /// # Errors
    /// Names what differs when the record is of another model, policy or partition.
    pub fn restore(&mut self, mut record: OptimizerRecord, device: &Device) -> Result<(), OptimError> {
        self.check_parameters(&record.meta.parameters)?;
        let device = device.clone().without_autodiff();
        let measured = record.meta.measured;
        if !measured.is_empty() {
            let data = record
                .tensors
                .remove(SUMS)
                .filter(|data| data.num_elements() == measured.len());
            let data = data.ok_or_else(|| mismatch("measured norms", "another number", &measured.len()))?;
            let sums = Tensor::<1>::from_data(data, (&device, DType::F32)).chunk(measured.len(), 0);
            self.sums = measured.into_iter().zip(sums).collect();
        }
        self.states.restore(record.meta.states, record.tensors, &device)?;
        self.selector.restore(record.meta.selector)?;
        self.pending = record.meta.pending;
        self.unmasked = record.meta.unmasked;
        Ok(())
    }

    fn infos(&self) -> Vec<ParamInfo> {
        self.parameters
            .iter()
            .map(|parameter| parameter.info.clone())
            .collect()
    }

    fn check_parameters(&self, saved: &[ParamInfo]) -> Result<(), OptimError> {
        let own = self.infos();
        let differing = own.iter().zip(saved).find(|(own, saved)| own != saved);
        if let Some((own, saved)) = differing {
            let name = |info: &ParamInfo| format!("`{}` with {} entries", info.path, info.numel);
            return Err(mismatch("parameter", &name(saved), &name(own)));
        }
        if own.len() != saved.len() {
            return Err(mismatch(
                "number of parameters",
                &saved.len().to_string(),
                &own.len(),
            ));
        }
        Ok(())
    }
}

/// The record is of something else.
pub(crate) fn mismatch(what: &'static str, found: &str, expected: &dyn std::fmt::Display) -> OptimError {
    let (found, expected) = (found.to_owned(), expected.to_string());
    PolicyError::StateMismatch {
        what,
        found,
        expected,
    }
    .into()
}
