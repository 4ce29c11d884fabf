//! The state of one parameter, saved and restored.
use super::{Form, Master, SparseState, StateEstimate};
use crate::moments::Moments;
use crate::record::mismatch;
use crate::{MomentPrecision, OptimError, OptimizerRecord, UpdateRule};
use blockllm_kernels::Coding;
use blockllm_tensors::HeldTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form of a saved state; its tensors are kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparseStateRecord {
    form: FormName,
    numel: u64,
    trained: u64,
    arrays: u64,
    moments: MomentPrecision,
    master: bool,
    steps: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FormName {
    Whole,
    Dense,
    Compact,
}

impl SparseStateRecord {
    /// Sizes and precisions.
    pub(crate) fn estimate(&self) -> StateEstimate {
        StateEstimate {
            numel: self.numel,
            trained: self.trained,
            arrays: self.arrays,
            moments: self.moments,
            master: self.master,
        }
    }
}

impl SparseState {
    /// The form; the tensors go under names that begin with `prefix`.
    pub(crate) fn record(
        &self,
        prefix: &str,
        tensors: &mut BTreeMap<String, HeldTensor>,
    ) -> SparseStateRecord {
        for (array, values) in self.arrays.iter().enumerate() {
            values.record(&format!("{prefix}.{array}"), tensors);
        }
        if let Form::Compact(indices) = &self.form {
            tensors.insert(
                format!("{prefix}.indices"),
                HeldTensor::ints(Tensor::clone(indices)),
            );
        }
        if let Some(Master::Ready(weights)) = &self.master {
            tensors.insert(
                format!("{prefix}.master"),
                HeldTensor::float(Tensor::clone(weights)),
            );
        }
        let form = match self.form {
            Form::Whole => FormName::Whole,
            Form::Dense => FormName::Dense,
            Form::Compact(_) => FormName::Compact,
        };
        let StateEstimate {
            numel,
            trained,
            arrays,
            moments,
            master,
        } = self.estimate;
        SparseStateRecord {
            form,
            numel,
            trained,
            arrays,
            moments,
            master,
            steps: self.steps,
        }
    }

    /// The state of a record; takes its tensors out of it.
    pub(crate) fn from_record(
        record: SparseStateRecord,
        prefix: &str,
        rule: &dyn UpdateRule,
        tensors: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<Self, OptimError> {
        let estimate = record.estimate();
        let len = match record.form {
            FormName::Whole | FormName::Dense => record.numel,
            FormName::Compact => record.trained,
        };
        let mut arrays = Vec::with_capacity(record.arrays as usize);
        for array in 0..record.arrays as usize {
            let name = format!("{prefix}.{array}");
            let excluding = array == 0 && matches!(record.form, FormName::Dense);
            let coding = Coding::nearest(rule.is_non_negative(array)).with_excluded(excluding);
            arrays.push(Moments::from_record(
                &name,
                len,
                estimate.moments,
                coding,
                tensors,
                device,
            )?);
        }
        let form = match record.form {
            FormName::Whole => Form::Whole,
            FormName::Dense => Form::Dense,
            FormName::Compact => {
                let name = format!("{prefix}.indices");
                let indices = tensors.take(&name, len)?;
                check_indices(&indices, record.numel, &name)?;
                Form::Compact(Box::new(Tensor::from_data(indices, (device, DType::I32))))
            }
        };
        let master = if record.master && record.steps > 0 {
            let weights = tensors.take(&format!("{prefix}.master"), len)?;
            Some(Master::Ready(Box::new(Tensor::from_data(
                weights,
                (device, DType::F32),
            ))))
        } else {
            None
        };
        Ok(Self {
            form,
            arrays,
            master,
            estimate,
            steps: record.steps,
        })
    }
}

/// Refuses indices that are not those of entries, in their order: a kernel would write beyond the weights.
fn check_indices(indices: &TensorData, numel: u64, name: &str) -> Result<(), OptimError> {
    let mut least = 0;
    for index in indices.iter::<i64>() {
        if !(least..numel as i64).contains(&index) {
            return Err(mismatch(
                "a state",
                &format!("with {index} in `{name}`"),
                &format!("indices in order below {numel}"),
            ));
        }
        least = index + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_beyond_the_weights_or_out_of_order_are_refused_by_name() {
        let check = |indices: &[i32]| {
            let data = TensorData::new(indices.to_vec(), [indices.len()]);
            check_indices(&data, 5, "state.w.indices")
        };
        check(&[0, 2, 4]).unwrap();
        for wrong in [[0, 2, 5], [0, 2, 2], [3, 2, 4], [-1, 2, 4]] {
            let message = check(&wrong).unwrap_err().to_string();
            assert!(message.contains("state.w.indices"), "{message}");
        }
    }
}
