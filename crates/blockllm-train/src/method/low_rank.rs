//! What `GaLore` and APOLLO share: their Adam, and what they keep of a parameter, on paper.
use crate::memory::plan::{ParameterState, Part, PlannedParameter, Scheme};
use crate::{TrainConfig, TrainError};
use blockllm_optim::{GaLoreAdam, LowRankConfig};
use blockllm_policy::path_matches;

/// Bytes of one f32.
const WORD: u64 = 4;

/// Adam with the method's own weight decay, or else the run's.
pub(super) fn adam(own: Option<f32>, config: &TrainConfig) -> GaLoreAdam {
    GaLoreAdam {
        weight_decay: f64::from(own.unwrap_or(config.weight_decay)),
        ..GaLoreAdam::default()
    }
}

/// Every entry of `parameters`, where the optimizer would take `config` for them; it projects what `targets` match.
pub(super) fn plan(
    config: impl Into<LowRankConfig>,
    targets: &[String],
    parameters: Vec<PlannedParameter>,
) -> Result<Scheme, TrainError> {
    let config = config.into();
    config.validate()?;
    let matrices = parameters.iter().filter(|parameter| parameter.shape.len() == 2);
    let paths: Vec<_> = matrices.map(|matrix| matrix.path.as_str()).collect();
    config.check_targets(&paths)?;
    for parameter in &parameters {
        if let ([rows, columns], true) = (&*parameter.shape, is_target(targets, parameter)) {
            config.check_rank(&parameter.path, [*rows, *columns])?;
        }
    }
    Ok(Scheme::dense(parameters))
}

fn is_target(targets: &[String], parameter: &PlannedParameter) -> bool {
    targets
        .iter()
        .any(|pattern| path_matches(pattern, &parameter.path))
}

/// A basis, moments in its subspace and `beside` numbers more, for a matrix that `targets` match; else moments over all
/// entries.
pub(super) fn planned_state(
    parameter: &PlannedParameter,
    targets: &[String],
    rank: usize,
    beside: u64,
) -> ParameterState {
    let (kept, update) = match *parameter.shape {
        [rows, columns] if is_target(targets, parameter) => {
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
