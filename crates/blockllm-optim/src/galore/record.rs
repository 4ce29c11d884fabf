//! What `GaLore` remembers across a resume: moments, bases, and the number of steps.
use super::GaLoreOptimizer;
use crate::record::{check_parameters, infos, mismatch};
use crate::{OptimError, OptimizerRecord};
use blockllm_policy::ParamInfo;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    parameters: Vec<ParamInfo>,
    rank: usize,
    galore_steps: u64,
}

impl GaLoreOptimizer {
    /// Everything that [`restore`](Self::restore) needs.
    ///
    /// # Errors
    /// When the device fails while the state is read back.
    pub fn record(&self) -> Result<OptimizerRecord, OptimError> {
        let mut tensors = BTreeMap::new();
        for (param, state) in &self.states {
            state.record(&format!("state.{param}"), &mut tensors)?;
        }
        let meta = Meta {
            parameters: infos(&self.parameters),
            rank: self.config.rank,
            galore_steps: self.steps,
        };
        Ok(OptimizerRecord::new(&meta, tensors))
    }

    /// Goes on from a record that an optimizer of the same module and settings made.
    ///
    /// # Errors
    /// Names what differs when the record is of another model or rank.
    pub fn restore(&mut self, mut record: OptimizerRecord, device: &Device) -> Result<(), OptimError> {
        let meta: Meta = record.meta("GaLore's")?;
        check_parameters(&self.parameters, &meta.parameters)?;
        if meta.rank != self.config.rank {
            return Err(mismatch("rank", &meta.rank.to_string(), &self.config.rank));
        }
        let device = device.clone().without_autodiff();
        if meta.galore_steps > 0 {
            for (param, state) in &mut self.states {
                state.restore(&format!("state.{param}"), &mut record, &device)?;
            }
        }
        self.steps = meta.galore_steps;
        Ok(())
    }
}
