//! What the optimizer keeps of a parameter, and what its update needs for a moment.

use super::parts::{Part, PlanParts};
use super::scheme::Parameter;
use crate::{Algorithm, GaLoreMethod, Method};
use blockllm_optim::{HalfWeights, MomentPrecision, StateEstimate};
use blockllm_policy::{Role, Roles};

/// Bytes of one f32.
const WORD: u64 = 4;

/// The state of one parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ParameterState {
    /// Moments, indices and masters.
    pub bytes: PlanParts,
    /// What an update needs beside them and the gradient.
    pub update: u64,
}

/// How a method keeps state.
#[derive(Debug)]
pub(super) struct StateRule<'a> {
    pub method: &'a Method,
    /// Whether weights are in half precision, on the host or elsewhere.
    pub half: bool,
    pub on_host: bool,
}

impl StateRule<'_> {
    /// The state of `parameter`, of which `kept` entries are trained.
    pub fn of(&self, parameter: &Parameter, kept: u64) -> ParameterState {
        match &self.method.algorithm {
            Algorithm::Blocks(blocks) => self.sparse(
                parameter,
                kept,
                blocks.update.rule().state_arrays() as u64,
                blocks.moment_precision,
                blocks.half_weights == HalfWeights::Masters,
            ),
            Algorithm::Lora(_) => self.sparse(parameter, kept, 2, MomentPrecision::F32, true),
            Algorithm::GaLore(galore) => projected(galore, parameter),
        }
    }

    /// What a rule of `arrays` state arrays keeps.
    fn sparse(
        &self,
        parameter: &Parameter,
        kept: u64,
        arrays: u64,
        moments: MomentPrecision,
        masters: bool,
    ) -> ParameterState {
        let estimate = StateEstimate {
            moments,
            master: masters && self.half,
            ..StateEstimate::new(parameter.entries, kept, arrays)
        };
        let mut bytes = PlanParts::default();
        bytes.add(Part::Moments, estimate.moment_bytes());
        bytes.add(Part::Indices, estimate.index_bytes());
        bytes.add(Part::Masters, estimate.master_bytes());
        // On the host the gradient is read in f32.
        let converted = if self.on_host && self.half {
            parameter.entries * WORD
        } else {
            0
        };
        ParameterState {
            bytes,
            update: converted,
        }
    }
}

/// `GaLore`'s: a basis and moments in its subspace, or moments over all entries.
fn projected(galore: &GaLoreMethod, parameter: &Parameter) -> ParameterState {
    let targets = Roles {
        always: galore.targets.clone(),
        never: Vec::new(),
    };
    let mut bytes = PlanParts::default();
    let entries = parameter.entries;
    match *parameter.shape {
        [rows, columns] if targets.role(&parameter.path) == Role::Always => {
            let (side, other) = (rows.min(columns) as u64, rows.max(columns) as u64);
            let rank = galore.rank as u64;
            bytes.add(Part::Moments, (side * rank + 2 * rank * other) * WORD);
            ParameterState {
                bytes,
                update: entries * WORD,
            }
        }
        _ => {
            bytes.add(Part::Moments, 2 * entries * WORD);
            ParameterState {
                bytes,
                update: 2 * entries * WORD,
            }
        }
    }
}
