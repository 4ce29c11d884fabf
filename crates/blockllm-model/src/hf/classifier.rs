//! What loading a classifier has in common for all architectures: heads that are missing, heads of another task.

use super::folder::WeightFolder;
use crate::ModelError;

/// A model from a folder, and what the folder did not hold of it.
#[derive(Debug, Clone)]
pub struct Loaded<M, C> {
    /// The model.
    pub model: M,
    /// Its configuration, with the classes of this task.
    pub config: C,
    /// Paths in the model of the parameters that the folder lacks and that were drawn afresh, such as a new head:
    /// tell the user, and train them at every step.
    pub fresh: Vec<String>,
}

/// Refuses a head, whose matrix is `key`, that was made for another number of classes than `num_labels`.
pub(super) fn check_head(folder: &WeightFolder, key: &str, num_labels: usize) -> Result<(), ModelError> {
    match folder.shape(key) {
        Some(([found, _], path)) if *found != num_labels => Err(ModelError::Labels {
            path: path.to_path_buf(),
            tensor: key.to_owned(),
            expected: num_labels,
            found: *found,
        }),
        _ => Ok(()),
    }
}
