//! Which settings would make a run fit, ordered by how little they change.

use super::{BackwardMode, Change, MemoryPlan, Workload};
use crate::{Method, TrainError, WeightType};

/// Changes that together make a run fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// In the order of [`Change`].
    pub changes: Vec<Change>,
    /// What the run then needs at its peak.
    pub peak_bytes: u64,
}

/// What makes `workload` fit into `memory` bytes: every single change that is enough, of fewer rows and shorter rows the most that
/// fit; where none is, the fewest changes together, the mildest first. Empty when nothing helps.
///
/// # Errors
/// As [`MemoryPlan::estimate`].
pub fn advice(workload: &Workload<'_>, memory: u64) -> Result<Vec<Advice>, TrainError> {
    let changes = possible(workload);
    let needed = |changes: &[Change]| peak_with(workload, changes);
    let mut enough: Vec<Advice> = Vec::new();
    for change in &changes {
        if enough
            .iter()
            .any(|advice| goes_further(&advice.changes[0], change))
        {
            continue;
        }
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

/// Whether `change` lowers still more what `enough` lowers.
fn goes_further(enough: &Change, change: &Change) -> bool {
    matches!(
        (enough, change),
        (Change::BatchSize(_), Change::BatchSize(_)) | (Change::SeqLen(_), Change::SeqLen(_))
    )
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
    let (method, half) = (&workload.method.algorithm, workload.weights == WeightType::Bf16);
    changes.extend(method.milder_changes(half, workload.clipped));
    if workload.weights == WeightType::F32 {
        changes.push(Change::HalfWeights);
    }
    changes.extend(method.harsher_changes());
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
            Change::Sparsity(sparsity) => method.algorithm.set_sparsity(*sparsity),
            Change::Setting(key, value) => {
                let set = method.algorithm.set(key, value);
                set.expect("a method's own change is one of its settings");
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
            Change::Method(_) | Change::Setting(..) | Change::Sparsity(_) => {}
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
    fn of_fewer_and_shorter_rows_the_most_that_fit_are_told() {
        let (found, _) = asked("adamw", 0.999);
        let changes: Vec<&Change> = found.iter().flat_map(|advice| &advice.changes).collect();
        let rows: Vec<_> = changes
            .iter()
            .filter(|change| matches!(change, Change::BatchSize(_)))
            .collect();
        let tokens: Vec<_> = changes
            .iter()
            .filter(|change| matches!(change, Change::SeqLen(_)))
            .collect();
        assert_eq!(rows, [&&Change::BatchSize(2)]);
        assert_eq!(tokens, [&&Change::SeqLen(128)]);
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
