//! What a run is a function of.
use crate::{Method, Objective, TrainConfig};
use burn::tensor::Device;

/// What a run is a function of, beside its batches and its initial weights.
#[derive(Debug)]
pub struct Setup<'a, O: Objective> {
    /// What a loss is.
    pub objective: &'a O,
    /// What is trained.
    pub method: &'a Method,
    /// How it is trained.
    pub config: &'a TrainConfig,
    /// Evaluated before, after and, if the configuration says so, in between.
    pub validation: &'a [O::Batch],
    /// The device of the model, with autodiff.
    pub device: &'a Device,
}
