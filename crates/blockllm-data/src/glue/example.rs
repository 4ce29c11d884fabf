//! A row of a task's file: one sentence or two, and what is to be predicted.
use serde::{Deserialize, Serialize};

/// What is to be predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GlueLabel {
    /// The index of a class in [`GlueTask::labels`](super::GlueTask::labels).
    Class(usize),
    /// A score from 0 to 5.
    Score(f32),
}

/// One row of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct GlueExample {
    /// The first sentence.
    pub sentence: String,
    /// The second, in tasks of pairs.
    pub pair: Option<String>,
    /// What is to be predicted; `None` in the test files.
    pub label: Option<GlueLabel>,
    /// The row's number in its file, from 0: what a submission calls `index`.
    pub index: usize,
}

/// The rows of a file.
#[derive(Default)]
pub(super) struct Rows {
    pub examples: Vec<GlueExample>,
    /// Rows that everybody leaves out.
    pub left_out: usize,
}
