//! How often each block was selected, and the visit frequency `f_l` made of it (ALGORITHM, "Notation").
use crate::BlockId;
use serde::{Deserialize, Serialize};

/// **Choice:** how counts become a frequency that is never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VisitSmoothing {
    /// `f_l = (1 + visits_l) / (1 + R)`.
    #[default]
    AddOne,
    /// `f_l = max(visits_l, 1) / max(R, 1)`: a first visit costs nothing.
    ClampOne,
}

/// Visit counts of every block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visits {
    counts: Vec<u64>,
    selections: u64,
    smoothing: VisitSmoothing,
}

impl Visits {
    /// No visits to any of `blocks` blocks.
    pub fn new(blocks: usize, smoothing: VisitSmoothing) -> Self {
        Self {
            counts: vec![0; blocks],
            selections: 0,
            smoothing,
        }
    }

    /// Counts one selection of `taken`.
    pub fn record(&mut self, taken: &[BlockId]) {
        for block in taken {
            self.counts[block.0] += 1;
        }
        self.selections += 1;
    }

    /// `visits_l`.
    pub fn count(&self, block: BlockId) -> u64 {
        self.counts[block.0]
    }

    /// `R`: how many selections there were.
    pub fn selections(&self) -> u64 {
        self.selections
    }

    /// `f_l`, in `(0, 1]`.
    pub fn frequency(&self, block: BlockId) -> f64 {
        let (visits, selections) = (self.counts[block.0], self.selections);
        match self.smoothing {
            VisitSmoothing::AddOne => (1 + visits) as f64 / (1 + selections) as f64,
            VisitSmoothing::ClampOne => visits.max(1) as f64 / selections.max(1) as f64,
        }
    }

    /// How many blocks are counted.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether no block is counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frequency_is_never_zero_and_never_above_one(
            taken in proptest::collection::vec(proptest::collection::btree_set(0usize..6, 1..6), 0..30),
        ) {
            for smoothing in [VisitSmoothing::AddOne, VisitSmoothing::ClampOne] {
                let mut visits = Visits::new(6, smoothing);
                for selection in &taken {
                    visits.record(&selection.iter().map(|&block| BlockId(block)).collect::<Vec<_>>());
                }
                for block in (0..6).map(BlockId) {
                    let frequency = visits.frequency(block);
                    prop_assert!(frequency > 0.0 && frequency <= 1.0);
                    prop_assert!(visits.count(block) <= visits.selections());
                }
            }
        }
    }
}
