//! Optimizer state of one parameter: whole, dense under a mask, or compact; the cheaper form is chosen.
use crate::record::read_back;
use crate::{OptimError, OptimizerRecord, StepContext, TopK, UpdateRule};
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Marks an excluded entry in the first state array of the dense form. No momentum reaches the largest float,
/// and comparing with it is exact on every backend, which NaN is not.
const EXCLUDED: f32 = f32::MAX;

/// Bytes of one f32 or one index.
const WORD_BYTES: u64 = 4;

/// What a parameter's state should take, by the formulas of ALGORITHM ("State").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateEstimate {
    /// Entries of the parameter, `n_l`.
    pub numel: u64,
    /// Entries trained, `k`.
    pub trained: u64,
    /// State arrays of the update rule.
    pub arrays: u64,
}

impl StateEstimate {
    /// Bytes of the cheaper form.
    pub fn bytes(&self) -> u64 {
        self.dense_bytes().min(self.compact_bytes())
    }

    fn dense_bytes(&self) -> u64 {
        self.numel * self.arrays * WORD_BYTES
    }

    fn compact_bytes(&self) -> u64 {
        self.trained * (self.arrays + 1) * WORD_BYTES
    }
}

/// The form of a saved state; its tensors are kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparseStateRecord {
    form: FormName,
    numel: u64,
    trained: u64,
    arrays: usize,
    steps: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FormName {
    Whole,
    Dense,
    Compact,
}

/// State of the trained entries of one parameter.
#[derive(Debug)]
pub(crate) struct SparseState {
    form: Form,
    arrays: Vec<Tensor<1>>,
    numel: u64,
    trained: u64,
    steps: u64,
}

#[derive(Debug)]
enum Form {
    /// Every entry is trained.
    Whole,
    /// Arrays over all entries; [`EXCLUDED`] marks those that are not trained.
    Dense,
    /// Arrays over the trained entries, and their indices.
    Compact(Box<Tensor<1, Int>>),
}

impl SparseState {
    /// Fresh state for the entries that `mask` keeps of a parameter with `numel` entries.
    pub(crate) fn new(mask: TopK, numel: u64, arrays: usize, device: &Device) -> Self {
        let trained = match &mask {
            TopK::All => numel,
            TopK::Some(kept) => kept.len() as u64,
        };
        let estimate = StateEstimate {
            numel,
            trained,
            arrays: arrays as u64,
        };
        let zeros = |len: u64| Tensor::<1>::zeros([len as usize], (device, DType::F32));
        let (form, arrays) = match mask {
            TopK::All => (Form::Whole, (0..arrays).map(|_| zeros(numel)).collect()),
            TopK::Some(kept) if estimate.compact_bytes() < estimate.dense_bytes() => {
                let data = TensorData::new(kept, [trained as usize]);
                let indices = Tensor::from_data(data, (device, DType::I32));
                (
                    Form::Compact(Box::new(indices)),
                    (0..arrays).map(|_| zeros(trained)).collect(),
                )
            }
            TopK::Some(kept) => {
                let mut first = vec![EXCLUDED; numel as usize];
                for index in kept {
                    first[index as usize] = 0.0;
                }
                let first = Tensor::from_data(TensorData::new(first, [numel as usize]), (device, DType::F32));
                let rest = (1..arrays).map(|_| zeros(numel));
                (Form::Dense, std::iter::once(first).chain(rest).collect())
            }
        };
        Self {
            form,
            arrays,
            numel,
            trained,
            steps: 0,
        }
    }

    /// The updated weight: trained entries changed by `rule`, all others the same bits.
    ///
    /// # Shapes
    /// `weight`, `gradient`: `[n_l]`.
    pub(crate) fn apply(
        &mut self,
        rule: &dyn UpdateRule,
        learning_rate: f64,
        weight: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        self.steps += 1;
        let context = StepContext {
            learning_rate,
            state_step: self.steps,
        };
        let state = std::mem::take(&mut self.arrays);
        let (weight, state) = match &self.form {
            Form::Whole => {
                let (change, state) = rule.update(context, weight.clone(), gradient, state);
                (weight + change, state)
            }
            Form::Dense => apply_dense(rule, context, weight, gradient, state),
            Form::Compact(indices) => {
                let indices = Tensor::clone(indices);
                let trained = weight.clone().select(0, indices.clone());
                let gradient = gradient.select(0, indices.clone());
                let (change, state) = rule.update(context, trained, gradient, state);
                (
                    weight.select_assign(0, indices, change, IndexingUpdateOp::Add),
                    state,
                )
            }
        };
        self.arrays = state;
        weight
    }

    /// The form; the tensors go under names that begin with `prefix`.
    pub(crate) fn record(
        &self,
        prefix: &str,
        tensors: &mut BTreeMap<String, TensorData>,
    ) -> Result<SparseStateRecord, OptimError> {
        let arrays = self.arrays.iter().enumerate();
        let named = arrays.map(|(array, values)| (format!("{prefix}.{array}"), values.clone()));
        read_back(named.collect(), tensors)?;
        if let Form::Compact(indices) = &self.form {
            let indices = Tensor::clone(indices).try_into_data();
            let indices = indices.map_err(|error| OptimError::Device {
                what: "the mask",
                message: error.to_string(),
            })?;
            tensors.insert(format!("{prefix}.indices"), indices);
        }
        let form = match self.form {
            Form::Whole => FormName::Whole,
            Form::Dense => FormName::Dense,
            Form::Compact(_) => FormName::Compact,
        };
        Ok(SparseStateRecord {
            form,
            numel: self.numel,
            trained: self.trained,
            arrays: self.arrays.len(),
            steps: self.steps,
        })
    }

    /// The state of a record; takes its tensors out of it.
    pub(crate) fn from_record(
        record: SparseStateRecord,
        prefix: &str,
        tensors: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<Self, OptimError> {
        let entries = match record.form {
            FormName::Whole | FormName::Dense => record.numel,
            FormName::Compact => record.trained,
        };
        let mut arrays = Vec::with_capacity(record.arrays);
        for array in 0..record.arrays {
            let data = tensors.take(&format!("{prefix}.{array}"), entries)?;
            arrays.push(Tensor::from_data(data, (device, DType::F32)));
        }
        let form = match record.form {
            FormName::Whole => Form::Whole,
            FormName::Dense => Form::Dense,
            FormName::Compact => {
                let indices = tensors.take(&format!("{prefix}.indices"), entries)?;
                Form::Compact(Box::new(Tensor::from_data(indices, (device, DType::I32))))
            }
        };
        Ok(Self {
            form,
            arrays,
            numel: record.numel,
            trained: record.trained,
            steps: record.steps,
        })
    }

    /// Entries that are trained.
    pub(crate) fn trained_entries(&self) -> u64 {
        self.trained
    }

    /// Bytes of the tensors held, counted from their shapes and types.
    pub(crate) fn bytes(&self) -> u64 {
        let indices = match &self.form {
            Form::Compact(indices) => bytes_of(indices.dims()[0], indices.dtype()),
            Form::Whole | Form::Dense => 0,
        };
        indices
            + self
                .arrays
                .iter()
                .map(|array| bytes_of(array.dims()[0], array.dtype()))
                .sum::<u64>()
    }

    /// What [`bytes`](Self::bytes) should be.
    pub(crate) fn estimate(&self) -> StateEstimate {
        StateEstimate {
            numel: self.numel,
            trained: self.trained,
            arrays: self.arrays.len() as u64,
        }
    }
}

fn apply_dense(
    rule: &dyn UpdateRule,
    context: StepContext,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    state: Vec<Tensor<1>>,
) -> (Tensor<1>, Vec<Tensor<1>>) {
    let excluded = state[0].clone().equal_elem(EXCLUDED);
    let (change, mut state) = rule.update(context, weight.clone(), gradient, state);
    let first = state.remove(0).mask_fill(excluded.clone(), EXCLUDED);
    state.insert(0, first);
    // `w + 0` would turn -0.0 into 0.0: an excluded entry keeps its bits only when it is put back.
    ((weight.clone() + change).mask_where(excluded, weight), state)
}

fn bytes_of(len: usize, dtype: DType) -> u64 {
    len as u64 * dtype.size() as u64
}
