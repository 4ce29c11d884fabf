//! Where a run is: what a checkpoint is told beside the model and the optimizer.
use super::course::Course;

/// Where a run is after a step.
pub(super) struct Place<'a> {
    pub step: u64,
    pub course: &'a Course,
    /// The place in the data.
    pub cursor: serde_json::Value,
    /// Whether this was the last step.
    pub is_last: bool,
}
