//! What `GaLore` and APOLLO share: their Adam, and what they keep of a parameter, on paper.
use crate::TrainConfig;
use crate::memory::plan::{ParameterState, Part, PlannedParameter};
use blockllm_optim::GaLoreAdam;
use blockllm_policy::path_matches;

/// Bytes of one f32.
const WORD: u64 = 4;

/// Adam with a run's weight decay.
pub(super) fn adam(config: &TrainConfig) -> GaLoreAdam {
    GaLoreAdam {
        weight_decay: f64::from(config.weight_decay),
        ..GaLoreAdam::default()
    }
}

/// A basis, moments in its subspace and `beside` numbers more, for a matrix that `targets` match; else moments over all
/// entries.
pub(super) fn planned_state(
    parameter: &PlannedParameter,
    targets: &[String],
    rank: usize,
    beside: u64,
) -> ParameterState {
    let is_target = targets
        .iter()
        .any(|pattern| path_matches(pattern, &parameter.path));
    let (kept, update) = match *parameter.shape {
        [rows, columns] if is_target => {
            let (side, other) = (rows.min(columns) as u64, rows.max(columns) as u64);
            let rank = rank as u64;
            (side * rank + 2 * rank * other + beside, parameter.entries)
        }
        _ => (2 * parameter.entries, 2 * parameter.entries),
    };
    ParameterState::default()
        .with(Part::Moments, kept * WORD)
        .with_update(update * WORD)
}
