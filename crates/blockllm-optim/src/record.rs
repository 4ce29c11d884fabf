//! A saved optimizer: a part for a text file, and named tensors; and what every kind of record is checked for.
use crate::{OptimError, Parameter};
use blockllm_policy::{ParamInfo, PolicyError};
use blockllm_tensors::HeldTensor;
use burn::tensor::{DType, TensorData};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// What an optimizer remembers across a resume. Whoever holds it decides where it is written; until then its tensors share
/// the memory of the optimizer, which copies what it goes on to change.
#[derive(Clone, Debug)]
pub struct OptimizerRecord {
    /// All that is no tensor, in the optimizer's own form.
    pub meta: serde_json::Value,
    /// State arrays, indices, bases, measured norms.
    pub tensors: BTreeMap<String, HeldTensor>,
}

impl OptimizerRecord {
    pub(crate) fn new(meta: &impl Serialize, tensors: BTreeMap<String, HeldTensor>) -> Self {
        Self {
            meta: serde_json::to_value(meta).expect("a record's parts have only string keys"),
            tensors,
        }
    }

    /// The part without tensors, if it is of the kind that is asked for.
    pub(crate) fn meta<T: DeserializeOwned>(&self, kind: &'static str) -> Result<T, OptimError> {
        serde_json::from_value(self.meta.clone())
            .map_err(|error| mismatch("optimizer", &error.to_string(), &kind))
    }

    /// Takes the tensor of that name and number of entries; until then it may have stayed in its file.
    pub(crate) fn take(&mut self, name: &str, entries: u64) -> Result<TensorData, OptimError> {
        let held = self.tensors.remove(name);
        let held = held.filter(|held| held.num_elements() as u64 == entries);
        let held = held.ok_or_else(|| {
            mismatch(
                "a state",
                &format!("without `{name}`, or of another length"),
                &format!("{entries} entries"),
            )
        })?;
        Ok(held.into_data(name)?)
    }
}

/// Refuses a record of another model.
pub(crate) fn check_parameters(own: &[Parameter], saved: &[ParamInfo]) -> Result<(), OptimError> {
    // State is flat: it means the same under another shape of as many entries.
    let differs = |own: &ParamInfo, saved: &ParamInfo| (&own.path, own.numel) != (&saved.path, saved.numel);
    if let Some((own, saved)) = own
        .iter()
        .zip(saved)
        .find(|(own, saved)| differs(&own.info, saved))
    {
        let name = |info: &ParamInfo| format!("`{}` with {} entries", info.path, info.numel);
        return Err(mismatch("parameter", &name(saved), &name(&own.info)));
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

/// Refuses a record that was made under other settings; both are objects, and a key that one lacks is null there.
pub(crate) fn check_settings(saved: &serde_json::Value, own: &serde_json::Value) -> Result<(), OptimError> {
    let names = |of: &serde_json::Value| -> BTreeSet<String> {
        of.as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    for name in names(own).union(&names(saved)) {
        let (saved, own) = (&saved[name.as_str()], &own[name.as_str()]);
        if saved != own {
            return Err(mismatch("setting", &format!("{name} = {saved}"), own));
        }
    }
    Ok(())
}

/// Path and size of every parameter.
pub(crate) fn infos(parameters: &[Parameter]) -> Vec<ParamInfo> {
    parameters
        .iter()
        .map(|parameter| parameter.info.clone())
        .collect()
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

/// The type of all saved statistics.
pub(crate) const SAVED: DType = DType::F32;
