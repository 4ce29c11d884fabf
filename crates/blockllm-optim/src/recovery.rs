//! Recovery scaling: masked-out entries of selected matrices follow their gradient, as far as the trained ones of their column go.
use crate::precision::in_f32;
use crate::record::mismatch;
use crate::sparse_state::SparseState;
use crate::{OptimError, OptimizerRecord};
use blockllm_tensors::HeldTensor;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// **Choice:** what the entries of selected parameters do that their mask leaves out, in proportion to those that it keeps
/// (Fira, arXiv 2410.01623, with a mask in place of its subspace; `SubTrack++` likewise).
///
/// An entry `j` of column `c` moves by `-g_j |d_c| / |g_c|`: `d_c` are the changes that the update rule has just made to the
/// trained entries of the column (a decay among them), `g_c` their gradients. A column is all weights of an output of a matrix, all of a vector; where
/// none of it is trained it stays. Nothing is kept but one number a parameter, which bounds how fast the movement's norm grows.
/// What it computes with, six arrays as long as the parameter, exists for one masked parameter at a time. For f32 weights: the
/// changes of rounded ones do not tell how far they were to go.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recovery {
    /// By how much the norm of a parameter's recovered movement, over the learning rate, may grow from one step to the next, at
    /// most; 1.01 in Fira.
    pub growth: f64,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { growth: 1.01 }
    }
}

impl Recovery {
    pub(crate) fn validate(self) -> Result<(), OptimError> {
        if self.growth.is_finite() && self.growth >= 1.0 {
            return Ok(());
        }
        Err(OptimError::Setting {
            field: "recovery.growth",
            value: self.growth.to_string(),
            mend: "use a number of 1 or more, such as 1.01",
        })
    }
}

/// The norm of each parameter's latest recovered movement over the learning rate: `[1]`, on the device.
#[derive(Debug, Default)]
pub(crate) struct RecoveredNorms(BTreeMap<usize, Tensor<1>>);

/// A parameter whose trained entries have just been updated, flat: `[n_l]` each.
pub(crate) struct Updated {
    pub before: Tensor<1>,
    pub after: Tensor<1>,
    pub gradient: Tensor<1>,
    /// The learning rate of the update.
    pub learning_rate: f64,
    /// Its last dimension; one for a vector.
    pub columns: usize,
    /// Its position.
    pub param: usize,
}

impl RecoveredNorms {
    /// The weight after its masked-out entries have moved too; those that `state` trains keep their bits.
    pub fn recovered(&mut self, updated: Updated, state: &SparseState, recovery: Recovery) -> Tensor<1> {
        let Updated {
            before,
            after,
            gradient,
            learning_rate,
            columns,
            param,
        } = updated;
        let trained = state.trained().filter(|_| learning_rate > 0.0);
        let Some(trained) = trained else {
            return after;
        };
        let numel = after.dims()[0];
        let gradient = in_f32(gradient);
        let squares_of_columns = |values: Tensor<1>| -> Tensor<2> {
            values.square().reshape([numel / columns, columns]).sum_dim(0) // [1, columns]
        };
        let changes = squares_of_columns((after.clone() - before).div_scalar(learning_rate));
        let gradients = squares_of_columns(gradient.clone().mask_fill(trained.clone().bool_not(), 0.0));
        let none = gradients.clone().equal_elem(0.0);
        let ratios = (changes / gradients).sqrt().mask_fill(none, 0.0);
        let movement = gradient.reshape([numel / columns, columns]) * ratios;
        let movement = movement.reshape([numel]).mask_fill(trained.clone(), 0.0);
        let norm = movement.clone().square().sum().sqrt(); // [1]
        let factor = match self.0.remove(&param) {
            // As much shorter as it has grown too fast; a norm of zero bounds nothing.
            Some(last) => {
                let allowed = last.clone().mul_scalar(recovery.growth) / norm.clone();
                let unbounded = last.equal_elem(0.0).bool_or(norm.clone().equal_elem(0.0));
                allowed.clamp_max(1.0).mask_fill(unbounded, 1.0)
            }
            None => Tensor::ones([1], (&norm.device(), DType::F32)),
        };
        self.0.insert(param, norm * factor.clone());
        let moved = after.clone() - (movement * factor).mul_scalar(learning_rate);
        moved.mask_where(trained, after)
    }

    /// Those of the parameters that `keep` names, when a selection has changed what is trained.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.0.retain(|param, _| keep(*param));
    }

    /// Bytes of the tensors held.
    pub fn bytes(&self) -> u64 {
        self.0.len() as u64 * 4
    }

    /// Puts the tensors under names of their own; the positions they belong to.
    pub fn record(&self, tensors: &mut BTreeMap<String, HeldTensor>) -> Vec<usize> {
        for (param, norm) in &self.0 {
            tensors.insert(name(*param), HeldTensor::float(norm.clone()));
        }
        self.0.keys().copied().collect()
    }

    /// The norms of a record, which has those of the parameters at `kept`, of `parameters` in all.
    ///
    /// # Errors
    /// When it has one of a parameter that does not exist.
    pub fn read(
        kept: Vec<usize>,
        parameters: usize,
        record: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<Self, OptimError> {
        let one = |param: usize| {
            if param >= parameters {
                return Err(mismatch(
                    "recovered norm of parameter",
                    &param.to_string(),
                    &"no such parameter",
                ));
            }
            let values = record.take(&name(param), 1)?;
            Ok((param, Tensor::from_data(values, (device, DType::F32))))
        };
        Ok(Self(kept.into_iter().map(one).collect::<Result<_, _>>()?))
    }
}

/// The name of a parameter's norm in a record.
fn name(param: usize) -> String {
    format!("recovery.{param}")
}
