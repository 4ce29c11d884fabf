//! The selection itself: fills the budget from a policy's ranking, and keeps visits, norms and the loss history.
use crate::{
    Block, BlockId, Budget, Policy, PolicyError, PolicyRng, ProbeContext, Progress, Reason, Role, SelectContext,
    Signal, Take, VisitSmoothing, Visits,
};
use rand::SeedableRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Settings of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectorConfig {
    /// `s` in `[0, 1)`: the share of entries that is not trained.
    pub sparsity: f64,
    /// `p`: blocks outside the selection whose gradient norm each step measures.
    pub probes: usize,
    /// **Choice:** how visits become a frequency.
    pub visit_smoothing: VisitSmoothing,
    /// Seed of the policy's random numbers.
    pub seed: u64,
}

impl Default for SelectorConfig {
    fn default() -> Self {
        Self { sparsity: 0.95, probes: 2, visit_smoothing: VisitSmoothing::AddOne, seed: 0 }
    }
}

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

/// What a [`Selector`] must remember across a resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorState {
    policy: String,
    policy_state: serde_json::Value,
    block_sizes: Vec<u64>,
    visits: Visits,
    norms: Vec<Option<f64>>,
    measured_at: Vec<Option<u64>>,
    selected: Vec<BlockId>,
    history: Vec<f64>,
    step: u64,
    steps_since_selection: u64,
    rng: PolicyRng,
}

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
    pub fn new(blocks: Vec<Block>, config: SelectorConfig, policy: Box<dyn Policy>) -> Result<Self, PolicyError> {
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

    /// Notes that a block is being measured in this step, before its norm has reached the host.
    pub fn note_measured(&mut self, block: BlockId) {
        self.measured_at[block.0] = Some(self.step);
    }

    /// `P`: the blocks to probe in the coming step.
    ///
    /// # Errors
    /// When the policy names a block that is not a candidate.
    pub fn probes(&mut self) -> Result<Vec<BlockId>, PolicyError> {
        let unselected: Vec<_> =
            self.candidates.iter().copied().filter(|block| !self.selected.contains(block)).collect();
        let context =
            ProbeContext { unselected: &unselected, measured_at: &self.measured_at, probes: self.config.probes };
        let probes = self.policy.probes(&context, &mut self.rng);
        self.check_known(&probes)?;
        Ok(probes)
    }

    /// Selects: ranks, fills the budget, counts the visits, empties the loss history.
    ///
    /// # Errors
    /// When the policy's ranking is invalid or a norm is missing or not finite.
    pub fn select(&mut self) -> Result<Selection, PolicyError> {
        let reason = if self.visits.selections() == 0 { Reason::First } else { Reason::Requested };
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
            Take::Blocks(_) => block_entries,
        };
        self.visits.record(&taken);
        self.history.clear();
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
        if due.is_some() {
            self.history.clear();
        }
        self.history.push(loss);
        due
    }

    /// Everything that a resume needs.
    pub fn state(&self) -> SelectorState {
        SelectorState {
            policy: self.policy.name().to_owned(),
            policy_state: self.policy.state(),
            block_sizes: self.blocks.iter().map(|block| block.numel).collect(),
            visits: self.visits.clone(),
            norms: self.norms.clone(),
            measured_at: self.measured_at.clone(),
            selected: self.selected.clone(),
            history: self.history.clone(),
            step: self.step,
            steps_since_selection: self.steps_since_selection,
            rng: self.rng.clone(),
        }
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is of another policy or partition.
    pub fn restore(&mut self, state: SelectorState) -> Result<(), PolicyError> {
        if state.policy != self.policy.name() {
            return Err(PolicyError::StateMismatch {
                what: "policy",
                found: state.policy,
                expected: self.policy.name().to_owned(),
            });
        }
        let sizes: Vec<_> = self.blocks.iter().map(|block| block.numel).collect();
        if state.block_sizes != sizes {
            return Err(PolicyError::StateMismatch {
                what: "block sizes",
                found: summary(&state.block_sizes),
                expected: summary(&sizes),
            });
        }
        self.policy.restore(&state.policy_state)?;
        self.visits = state.visits;
        self.norms = state.norms;
        self.measured_at = state.measured_at;
        self.selected = state.selected;
        self.history = state.history;
        self.step = state.step;
        self.steps_since_selection = state.steps_since_selection;
        self.rng = state.rng;
        Ok(())
    }

    fn check_norms(&self) -> Result<(), PolicyError> {
        for (block, norm) in self.blocks.iter().zip(&self.norms) {
            if let Some(norm) = norm.filter(|norm| !norm.is_finite()) {
                return Err(PolicyError::BadNorm { block: block.name.clone(), norm });
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
                return Err(PolicyError::DuplicateBlock { policy: self.policy.name().to_owned(), block: id.0 });
            }
        }
        Ok(())
    }

    /// The front of the ranking that meets the budget; the crossing block is included.
    fn take(&self, ranking: &[BlockId]) -> Result<Vec<BlockId>, PolicyError> {
        let budget = match self.policy.take() {
            Take::Blocks(count) => return Ok(ranking.iter().copied().take(count.max(1)).collect()),
            Take::Budget => self.budget.selected_entries(),
        };
        let mut ranked = 0;
        for (position, block) in ranking.iter().enumerate() {
            ranked += self.blocks[block.0].numel;
            if ranked >= budget {
                return Ok(ranking[..=position].to_vec());
            }
        }
        Err(PolicyError::RankingTooShort { policy: self.policy.name().to_owned(), ranked, budget })
    }
}

/// The entries of `a` that are not in `b`, in order.
fn difference(a: &[BlockId], b: &[BlockId]) -> Vec<BlockId> {
    a.iter().copied().filter(|block| !b.contains(block)).collect()
}

fn summary(sizes: &[u64]) -> String {
    format!("{} blocks with {} entries", sizes.len(), sizes.iter().sum::<u64>())
}
