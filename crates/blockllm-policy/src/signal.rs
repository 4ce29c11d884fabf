//! What can be measured of blocks for a policy, and what was.
use crate::BlockId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a policy may ask to have measured of blocks.
///
/// How old the latest gradient is, a block's size and the shapes of its parameters need no measuring: they are in the
/// [`SelectContext`](crate::SelectContext).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The norm of the latest gradient: of all candidates by a sweep before the first selection, then of those that are
    /// trained, probed, or move beside them.
    GradNorm,
    /// The root of a moving average of these norms' squares, over the steps that measured the block.
    GradNormAverage,
    /// The moving average of the mean squared gradient of an entry: the mean of the diagonal of the empirical Fisher matrix, of
    /// one mini-batch's gradient a step.
    Curvature,
    /// The L2 norm of the weights, at each selection.
    WeightNorm,
    /// The root of a moving average of these norms' squares, over the selections.
    WeightNormAverage,
}

impl Signal {
    /// Its name in errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradNorm => "gradient norm",
            Self::GradNormAverage => "moving average of the gradient norms",
            Self::Curvature => "curvature",
            Self::WeightNorm => "weight norm",
            Self::WeightNormAverage => "moving average of the weight norms",
        }
    }

    /// Whether it needs gradients: a sweep before the first selection, and probes.
    pub fn is_of_gradients(self) -> bool {
        !matches!(self, Self::WeightNorm | Self::WeightNormAverage)
    }

    /// Whether it is a moving average of squared gradients, or made of one.
    pub fn is_average_of_gradients(self) -> bool {
        matches!(self, Self::GradNormAverage | Self::Curvature)
    }
}

/// What was measured of every block, for each signal that a policy asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    first: Signal,
    values: BTreeMap<Signal, Vec<Option<f64>>>,
}

impl Measurements {
    /// Nothing yet of this many blocks; of the gradient norms alone where no signal is asked for.
    pub(crate) fn new(signals: &[Signal], blocks: usize) -> Self {
        let first = signals.first().copied().unwrap_or(Signal::GradNorm);
        let all = signals.iter().copied().chain([first]);
        Self {
            first,
            values: all.map(|signal| (signal, vec![None; blocks])).collect(),
        }
    }

    /// The first signal that the policy asks for.
    pub fn first(&self) -> Signal {
        self.first
    }

    /// The latest of each block for `signal`, `None` where never measured.
    ///
    /// # Panics
    /// When the policy did not ask for it.
    pub fn of(&self, signal: Signal) -> &[Option<f64>] {
        let of = self.values.get(&signal);
        of.unwrap_or_else(|| {
            panic!(
                "a policy ranks by the {}, which its `signals` do not name",
                signal.name()
            )
        })
    }

    /// Every value that was measured.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Signal, BlockId, f64)> {
        self.values.iter().flat_map(|(signal, values)| {
            let measured = values.iter().enumerate();
            measured.filter_map(|(block, value)| Some((*signal, BlockId(block), (*value)?)))
        })
    }

    pub(crate) fn note(&mut self, signal: Signal, block: BlockId, value: f64) {
        if let Some(values) = self.values.get_mut(&signal) {
            values[block.0] = Some(value);
        }
    }

    /// Whether it is of the same signals and as many blocks.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let sizes = |of: &Self| -> Vec<_> {
            of.values
                .iter()
                .map(|(signal, values)| (*signal, values.len()))
                .collect()
        };
        self.first == other.first && sizes(self) == sizes(other)
    }

    /// Names of its signals.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.values.keys().map(|signal| signal.name()).collect();
        names.join(", ")
    }
}
