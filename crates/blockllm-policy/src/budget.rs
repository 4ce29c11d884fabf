//! The exact number of trained entries: `n_s = ceil((1 - s) n)` (ALGORITHM, "Notation").
use crate::{Block, PolicyError, Role};
use serde::{Deserialize, Serialize};

/// How many entries are trained at a time, split into always-trained and selected ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    total: u64,
    trained: u64,
    always: u64,
}

impl Budget {
    /// The budget for `blocks` at `sparsity` in `[0, 1)`.
    ///
    /// # Errors
    /// When the sparsity is outside `[0, 1)`, when there is no candidate, or when the always-trained
    /// blocks alone use up the budget.
    pub fn new(blocks: &[Block], sparsity: f64) -> Result<Self, PolicyError> {
        if !(0.0..1.0).contains(&sparsity) {
            return Err(PolicyError::Sparsity { sparsity });
        }
        let sum = |role| {
            blocks
                .iter()
                .filter(|block| block.role == role)
                .map(|block| block.numel)
                .sum()
        };
        let (always, candidates): (u64, u64) = (sum(Role::Always), sum(Role::Candidate));
        if candidates == 0 {
            return Err(PolicyError::NoCandidates { blocks: blocks.len() });
        }
        let total = always + candidates;
        let trained = trained_entries(total, sparsity);
        if trained <= always {
            return Err(PolicyError::BudgetBelowAlways {
                trained,
                always,
                sparsity,
                total,
            });
        }
        Ok(Self {
            total,
            trained,
            always,
        })
    }

    /// `n`: entries of all candidates and always-trained blocks.
    pub fn total_entries(&self) -> u64 {
        self.total
    }

    /// `n_s`: entries trained at any time.
    pub fn trained_entries(&self) -> u64 {
        self.trained
    }

    /// `n_A`: entries of the always-trained blocks.
    pub fn always_entries(&self) -> u64 {
        self.always
    }

    /// `n_s - n_A`: entries left for the selection; at least one.
    pub fn selected_entries(&self) -> u64 {
        self.trained - self.always
    }
}

/// `ceil((1 - s) n)`, free of the rounding that makes `1 - 0.9` slightly more than a tenth.
fn trained_entries(total: u64, sparsity: f64) -> u64 {
    let exact = (1.0 - sparsity) * total as f64;
    let nearest = exact.round();
    let tolerance = total as f64 * f64::EPSILON * 2.0;
    let entries = if (exact - nearest).abs() <= tolerance {
        nearest
    } else {
        exact.ceil()
    };
    (entries as u64).clamp(1, total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(numel: u64, role: Role) -> Block {
        Block {
            name: format!("{role:?}{numel}"),
            params: vec![0],
            numel,
            shapes: vec![vec![numel as usize]],
            role,
        }
    }

    #[test]
    fn a_tenth_of_a_thousand_is_a_hundred() {
        let blocks = [block(1000, Role::Candidate)];
        for (sparsity, trained) in [(0.9, 100), (0.95, 50), (0.5, 500), (0.0, 1000), (0.9999, 1)] {
            assert_eq!(
                Budget::new(&blocks, sparsity).unwrap().trained_entries(),
                trained,
                "{sparsity}"
            );
        }
    }

    #[test]
    fn sparsity_one_is_refused() {
        let error = Budget::new(&[block(10, Role::Candidate)], 1.0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("sparsity 1"), "{error}");
    }

    #[test]
    fn always_trained_blocks_that_use_up_the_budget_are_refused() {
        let blocks = [block(60, Role::Always), block(40, Role::Candidate)];
        let error = Budget::new(&blocks, 0.5).unwrap_err().to_string();
        assert!(error.contains("60") && error.contains("50"), "{error}");
    }

    proptest! {
        #[test]
        fn the_budget_is_the_smallest_integer_not_below_its_share(total in 1u64..10_000_000, percent in 0u32..100) {
            let sparsity = f64::from(percent) / 100.0;
            let trained = trained_entries(total, sparsity);
            let exact = u128::from(total) * u128::from(100 - percent);
            prop_assert!(u128::from(trained) * 100 >= exact);
            prop_assert!((u128::from(trained) - 1) * 100 < exact);
        }
    }
}
