//! `cyclic`: the blocks in turn, every `k` steps (`BAdam`).
use super::checked::at_least_one;
use super::settings::Settings;
use crate::{
    BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take, every_k_steps,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The order of a cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CyclicOrder {
    /// From the embeddings to the head.
    #[default]
    Ascending,
    /// From the head to the embeddings.
    Descending,
    /// A new random order for each cycle.
    Random,
}

/// Takes the blocks in turn.
///
/// *Rule:* the next blocks of the cycle, again every `interval` steps; either until the budget is met, or
/// `blocks` whole ones. *Source:* `BAdam`, arXiv 2404.02827, with the decoder-layer partition and one block.
/// *Settings:* `interval` (100 steps), `order`, `blocks` (the budget when absent). *Use it* as the block coordinate descent baseline.
#[derive(Clone, Debug)]
pub struct Cyclic {
    interval: u64,
    order: CyclicOrder,
    blocks: Option<usize>,
    cycle: Vec<BlockId>,
    next: usize,
}

impl Cyclic {
    /// Moving on every `interval` steps; `blocks` whole blocks at a time, or the budget when `None`.
    ///
    /// # Errors
    /// When a number is 0.
    pub fn new(interval: u64, order: CyclicOrder, blocks: Option<usize>) -> Result<Self, PolicyError> {
        Ok(Self {
            blocks: blocks.map(|blocks| at_least_one("blocks", blocks)).transpose()?,
            interval: at_least_one("interval", interval)?,
            order,
            cycle: Vec::new(),
            next: 0,
        })
    }

    fn new_cycle(&mut self, candidates: &[BlockId], rng: &mut PolicyRng) {
        self.cycle = candidates.to_vec();
        self.next = 0;
        match self.order {
            CyclicOrder::Ascending => {}
            CyclicOrder::Descending => self.cycle.reverse(),
            CyclicOrder::Random => self.cycle.shuffle(rng),
        }
    }

    /// Where in the cycle the next block is. A selection that spans two cycles may meet a block of the first one again in
    /// the second: that block waits for the next selection, so that each cycle holds every block once.
    fn place_of_next(&self, taken: &[BlockId]) -> usize {
        let mut rest = self.cycle[self.next..].iter();
        self.next + rest.position(|block| !taken.contains(block)).unwrap_or(0)
    }

    /// Passes over the block at `place` of the cycle.
    fn pass(&mut self, place: usize) {
        self.cycle[self.next..=place].rotate_right(1);
        self.next += 1;
    }

    /// Whether `next` is taken too, after `count` blocks of `held` entries. A block that would cross the budget is: it is masked,
    /// or else is the first of the next selection, since the cycle must pass over none that is not trained.
    fn takes(&self, context: &SelectContext<'_>, (count, held): (usize, u64), next: BlockId) -> bool {
        match self.blocks {
            Some(blocks) => count < blocks,
            None if context.whole_blocks => {
                count == 0 || held + context.blocks[next.0].numel <= context.budget
            }
            None => held < context.budget,
        }
    }
}

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CyclicSettings {
    /// Steps between selections.
    pub interval: u64,
    /// The order of a cycle.
    pub order: CyclicOrder,
    /// How many whole blocks are taken; as many as meet the budget where there is no number.
    pub blocks: Option<usize>,
}

impl Settings for CyclicSettings {
    fn defaults() -> Option<Self> {
        Some(Self {
            interval: 100,
            order: CyclicOrder::Ascending,
            blocks: None,
        })
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Cyclic::new(self.interval, self.order, self.blocks)?))
    }
}

impl Policy for Cyclic {
    fn name(&self) -> &'static str {
        "cyclic"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "interval": self.interval, "order": self.order, "blocks": self.blocks })
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn take(&self) -> Take {
        self.blocks.map_or(Take::Budget, Take::Blocks)
    }

    fn rank(
        &mut self,
        context: &SelectContext<'_>,
        rng: &mut PolicyRng,
    ) -> Result<Vec<BlockId>, PolicyError> {
        self.check_restored(context.candidates)?;
        let (mut taken, mut held) = (Vec::new(), 0);
        while taken.len() < context.candidates.len() {
            if self.next >= self.cycle.len() {
                self.new_cycle(context.candidates, rng);
            }
            let place = self.place_of_next(&taken);
            let block = self.cycle[place];
            if !self.takes(context, (taken.len(), held), block) {
                break;
            }
            self.pass(place);
            held += context.blocks[block.0].numel;
            taken.push(block);
        }
        Ok(taken)
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        every_k_steps(progress, self.interval)
    }

    fn lookback(&self) -> usize {
        0
    }

    fn state(&self) -> serde_json::Value {
        serde_json::json!({ "cycle": self.cycle, "next": self.next })
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<(), PolicyError> {
        let mismatch = || PolicyError::StateMismatch {
            what: "policy state",
            found: state.to_string(),
            expected: "an object with `cycle` and `next`".into(),
        };
        let cycle: Vec<BlockId> = serde_json::from_value(state["cycle"].clone()).map_err(|_| mismatch())?;
        let next: usize = serde_json::from_value(state["next"].clone()).map_err(|_| mismatch())?;
        if next > cycle.len() {
            return Err(mismatch());
        }
        (self.cycle, self.next) = (cycle, next);
        Ok(())
    }

    /// A cycle may be of another partition, or edited.
    fn check_restored(&self, candidates: &[BlockId]) -> Result<(), PolicyError> {
        let known: BTreeSet<BlockId> = candidates.iter().copied().collect();
        let mut seen = BTreeSet::new();
        match self
            .cycle
            .iter()
            .find(|block| !known.contains(block) || !seen.insert(**block))
        {
            None => Ok(()),
            Some(wrong) => Err(PolicyError::StateMismatch {
                what: "policy state",
                found: format!("block {} in the cycle", wrong.0),
                expected: format!("each of the {} candidates at most once", candidates.len()),
            }),
        }
    }
}
