//! What a block optimizer remembers across a resume: with it a run goes on as if it had never stopped.
use super::BlockOptimizer;
use crate::grad_norm::{self, SumsOfSquares};
use crate::parts::Parts;
use crate::record::{check_parameters, check_settings, infos};
use crate::recovery::RecoveredNorms;
use crate::sparse_state::SparseStateRecord;
use crate::states::States;
use crate::{BlockOptimizerConfig, MaskUnit, OptimError, OptimizerRecord};
use blockllm_policy::{ParamInfo, Reason, SelectorState};
use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    parameters: Vec<ParamInfo>,
    /// What the state depends on; absent in records of earlier versions.
    #[serde(default)]
    settings: Option<serde_json::Value>,
    selector: SelectorState,
    states: BTreeMap<usize, SparseStateRecord>,
    /// Parameters with a momentum of the inactive rule.
    #[serde(default)]
    momenta: Vec<usize>,
    /// Parameters with a norm of recovered movement.
    #[serde(default)]
    recovered: Vec<usize>,
    measured: Vec<usize>,
    /// Parameters with a moving average of their norms.
    #[serde(default)]
    averaged: Vec<usize>,
    /// Parameters with a moving average of their weights' norms; not written where there is none, as in records of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    averaged_weights: Vec<usize>,
    pending: Option<Reason>,
    keep: u64,
    unmasked: bool,
}

/// Name of the tensor with the sums of squared gradients.
const SUMS: &str = "sums_of_squares";

/// Name of the tensor with their moving averages.
const AVERAGES: &str = "averages_of_squares";

/// Name of the tensor with the moving averages of the sums of squared weights.
const WEIGHT_AVERAGES: &str = "averages_of_squared_weights";

impl BlockOptimizer {
    /// Everything that [`restore`](Self::restore) needs; take it between [`observe`](Self::observe) and the next
    /// [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// When the device fails while norms are read back.
    pub fn record(&self) -> Result<OptimizerRecord, OptimError> {
        let mut tensors = BTreeMap::new();
        let states = self.states.record(&mut tensors);
        let momenta = self.momenta.record(&mut tensors);
        let recovered = self.recovered.record(&mut tensors);
        let measured = [&self.sums, &self.averages, &self.weight_averages];
        let names = [SUMS, AVERAGES, WEIGHT_AVERAGES];
        for (name, sums) in names.into_iter().zip(grad_norm::read_back(measured)?) {
            if !sums.is_empty() {
                let values: Vec<f32> = sums.values().map(|sum| *sum as f32).collect();
                let shape = [values.len()];
                tensors.insert(name.to_owned(), TensorData::new(values, shape).into());
            }
        }
        let meta = Meta {
            parameters: infos(&self.parameters),
            settings: Some(self.settings()),
            selector: self.selector.state(),
            states,
            momenta,
            recovered,
            measured: self.sums.measured().iter().copied().collect(),
            averaged: self.averages.measured().iter().copied().collect(),
            averaged_weights: self.weight_averages.measured().iter().copied().collect(),
            pending: self.pending,
            keep: self.keep,
            unmasked: self.unmasked,
        };
        Ok(OptimizerRecord::new(&meta, tensors))
    }

    /// Goes on from a record that an optimizer of the same module, settings and policy made.
    ///
    /// # Errors
    /// Names what differs when the record is of another model, policy, partition or setting that the state depends on;
    /// nothing has changed then.
    pub fn restore(&mut self, mut record: OptimizerRecord, device: &Device) -> Result<(), OptimError> {
        let meta: Meta = record.meta("a block optimizer's")?;
        check_parameters(&self.parameters, &meta.parameters)?;
        if let Some(settings) = &meta.settings {
            check_settings(settings, &self.settings())?;
        }
        self.states
            .check(&meta.states, &*self.config.update, &self.parameters)?;
        let device = device.clone().without_autodiff();
        let parameters = self.parameters.len();
        let mut sums_of = |name, measured: Vec<usize>| {
            if measured.is_empty() {
                return Ok::<_, OptimError>(None);
            }
            let data = record.take(name, measured.len() as u64)?;
            let sums = measured.into_iter().zip(data.iter::<f32>()).collect();
            Ok(Some(SumsOfSquares::from_measured(parameters, &sums, &device)))
        };
        let (sums, averages) = (sums_of(SUMS, meta.measured)?, sums_of(AVERAGES, meta.averaged)?);
        let weight_averages = sums_of(WEIGHT_AVERAGES, meta.averaged_weights)?;
        let rule = &*self.config.update;
        let states = States::read(meta.states, rule, &mut record, &device)?;
        let momenta = self
            .momenta
            .read(meta.momenta, &self.parameters, &mut record, &device)?;
        let recovered = RecoveredNorms::read(meta.recovered, parameters, &mut record, &device)?;
        // What may still refuse changes nothing then; from here on nothing else does.
        self.selector.restore(meta.selector)?;
        if let Some(sums) = sums {
            self.sums = sums;
        }
        self.states.replace(states);
        self.momenta = momenta;
        self.recovered = recovered;
        if let Some(averages) = averages {
            self.averages = averages;
        }
        if let Some(averages) = weight_averages {
            self.weight_averages = averages;
        }
        self.parts = Parts::default();
        self.keep = meta.keep;
        self.pending = meta.pending;
        self.unmasked = meta.unmasked;
        Ok(())
    }

    /// The settings that the state depends on: under others it would mean something else.
    fn settings(&self) -> serde_json::Value {
        let BlockOptimizerConfig {
            norm,
            mask,
            threshold,
            refresh,
            score,
            unit,
            recovery,
            moments,
            visit_smoothing,
            update,
            ..
        } = &self.config;
        let mut settings = serde_json::json!({
            "norm": norm,
            "mask": mask,
            "threshold": threshold,
            "refresh": refresh,
            "moments": moments,
            "visit_smoothing": visit_smoothing,
            "update": update.settings(),
        });
        // What is as the paper has it is not named, as in records that were made when there was nothing else.
        if !score.is_gradient() {
            settings["score"] = score.settings();
        }
        if *unit != MaskUnit::Entry {
            settings["unit"] = serde_json::json!(unit);
        }
        if let Some(recovery) = recovery {
            settings["recovery"] = serde_json::json!(recovery);
        }
        settings
    }
}
