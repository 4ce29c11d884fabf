//! What is wrong with the data of a task: where, what was expected, what was found and what to do.

use std::path::{Path, PathBuf};

/// A fault of a task's files or of an item in one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{place}: expected {expected}, found {found}. {mend}", path.display())]
pub struct TaskFault {
    /// The file or folder.
    pub path: PathBuf,
    /// `, line N`, `, record N` or `, row N`, counted from 1, and the field; empty where it is about all of it.
    pub place: String,
    /// What should be there.
    pub expected: String,
    /// What is.
    pub found: String,
    /// What to do.
    pub mend: String,
}

impl TaskFault {
    /// Of a file or folder as a whole.
    pub(super) fn of_path(path: &Path, expected: String, found: String, mend: &str) -> Self {
        Self {
            path: path.to_owned(),
            place: String::new(),
            expected,
            found,
            mend: mend.to_owned(),
        }
    }
}
