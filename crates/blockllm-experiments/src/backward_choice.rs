//! How a run's backward pass goes: as the command line says, or by the memory that the run would need; and how much that is.
use crate::Cli;
use crate::byte_size::gigabytes;
use crate::plan::for_model;
use anyhow::{Result, bail};
use blockllm_train::memory::plan::{Advice, Change, advice};
use blockllm_train::memory::{BackwardMode, MemoryPlan, ModelShape, Part, Workload, memory_of};
use blockllm_train::{Backward, DeviceChoice, Method, TrainConfig};

/// A run that needs so many times the memory that is there is not begun: no estimate is so wrong, and no swap so large.
const HOPELESS: u64 = 2;

/// Whole or layer-wise, for `config` on batches of `batch_size` rows of `seq_len` tokens.
///
/// # Errors
/// When the device is missing, or the method does not fit the model.
pub fn of_run(
    cli: &Cli,
    model: &ModelShape,
    method: &Method,
    config: &TrainConfig,
    sizes: [usize; 2],
) -> Result<Backward> {
    if cli.backward != Backward::Auto {
        return Ok(cli.backward);
    }
    let device = cli.device.resolve()?.choice;
    let method = &for_model(method.clone(), model);
    let workload = workload(device, model, method, config, sizes);
    Ok(cli.backward.resolve(&workload, memory(cli, device))?)
}

/// What a step of the run will need by the plan, part by part, beside what the device has, in words.
///
/// # Errors
/// As [`of_run`]; and when it is so much that the run would only be killed. A dry run tells it all the same.
pub fn told(
    cli: &Cli,
    model: &ModelShape,
    method: &Method,
    config: &TrainConfig,
    sizes: [usize; 2],
) -> Result<String> {
    let device = cli.device.resolve()?.choice;
    let method = &for_model(method.clone(), model);
    let (way, backward) = match config.backward {
        Backward::LayerWise => ("a backward pass layer by layer", BackwardMode::LayerWise),
        Backward::Auto | Backward::Whole => ("a whole backward pass", BackwardMode::Whole),
    };
    let workload = Workload {
        backward,
        ..workload(device, model, method, config, sizes)
    };
    let plan = MemoryPlan::estimate(&workload)?;
    let parts = Part::ALL
        .iter()
        .filter(|part| plan.peak.of(**part) > 0)
        .map(|part| format!("{} {}", part.name(), gigabytes(plan.peak.of(*part))));
    let needed = plan.peak_bytes();
    let here = match memory(cli, device) {
        None => String::new(),
        Some(bytes) if needed <= bytes => format!("; there are {}", gigabytes(bytes)),
        Some(bytes) => {
            let only = format!("there are only {}{}", gigabytes(bytes), mend(&workload, bytes)?);
            if needed / bytes.max(1) >= HOPELESS && !cli.dry_run {
                bail!(
                    "a step would need about {} with {way}, and {only}; where there is more, --memory SIZE begins it",
                    gigabytes(needed)
                );
            }
            format!("; {only}")
        }
    };
    Ok(format!(
        "a step will need about {} with {way} ({}){here}",
        gigabytes(needed),
        parts.collect::<Vec<_>>().join(", "),
    ))
}

/// What would make it fit.
fn mend(workload: &Workload<'_>, memory: u64) -> Result<String> {
    let found = advice(workload, memory)?;
    let changes = |advice: &Advice| {
        let changes: Vec<String> = advice.changes.iter().map(Change::to_string).collect();
        changes.join(" and ")
    };
    let found: Vec<String> = found.iter().map(changes).collect();
    Ok(match found.as_slice() {
        [] => ", and no setting makes up for that".to_owned(),
        found => format!(": it fits with {}", found.join(", or with ")),
    })
}

fn workload<'a>(
    device: DeviceChoice,
    model: &'a ModelShape,
    method: &'a Method,
    config: &TrainConfig,
    [batch_size, seq_len]: [usize; 2],
) -> Workload<'a> {
    Workload {
        weights: config.weights,
        grad_accum_steps: config.grad_accum_steps as u64,
        clipped: config.holds_all_gradients(),
        on_host: device == DeviceChoice::Flex,
        ..Workload::new(model, method, batch_size as u64, seq_len as u64)
    }
}

fn memory(cli: &Cli, device: DeviceChoice) -> Option<u64> {
    cli.memory.map_or_else(|| memory_of(device), |size| Some(size.0))
}
