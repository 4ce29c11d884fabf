//! What a block optimizer remembers across a resume: with it a run goes on as if it had never stopped.
use super::BlockOptimizer;
use crate::grad_norm::{self, SumsOfSquares};
use crate::record::{check_parameters, infos};
use crate::sparse_state::SparseStateRecord;
use crate::{OptimError, OptimizerRecord};
use blockllm_policy::{ParamInfo, Reason, SelectorState};
use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    parameters: Vec<ParamInfo>,
    selector: SelectorState,
    states: BTreeMap<usize, SparseStateRecord>,
    measured: Vec<usize>,
    pending: Option<Reason>,
    keep: u64,
    unmasked: bool,
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
        let [sums] = grad_norm::read_back([&self.sums])?;
        if !sums.is_empty() {
            let values: Vec<f32> = sums.values().map(|sum| *sum as f32).collect();
            let shape = [values.len()];
            tensors.insert(SUMS.to_owned(), TensorData::new(values, shape));
        }
        let meta = Meta {
            parameters: infos(&self.parameters),
            selector: self.selector.state(),
            states,
            measured: self.sums.measured().iter().copied().collect(),
            pending: self.pending,
            keep: self.keep,
            unmasked: self.unmasked,
        };
        Ok(OptimizerRecord::new(&meta, tensors))
    }

    /// Goes on from a record that an optimizer of the same module, settings and policy made.
    ///
    /// # Errors
    /// Names what differs when the record is of another model, policy or partition.
    pub fn restore(&mut self, mut record: OptimizerRecord, device: &Device) -> Result<(), OptimError> {
        let meta: Meta = record.meta("a block optimizer's")?;
        check_parameters(&self.parameters, &meta.parameters)?;
        self.states
            .check(&meta.states, self.config.update.rule(), &self.parameters)?;
        let device = device.clone().without_autodiff();
        // The selector checks most and changes nothing when it refuses; it goes first.
        self.selector.restore(meta.selector)?;
        let measured = meta.measured;
        if !measured.is_empty() {
            let data = record.take(SUMS, measured.len() as u64)?;
            let sums = measured.into_iter().zip(data.iter::<f32>()).collect();
            self.sums = SumsOfSquares::from_measured(self.parameters.len(), &sums, &device);
        }
        self.states
            .restore(meta.states, self.config.update.rule(), record, &device)?;
        self.keep = meta.keep;
        self.pending = meta.pending;
        self.unmasked = meta.unmasked;
        Ok(())
    }
}
