//! How a run's backward pass goes: as the command line says, or by the memory that the run would need.
use crate::Cli;
use crate::plan::for_model;
use anyhow::Result;
use blockllm_train::memory::{ModelShape, Workload, memory_of};
use blockllm_train::{Backward, DeviceChoice, Method, TrainConfig};

/// Whole or layer-wise, for `config` on batches of `batch_size` rows of `seq_len` tokens.
///
/// # Errors
/// When the device is missing, or the method does not fit the model.
pub fn of_run(
    cli: &Cli,
    model: &ModelShape,
    method: &Method,
    config: &TrainConfig,
    [batch_size, seq_len]: [usize; 2],
) -> Result<Backward> {
    if cli.backward != Backward::Auto {
        return Ok(cli.backward);
    }
    let device = cli.device.resolve()?.choice;
    let method = &for_model(method.clone(), model);
    let workload = Workload {
        weights: config.weights,
        grad_accum_steps: config.grad_accum_steps as u64,
        clipped: config.holds_all_gradients(),
        on_host: device == DeviceChoice::Flex,
        ..Workload::new(model, method, batch_size as u64, seq_len as u64)
    };
    let memory = cli.memory.map_or_else(|| memory_of(device), |size| Some(size.0));
    Ok(cli.backward.resolve(&workload, memory)?)
}
