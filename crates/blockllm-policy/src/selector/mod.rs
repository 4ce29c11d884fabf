//! The selection itself: fills the budget from a policy's ranking, and keeps visits, norms and the loss history.
mod config;
mod selection;
mod state;

pub use config::SelectorConfig;
pub use selection::Selection;
pub use state::SelectorState;

use crate::{
    Block, BlockId, Budget, Policy, PolicyError, PolicyRng, ProbeContext, Progress, Reason, Role,
    SelectContext, Signal, Take, Visits,
};
use rand::SeedableRng;
use selection::difference;
use std::collections::BTreeSet;

/// Applies a [`Policy`] to a partition.
pub struct Selector {
    blocks: Vec<Block>,
    candidates: Vec<BlockId>,
    budget: Budget,
    config: SelectorConfig,
    policy: Box<dyn Policy>,
    visits: Visits,
    norms: Vec<Option<f64>>,
    measured_at: Vec<Option<u64>>,
    selected: Vec<BlockId>,
    history: Vec<f64>,
    step: u64,
    steps_since_selection: u64,
    rng: PolicyRng,
}

impl std::fmt::Debug for Selector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Selector")
            .field("policy", &self.policy.name())
            .field("blocks", &self.blocks.len())
            .field("selected", &self.selected)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl Selector {
    /// A selector over `blocks`; nothing is selected yet.
    ///
    /// # Errors
    /// What [`Budget::new`] refuses.
    pub fn new(
        blocks: Vec<Block>,
        config: SelectorConfig,
        policy: Box<dyn Policy>,
    ) -> Result<Self, PolicyError> {
        let budget = Budget::new(&blocks, config.sparsity)?;
        let is_candidate = |id: &BlockId| blocks[id.0].role == Role::Candidate;
        Ok(Self {
            candidates: (0..blocks.len()).map(BlockId).filter(is_candidate).collect(),
            visits: Visits::new(blocks.len(), config.visit_smoothing),
            norms: vec![None; blocks.len()],
            measured_at: vec![None; blocks.len()],
            selected: Vec::new(),
            history: Vec::new(),
            step: 0,
            steps_since_selection: 0,
            rng: PolicyRng::seed_from_u64(config.seed),
            blocks,
            budget,
            config,
            policy,
        })
    }

    /// All blocks of the partition.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// One block.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0]
    }

    /// `C`, in block order.
    pub fn candidates(&self) -> Vec<BlockId> {
        self.candidates.clone()
    }

    /// The budget in force.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// `S`, in block order; empty before the first selection.
    pub fn selected(&self) -> &[BlockId] {
        &self.selected
    }

    /// The policy's name.
    pub fn policy_name(&self) -> &str {
        self.policy.name()
    }

    /// What the policy needs measured.
    pub fn signal(&self) -> Signal {
        self.policy.signal()
    }

    /// Visit counts.
    pub fn visits(&self) -> &Visits {
        &self.visits
    }

    /// Optimizer steps observed.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Stores the latest norm of a block.
    pub fn record_norm(&mut self, block: BlockId, norm: f64) {
        self.norms[block.0] = Some(norm);
    }

    /// Notes that the gradient of step `step` measured a block (`age[l] <- t`), before its norm has reached the
    /// host. The sweep before the first selection is step 0, the steps count from 1.
    pub fn note_measured(&mut self, block: BlockId, step: u64) {
        self.measured_at[block.0] = Some(step);
    }

    /// The latest norm of each block; `None` where never measured.
    pub fn norms(&self) -> &[Option<f64>] {
        &self.norms
    }

    /// The step at which each block was last measured; `None` where never.
    pub fn measured_at(&self) -> &[Option<u64>] {
        &self.measured_at
    }

    /// `P`: the blocks to probe in the coming step.
    ///
    /// # Errors
    /// When the policy names a block that is not a candidate.
    pub fn probes(&mut self) -> Result<Vec<BlockId>, PolicyError> {
        let unselected: Vec<_> = self
            .candidates
            .iter()
            .copied()
            .filter(|block| !self.selected.contains(block))
            .collect();
        let context = ProbeContext {
            unselected: &unselected,
            measured_at: &self.measured_at,
            probes: self.config.probes,
        };
        let probes = self.policy.probes(&context, &mut self.rng);
        self.check_known(&probes)?;
        Ok(probes)
    }

    /// Selects: ranks, fills the budget, counts the visits; of the loss history only the latest loss stays.
    ///
    /// # Errors
    /// When the policy's ranking is invalid or a norm is missing or not finite.
    pub fn select(&mut self) -> Result<Selection, PolicyError> {
        let reason = if self.visits.selections() == 0 {
            Reason::First
        } else {
            Reason::Requested
        };
        self.select_because(reason)
    }

    /// [`select`](Self::select), with the reason that the log shows.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn select_because(&mut self, reason: Reason) -> Result<Selection, PolicyError> {
        self.check_norms()?;
        let context = SelectContext {
            blocks: &self.blocks,
            candidates: &self.candidates,
            norms: &self.norms,
            visits: &self.visits,
            selected: &self.selected,
            budget: self.budget.selected_entries(),
            step: self.step,
        };
        let ranking = self.policy.rank(&context, &mut self.rng)?;
        self.check_known(&ranking)?;
        let mut taken = self.take(&ranking)?;
        taken.sort_unstable();
        let block_entries = taken.iter().map(|block| self.blocks[block.0].numel).sum();
        let trained_entries = match self.policy.take() {
            Take::Budget => self.budget.selected_entries(),
            Take::BelowBudget | Take::Blocks(_) | Take::Nothing => block_entries,
        };
        self.visits.record(&taken);
        // `H <- []`, and the loss of the step that led here is pushed after it.
        self.history.drain(..self.history.len().saturating_sub(1));
        self.steps_since_selection = 0;
        let before = std::mem::replace(&mut self.selected, taken.clone());
        Ok(Selection {
            entered: difference(&taken, &before),
            left: difference(&before, &taken),
            blocks: taken,
            block_entries,
            trained_entries,
            reason,
            number: self.visits.selections(),
        })
    }

    /// Tells the loss of an optimizer step; returns why it is time to select again, if it is.
    ///
    /// The caller then selects before the next step.
    pub fn observe(&mut self, loss: f64) -> Option<Reason> {
        self.step += 1;
        self.steps_since_selection += 1;
        let progress = Progress {
            history: &self.history,
            loss,
            step: self.step,
            steps_since_selection: self.steps_since_selection,
        };
        let due = self.policy.is_due(&progress);
        self.history.push(loss);
        // Now and then, so that a step costs no copy of the losses that stay.
        let lookback = self.policy.lookback();
        if self.history.len() > lookback.saturating_mul(2) {
            self.history.drain(..self.history.len() - lookback);
        }
        due
    }

    fn check_norms(&self) -> Result<(), PolicyError> {
        for (block, norm) in self.blocks.iter().zip(&self.norms) {
            if let Some(norm) = norm.filter(|norm| !norm.is_finite()) {
                return Err(PolicyError::BadNorm {
                    block: block.name.clone(),
                    norm,
                });
            }
        }
        Ok(())
    }

    fn check_known(&self, ids: &[BlockId]) -> Result<(), PolicyError> {
        let mut seen = BTreeSet::new();
        for &id in ids {
            if self.candidates.binary_search(&id).is_err() {
                return Err(PolicyError::UnknownBlock {
                    policy: self.policy.name().to_owned(),
                    block: id.0,
                    candidates: self.candidates.len(),
                });
            }
            if !seen.insert(id) {
                return Err(PolicyError::DuplicateBlock {
                    policy: self.policy.name().to_owned(),
                    block: id.0,
                });
            }
        }
        Ok(())
    }

    /// The front of the ranking that meets the budget, the crossing block included; or what else the policy takes;
    /// empty only where it takes nothing.
    fn take(&self, ranking: &[BlockId]) -> Result<Vec<BlockId>, PolicyError> {
        let budget = self.budget.selected_entries();
        let mut ranked = 0;
        match self.policy.take() {
            Take::Blocks(count) if !ranking.is_empty() => {
                return Ok(ranking.iter().copied().take(count.max(1)).collect());
            }
            Take::BelowBudget if !ranking.is_empty() => {
                let fits = |block: &&BlockId| {
                    ranked += self.blocks[block.0].numel;
                    ranked <= budget
                };
                let within = ranking.iter().take_while(fits).count();
                return Ok(ranking[..within.max(1)].to_vec());
            }
            Take::Nothing => return Ok(Vec::new()),
            Take::Budget | Take::BelowBudget | Take::Blocks(_) => {}
        }
        for (position, block) in ranking.iter().enumerate() {
            ranked += self.blocks[block.0].numel;
            if ranked >= budget {
                return Ok(ranking[..=position].to_vec());
            }
        }
        Err(PolicyError::RankingTooShort {
            policy: self.policy.name().to_owned(),
            ranked,
            budget,
        })
    }
}
