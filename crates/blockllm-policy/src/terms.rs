//! What a policy may set for a block that is selected: its learning rate and its budget.
use crate::{Block, BlockId, PolicyError};
use serde::{Deserialize, Serialize};

/// How a selected block is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What the learning rate of its trained entries is multiplied with.
    pub rate: f64,
    /// How many of its entries the mask keeps: for all blocks of a selection, or for none. The sparsity's budget of all holds
    /// also for the sum of these.
    pub entries: Option<u64>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            rate: 1.0,
            entries: None,
        }
    }
}

impl Terms {
    /// At this multiple of the learning rate.
    pub fn at_rate(rate: f64) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    /// With this many entries trained.
    pub fn of_entries(entries: u64) -> Self {
        Self {
            entries: Some(entries),
            ..Self::default()
        }
    }
}

/// Refuses terms that are not those of the blocks in `selected`, or beyond the `budget` of all.
pub(crate) fn check(
    policy: &str,
    terms: &[Terms],
    selected: &[BlockId],
    blocks: &[Block],
    budget: u64,
) -> Result<(), PolicyError> {
    let refuse = |why: String| {
        Err(PolicyError::Terms {
            policy: policy.to_owned(),
            why,
        })
    };
    if terms.is_empty() {
        return Ok(());
    }
    if terms.len() != selected.len() {
        return refuse(format!("{} for {} blocks", terms.len(), selected.len()));
    }
    let own = terms.iter().filter(|terms| terms.entries.is_some()).count();
    if own != 0 && own != terms.len() {
        return refuse(format!(
            "a budget for {own} of {} blocks: give all one, or none",
            terms.len()
        ));
    }
    for (terms, id) in terms.iter().zip(selected) {
        let block = &blocks[id.0];
        if !(terms.rate.is_finite() && terms.rate > 0.0) {
            return refuse(format!(
                "the rate {} for block `{}`: use a positive number",
                terms.rate, block.name
            ));
        }
        if let Some(entries) = terms
            .entries
            .filter(|entries| !(1..=block.numel).contains(entries))
        {
            return refuse(format!(
                "{entries} of the {} entries of block `{}`",
                block.numel, block.name
            ));
        }
    }
    let sum: u64 = terms.iter().filter_map(|terms| terms.entries).sum();
    if sum > budget {
        return refuse(format!("{sum} entries in all, beyond the budget of {budget}"));
    }
    Ok(())
}
