//! The parts that a plan's memory is made of, and the moments of a run.

use serde::{Deserialize, Serialize};

/// What a buffer is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The parameters, and the constants beside them (tables of positions).
    Weights,
    /// Gradients of parameters.
    Gradients,
    /// Moments of the optimizer, and the bases of GaLore and APOLLO.
    Moments,
    /// Which entries the moments belong to, where that is not all of them.
    Indices,
    /// Copies of the trained entries in f32, where the weights are not.
    Masters,
    /// What forward passes keep for backward, and what both have in their hands.
    Activations,
    /// The chunk of logits that the loss works on.
    Logits,
    /// What masks and measurements need for a moment.
    Selection,
    /// What an update needs for a moment.
    Update,
}

impl Part {
    /// All parts, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Weights,
        Self::Gradients,
        Self::Moments,
        Self::Indices,
        Self::Masters,
        Self::Activations,
        Self::Logits,
        Self::Selection,
        Self::Update,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Gradients => "gradients",
            Self::Moments => "moments",
            Self::Indices => "indices",
            Self::Masters => "masters",
            Self::Activations => "activations",
            Self::Logits => "logits",
            Self::Selection => "selection",
            Self::Update => "update",
        }
    }
}

/// Bytes of each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanParts([u64; Part::ALL.len()]);

impl PlanParts {
    /// Bytes of one part.
    pub fn of(&self, part: Part) -> u64 {
        self.0[part as usize]
    }

    /// Bytes of all parts.
    pub fn total(&self) -> u64 {
        sum(self.0)
    }

    /// What the optimizer keeps between steps: moments, indices and masters.
    pub fn state(&self) -> u64 {
        sum([Part::Moments, Part::Indices, Part::Masters].map(|part| self.of(part)))
    }

    /// What only lives within a step, gradients aside.
    pub fn passing(&self) -> u64 {
        let passing = [Part::Activations, Part::Logits, Part::Selection, Part::Update];
        sum(passing.map(|part| self.of(part)))
    }

    /// The larger of both, part by part.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|part| self.0[part].max(other.0[part])))
    }

    pub(super) fn add(&mut self, part: Part, bytes: u64) {
        let of = &mut self.0[part as usize];
        *of = of.saturating_add(bytes);
    }

    pub(super) fn subtract(&mut self, part: Part, bytes: u64) {
        let of = &mut self.0[part as usize];
        *of = of.saturating_sub(bytes);
    }
}

/// The most of each part need not have been live together, so that their sum may be more than can be counted.
fn sum<const N: usize>(bytes: [u64; N]) -> u64 {
    bytes.into_iter().fold(0, u64::saturating_add)
}

/// What a run is at when it needs most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// The model lies there, nothing runs.
    #[default]
    Rest,
    /// An evaluation, forward only.
    Evaluation,
    /// The first measurement of all candidates' gradients.
    Sweep,
    /// Forward pass and loss.
    Forward,
    /// Backward pass.
    Backward,
    /// The masks of a selection, and the state that is made with them.
    Masks,
    /// The update.
    Update,
}

impl Moment {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rest => "between steps",
            Self::Evaluation => "evaluation",
            Self::Sweep => "sweep",
            Self::Forward => "forward and loss",
            Self::Backward => "backward",
            Self::Masks => "masks",
            Self::Update => "update",
        }
    }
}
