//! Which settings would make a run fit, ordered by how little they change.

use super::{BackwardMode, MemoryPlan, Workload};
use crate::{Algorithm, Method, TrainError, WeightType};
use blockllm_optim::{HalfWeights, MaskScope, MomentPrecision};
use blockllm_policy::PolicyConfig;

/// One change of a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Gradients layer by layer: the same numbers, each layer computed twice.
    LayerWise,
    /// Moments in 8-bit codes.
    CodedMoments,
    /// No f32 copies of trained bf16 entries, which are rounded up and down by chance instead.
    NoMasters,
    /// A mask for each parameter alone, so that none waits for the others.
    MasksAlone,
    /// Weights in bf16.
    HalfWeights,
    /// No clipping: layer by layer no gradient waits for the others then.
    NoClipping,
    /// Another method.
    Method(String),
    /// A higher sparsity.
    Sparsity(f64),
    /// Fewer rows in a micro-batch, more micro-batches in a step.
    BatchSize(u64),
    /// Shorter rows.
    SeqLen(u64),
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LayerWise => formatter.write_str("--backward layer-wise"),
            Self::CodedMoments => formatter.write_str("+state=int8"),
            Self::NoMasters => formatter.write_str("+half=stochastic"),
            Self::MasksAlone => formatter.write_str("+mask=per-parameter"),
            Self::HalfWeights => formatter.write_str("--weights bf16"),
            Self::NoClipping => formatter.write_str("--no-clip"),
            Self::Method(name) => write!(formatter, "--method {name}"),
            Self::Sparsity(sparsity) => write!(formatter, "--sparsity {sparsity}"),
            Self::BatchSize(rows) => write!(formatter, "--batch {rows}"),
            Self::SeqLen(tokens) => write!(formatter, "--seq {tokens}"),
        }
    }
}

/// Changes that together make a run fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// In the order of [`Change`].
    pub changes: Vec<Change>,
    /// What the run then needs at its peak.
    pub peak_bytes: u64,
}

/// What makes `workload` fit into `memory` bytes: every single change that is enough; where none is, the fewest of
/// them together, the mildest first. Empty when nothing helps.
///
/// # Errors
/// As [`MemoryPlan::estimate`].
pub fn advice(workload: &Workload<'_>, memory: u64) -> Result<Vec<Advice>, TrainError> {
    let changes = possible(workload);
    let needed = |changes: &[Change]| peak_with(workload, changes);
    let mut enough = Vec::new();
    for change in &changes {
        let alone = vec![change.clone()];
        let peak_bytes = needed(&alone)?;
        if peak_bytes <= memory {
            enough.push(Advice {
                changes: alone,
                peak_bytes,
            });
        }
    }
    if !enough.is_empty() {
        return Ok(enough);
    }
    let mut together: Vec<Change> = Vec::new();
    for change in changes {
        together.push(change);
        if needed(&together)? <= memory {
            return Ok(vec![pruned(together, memory, &needed)?]);
        }
    }
    Ok(Vec::new())
}

/// `changes` without those that are not needed, the last ones spared longest: they changed most.
fn pruned(
    mut changes: Vec<Change>,
    memory: u64,
    needed: &dyn Fn(&[Change]) -> Result<u64, TrainError>,
) -> Result<Advice, TrainError> {
    let mut place = changes.len();
    while place > 0 {
        place -= 1;
        let mut fewer = changes.clone();
        fewer.remove(place);
        if needed(&fewer)? <= memory {
            changes = fewer;
        }
    }
    Ok(Advice {
        peak_bytes: needed(&changes)?,
        changes,
    })
}

/// The changes that this workload leaves room for, the mildest first.
fn possible(workload: &Workload<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    if workload.backward == BackwardMode::Whole {
        changes.push(Change::LayerWise);
    }
    if let Algorithm::Blocks(blocks) = &workload.method.algorithm {
        if blocks.moment_precision == MomentPrecision::F32 {
            changes.push(Change::CodedMoments);
        }
        if blocks.half_weights == HalfWeights::Masters && workload.weights == WeightType::Bf16 {
            changes.push(Change::NoMasters);
        }
        if workload.clipped {
            changes.push(Change::NoClipping);
        }
        if blocks.mask == MaskScope::Global && blocks.sparsity > 0.0 {
            changes.push(Change::MasksAlone);
        }
    }
    if workload.weights == WeightType::F32 {
        changes.push(Change::HalfWeights);
    }
    if let Algorithm::Blocks(blocks) = &workload.method.algorithm {
        if blocks.policy == PolicyConfig::All {
            changes.push(Change::Method("blockllm:0.95".into()));
        } else if blocks.sparsity > 0.0 {
            let higher = [0.5, 0.9, 0.95, 0.98, 0.99].into_iter();
            changes.extend(higher.filter(|s| *s > blocks.sparsity).map(Change::Sparsity));
        }
    }
    let halves = |most: u64, least: u64| {
        std::iter::successors(Some(most / 2), |size| Some(size / 2)).take_while(move |size| *size >= least)
    };
    changes.extend(halves(workload.batch_size, 1).map(Change::BatchSize));
    changes.extend(halves(workload.seq_len, 64).map(Change::SeqLen));
    changes
}

/// What the run needs at its peak under `changes`.
fn peak_with(workload: &Workload<'_>, changes: &[Change]) -> Result<u64, TrainError> {
    let mut method = workload.method.clone();
    for change in changes {
        match change {
            Change::Method(name) => method = Method::parse(name)?,
            Change::CodedMoments | Change::NoMasters | Change::MasksAlone | Change::Sparsity(_) => {
                if let Algorithm::Blocks(blocks) = &mut method.algorithm {
                    match change {
                        Change::Sparsity(sparsity) => blocks.sparsity = *sparsity,
                        Change::NoMasters => blocks.half_weights = HalfWeights::Stochastic,
                        Change::MasksAlone => blocks.mask = MaskScope::PerParameter,
                        _ => blocks.moment_precision = MomentPrecision::Int8,
                    }
                }
            }
            _ => {}
        }
    }
    let mut changed = Workload {
        method: &method,
        ..workload.clone()
    };
    for change in changes {
        match change {
            Change::LayerWise => changed.backward = BackwardMode::LayerWise,
            Change::HalfWeights => changed.weights = WeightType::Bf16,
            Change::NoClipping => changed.clipped = false,
            Change::BatchSize(rows) => changed.batch_size = *rows,
            Change::SeqLen(tokens) => changed.seq_len = *tokens,
            Change::Method(_)
            | Change::CodedMoments
            | Change::NoMasters
            | Change::MasksAlone
            | Change::Sparsity(_) => {}
        }
    }
    Ok(MemoryPlan::estimate(&changed)?.peak_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ModelShape;
    use blockllm_model::llama::LlamaConfig;

    fn asked(method: &str, share: f64) -> (Vec<Advice>, u64) {
        let model = ModelShape::Llama(LlamaConfig::new(2048, 256, 688, 4, 4));
        let method = Method::parse(method).unwrap();
        let workload = Workload::new(&model, &method, 4, 256);
        let needed = MemoryPlan::estimate(&workload).unwrap().peak_bytes();
        let memory = (needed as f64 * share) as u64;
        (advice(&workload, memory).unwrap(), memory)
    }

    #[test]
    fn a_single_change_that_is_enough_is_told_alone_and_the_mildest_first() {
        let (found, memory) = asked("blockllm:0.9", 0.8);
        assert_eq!(found[0].changes, [Change::LayerWise]);
        assert!(
            found
                .iter()
                .all(|advice| advice.changes.len() == 1 && advice.peak_bytes <= memory)
        );
    }

    #[test]
    fn where_no_single_change_is_enough_the_fewest_together_are() {
        let (found, memory) = asked("adamw", 0.2);
        let [advice] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert!(
            advice.changes.len() > 1 && advice.peak_bytes <= memory,
            "{advice:?}"
        );
    }

    #[test]
    fn where_nothing_helps_nothing_is_told() {
        assert!(asked("lora:8", 0.001).0.is_empty());
    }
}
