//! What a selection did, in names, for logs and selection maps.
use blockllm_policy::{Reason, Selection, Selector};
use serde::{Deserialize, Serialize};

/// A selection as the log tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelectionEvent {
    /// Optimizer steps done when it was made; its first step is the next one.
    pub step: u64,
    /// Its number, from 1.
    pub number: u64,
    /// Why it was made.
    pub reason: Reason,
    /// Names of the selected blocks, in block order.
    pub blocks: Vec<String>,
    /// Names of the blocks that came in.
    pub entered: Vec<String>,
    /// Names of the blocks that went out.
    pub left: Vec<String>,
    /// Entries of all selected blocks.
    pub block_entries: u64,
    /// Entries of them that are trained.
    pub trained_entries: u64,
}

impl SelectionEvent {
    pub(crate) fn new(selection: &Selection, selector: &Selector) -> Self {
        let names = |ids: &[blockllm_policy::BlockId]| {
            ids.iter()
                .map(|id| selector.block(*id).name.clone())
                .collect::<Vec<_>>()
        };
        Self {
            step: selector.step(),
            number: selection.number,
            reason: selection.reason,
            blocks: names(&selection.blocks),
            entered: names(&selection.entered),
            left: names(&selection.left),
            block_entries: selection.block_entries,
            trained_entries: selection.trained_entries,
        }
    }
}
