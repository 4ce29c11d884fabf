//! What the optimizer remembers across a resume: moments, bases, norms of updates, and the number of steps.
use super::LowRankOptimizer;
use super::rule::Rule;
use crate::parts::Parts;
use crate::record::{check_parameters, check_settings, infos, mismatch};
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
    /// What bases and moments depend on; absent in records of earlier versions.
    #[serde(default)]
    settings: Option<serde_json::Value>,
    /// Called after `GaLore` in records of earlier versions.
    #[serde(alias = "galore_steps")]
    low_rank_steps: u64,
}

impl LowRankOptimizer {
    /// Everything that [`restore`](Self::restore) needs.
    pub fn record(&self) -> OptimizerRecord {
        let mut tensors = BTreeMap::new();
        for (param, state) in &self.states {
            state.record(&format!("state.{param}"), &mut tensors);
        }
        let meta = Meta {
            parameters: infos(&self.parameters),
            rank: self.config.rank,
            settings: Some(self.settings()),
            low_rank_steps: self.steps,
        };
        OptimizerRecord::new(&meta, tensors)
    }

    /// Goes on from a record that an optimizer of the same module and settings made.
    ///
    /// # Errors
    /// Names what differs when the record is of another model, rank or setting that the state depends on; nothing has
    /// changed then.
    pub fn restore(&mut self, mut record: OptimizerRecord, device: &Device) -> Result<(), OptimError> {
        let meta: Meta = record.meta("GaLore's or APOLLO's")?;
        check_parameters(&self.parameters, &meta.parameters)?;
        if meta.rank != self.config.rank {
            return Err(mismatch("rank", &meta.rank.to_string(), &self.config.rank));
        }
        if let Some(settings) = &meta.settings {
            let (saved, own) = (made_by(settings), made_by(&self.settings()));
            if saved != own {
                return Err(mismatch("optimizer", saved, &own));
            }
            check_settings(settings, &self.settings())?;
        }
        let device = device.clone().without_autodiff();
        if meta.low_rank_steps > 0 {
            let mut states = self.states.clone();
            for (param, state) in &mut states {
                state.restore(&format!("state.{param}"), &mut record, &device)?;
            }
            self.states = states;
        }
        self.parts = Parts::default();
        self.steps = meta.low_rank_steps;
        Ok(())
    }

    /// The settings that bases and moments depend on: under others they would mean something else.
    fn settings(&self) -> serde_json::Value {
        let mut settings = serde_json::json!({
            "update_proj_gap": self.config.update_proj_gap,
            "projection": self.config.projection,
            "targets": self.config.targets,
            "adam": self.config.adam,
        });
        match self.config.rule {
            Rule::GaLore { svd, .. } => settings["svd"] = serde_json::json!(svd),
            Rule::Apollo { norm_growth, .. } => settings["norm_growth"] = norm_growth.into(),
        }
        settings
    }
}

/// Whose settings these are: only APOLLO bounds the growth of an update.
fn made_by(settings: &serde_json::Value) -> &'static str {
    match settings.get("norm_growth") {
        Some(_) => "APOLLO",
        None => "GaLore",
    }
}
