//! What a plan is a function of: model, method, batches, types, and how gradients are made.
use super::scheme::Assumed;
use super::stack::ModelShape;
use crate::{Method, WeightType};
use serde::{Deserialize, Serialize};

/// How gradients are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackwardMode {
    /// One graph over all layers.
    #[default]
    Whole,
    /// A graph per layer, which is computed once more from its input.
    LayerWise,
}

impl BackwardMode {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::LayerWise => "layer-wise",
        }
    }
}

/// What a plan is a function of.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// The model.
    pub model: &'a ModelShape,
    /// What is trained.
    pub method: &'a Method,
    /// Rows of a micro-batch.
    pub batch_size: u64,
    /// Tokens of a row.
    pub seq_len: u64,
    /// In what weights, gradients and activations are kept.
    pub weights: WeightType,
    /// Micro-batches per optimizer step.
    pub grad_accum_steps: u64,
    /// Whether gradients are clipped to a global norm, so that all of them wait for it.
    pub clipped: bool,
    /// How gradients are made.
    pub backward: BackwardMode,
    /// Whether the device is the CPU (flex), which computes in f32 whatever the weights are in.
    pub on_host: bool,
    /// Which blocks a selection takes.
    pub selection: Assumed,
}

impl<'a> Workload<'a> {
    /// `method` on `model` with micro-batches of `batch_size` rows of `seq_len` tokens: f32 weights, clipped, a whole
    /// backward pass on a GPU, the typical selection.
    pub fn new(model: &'a ModelShape, method: &'a Method, batch_size: u64, seq_len: u64) -> Self {
        Self {
            model,
            method,
            batch_size,
            seq_len,
            weights: WeightType::F32,
            grad_accum_steps: 1,
            clipped: true,
            backward: BackwardMode::Whole,
            on_host: false,
            selection: Assumed::Typical,
        }
    }
}
