//! What an optimizer keeps of a parameter, on paper, and what its update needs for a moment.
use super::parts::{Part, PlanParts};
use super::scheme::PlannedParameter;
use blockllm_optim::{MomentPrecision, StateEstimate};

/// Bytes of one f32.
const WORD: u64 = 4;

/// The state of one parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterState {
    /// Moments, indices and masters.
    pub bytes: PlanParts,
    /// What an update needs beside them and the gradient.
    pub update: u64,
}

/// Where state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatePlace {
    /// Whether weights are in half precision, on the host or elsewhere.
    pub half: bool,
    /// Whether the device is the CPU (flex), which computes in f32 whatever the weights are in.
    pub on_host: bool,
}

impl ParameterState {
    /// The same with `bytes` more of `part`.
    #[must_use]
    pub fn with(mut self, part: Part, bytes: u64) -> Self {
        self.bytes.add(part, bytes);
        self
    }

    /// The same with an update that needs so many bytes for a moment.
    #[must_use]
    pub fn with_update(mut self, bytes: u64) -> Self {
        self.update = bytes;
        self
    }

    /// The block optimizer's: `arrays` numbers for each of the `kept` entries of `parameter`, with `masters` an f32 copy of
    /// those in half precision.
    pub fn sparse(
        parameter: &PlannedParameter,
        kept: u64,
        arrays: u64,
        moments: MomentPrecision,
        masters: bool,
        place: StatePlace,
    ) -> Self {
        let estimate = StateEstimate {
            moments,
            master: masters && place.half,
            ..StateEstimate::new(parameter.entries, kept, arrays)
        };
        // On the host the gradient is read in f32.
        let converted = if place.on_host && place.half {
            parameter.entries * WORD
        } else {
            0
        };
        Self::default()
            .with(Part::Moments, estimate.moment_bytes())
            .with(Part::Indices, estimate.index_bytes())
            .with(Part::Masters, estimate.master_bytes())
            .with_update(converted)
    }
}
