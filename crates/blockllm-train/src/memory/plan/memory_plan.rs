//! What a run needs, as a plan tells it.
use super::parts::{Moment, PlanParts};
use serde::{Deserialize, Serialize};

/// The most that is live at one kind of moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentPlan {
    /// Which.
    pub moment: Moment,
    /// Bytes, part by part.
    pub parts: PlanParts,
}

/// What a run needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// Entries of all parameters, those that the method adds included.
    pub parameters: u64,
    /// Entries that a step changes.
    pub trained_entries: u64,
    /// Entries whose gradients a step makes.
    pub gradient_entries: u64,
    /// When the run needs most.
    pub moment: Moment,
    /// Bytes at that moment, part by part.
    pub peak: PlanParts,
    /// The most of each part, whenever it is: the parts of a table that do not add up.
    pub most: PlanParts,
    /// The most at each kind of moment, in the order of a run.
    pub moments: Vec<MomentPlan>,
    /// The most when the trainer looks at a device's pool: behind a loss, behind a backward pass or a layer's, between steps.
    pub sampled: PlanParts,
    /// Bytes when the loss of the first step is there.
    pub after_loss: PlanParts,
    /// Bytes between steps.
    pub rest: PlanParts,
}

impl MemoryPlan {
    /// Bytes at the peak.
    pub fn peak_bytes(&self) -> u64 {
        self.peak.total()
    }
}
