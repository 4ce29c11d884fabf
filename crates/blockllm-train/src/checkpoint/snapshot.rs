//! What one checkpoint is made of, held without a copy until it is written.

use super::files::{BASE, MODEL, OPTIMIZER, STATE};
use super::seal::{Hashes, seal};
use crate::{TrainError, TrainingOptimizer};
use blockllm_data::atomic_file::write_atomically;
use blockllm_tensors::{HeldTensor, digest, write_tensors};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The digests of parameters that training has left as they were, by path; kept from one checkpoint to the next.
pub(super) type Digests = Arc<Mutex<BTreeMap<String, String>>>;

/// Weights, optimizer and place of a run after a step. Its tensors share the memory of the run, which copies what it goes on
/// to change while they are being written.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub step: u64,
    /// Parameters that training may have changed.
    changed: Vec<(String, HeldTensor)>,
    /// All others: they are what the run began with, and only their digests are written.
    unchanged: Vec<(String, HeldTensor)>,
    optimizer: Vec<(String, HeldTensor)>,
    state: String,
}

impl Snapshot {
    /// Of `model` and `optimizer`; `state_with` gets what the optimizer knows beside its tensors. `all` holds whatever can
    /// be trained, changed or not: then its weights can be put over those of a later step.
    ///
    /// # Errors
    /// When the device fails.
    pub fn of<M: Module + 'static, T: Serialize>(
        model: &M,
        optimizer: &dyn TrainingOptimizer<M>,
        step: u64,
        all: bool,
        state_with: impl FnOnce(serde_json::Value) -> T,
    ) -> Result<Self, TrainError> {
        let changed: BTreeSet<&str> = if all {
            optimizer.trainable_parameters()
        } else {
            optimizer.changed_parameters()
        }
        .into_iter()
        .collect();
        let (changed, unchanged) = parameters(model)
            .into_iter()
            .partition(|(path, _)| changed.contains(path.as_str()));
        let record = optimizer.record()?;
        let state = state_with(record.meta);
        Ok(Self {
            step,
            changed,
            unchanged,
            optimizer: record.tensors.into_iter().collect(),
            state: serde_json::to_string(&state).expect("a checkpoint's state has only string keys"),
        })
    }

    /// Writes all files into `folder` and seals them.
    pub(super) fn write(self, folder: &Path, digests: &Digests) -> Result<(), TrainError> {
        let mut hashes = Hashes::new();
        hashes.insert(MODEL, write_tensors(&folder.join(MODEL), &self.changed, None)?);
        hashes.insert(
            OPTIMIZER,
            write_tensors(&folder.join(OPTIMIZER), &self.optimizer, None)?,
        );
        let base = base_of(&self.unchanged, digests)?;
        let base = serde_json::to_string_pretty(&base).expect("digests have only string keys");
        for (name, text) in [(BASE, base), (STATE, self.state)] {
            write_atomically(&folder.join(name), text.as_bytes())?;
        }
        seal(folder, hashes, &[BASE, STATE])
    }
}

/// The digests of `tensors`: what never changed needs to be read once only.
fn base_of(
    tensors: &[(String, HeldTensor)],
    digests: &Digests,
) -> Result<BTreeMap<String, String>, TrainError> {
    let mut known = digests.lock().unwrap_or_else(PoisonError::into_inner);
    let mut base = BTreeMap::new();
    for (path, tensor) in tensors {
        if !known.contains_key(path) {
            known.insert(path.clone(), digest(path, tensor)?);
        }
        base.insert(path.clone(), known[path].clone());
    }
    Ok(base)
}

/// The float parameters of `module` by path, bit for bit.
pub(super) fn parameters<M: Module>(module: &M) -> Vec<(String, HeldTensor)> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.parameters
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    parameters: Vec<(String, HeldTensor)>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = HeldTensor::float(param.base().inner());
        self.parameters.push((self.path.join("."), tensor));
    }
}
