//! The outcome of one selection.
use crate::{BlockId, Reason};
use serde::{Deserialize, Serialize};

/// The outcome of one selection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// `S`, in block order.
    pub blocks: Vec<BlockId>,
    /// Blocks that were not selected before.
    pub entered: Vec<BlockId>,
    /// Blocks that no longer are.
    pub left: Vec<BlockId>,
    /// Entries of all selected blocks.
    pub block_entries: u64,
    /// Entries of them that are trained: the mask keeps so many.
    pub trained_entries: u64,
    /// Why it was made.
    pub reason: Reason,
    /// `R` after it.
    pub number: u64,
}

/// The entries of `a` that are not in `b`, in order.
pub(super) fn difference(a: &[BlockId], b: &[BlockId]) -> Vec<BlockId> {
    a.iter().copied().filter(|block| !b.contains(block)).collect()
}
