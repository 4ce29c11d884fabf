//! The selection itself: fills the budget from a policy's ranking, and keeps visits, norms and the loss history.
mod config;
mod selection;
mod state;

pub use config::SelectorConfig;
pub use selection::Selection;
pub use state::SelectorState;

use crate::{
    Block, BlockId, Budget, Measurements, Policy, PolicyError, PolicyRng, ProbeContext, Progress, Reason,
    Role, SelectContext, Signal, Take, Terms, Visits, terms,
};
use rand::SeedableRng;
use selection::difference;
use std::collections::BTreeSet;

/// Applies a [`Policy`] to a partition.
pub struct Selector {
    blocks: Vec<Block>,
    candidates: Vec<BlockId>,
    /// Of the sparsity in force.
    budget: Budget,
    sparsity: f64,
    config: SelectorConfig,
    policy: Box<dyn Policy>,
    visits: Visits,
    measurements: Measurements,
    measured_at: Vec<Option<u64>>,
    selected: Vec<BlockId>,
    /// The policy's terms for the selected blocks, in their order; empty where it has none.
    terms: Vec<Terms>,
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
            measurements: Measurements::new(policy.signals(), blocks.len()),
            measured_at: vec![None; blocks.len()],
            selected: Vec::new(),
            terms: Vec::new(),
            history: Vec::new(),
            step: 0,
            steps_since_selection: 0,
            rng: PolicyRng::seed_from_u64(config.seed),
            blocks,
            budget,
            sparsity: config.sparsity,
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

    /// What the learning rate of a block's trained entries is multiplied with.
    pub fn rate(&self, block: BlockId) -> f64 {
        let place = self.selected.iter().position(|selected| *selected == block);
        place
            .and_then(|place| self.terms.get(place))
            .map_or(1.0, |terms| terms.rate)
    }

    /// How many entries of each selected block are trained, in their order, where the policy gives them budgets.
    pub fn budgets(&self) -> Option<Vec<u64>> {
        let budgets: Option<Vec<_>> = self.terms.iter().map(|terms| terms.entries).collect();
        budgets.filter(|budgets| !budgets.is_empty())
    }

    /// The sparsity in force.
    pub fn sparsity(&self) -> f64 {
        self.sparsity
    }

    /// The policy's name.
    pub fn policy_name(&self) -> &str {
        self.policy.name()
    }

    /// What the policy needs measured.
    pub fn signals(&self) -> &[Signal] {
        self.policy.signals()
    }

    /// How much of a moving average stays at each step that measures a block.
    pub fn average_decay(&self) -> f64 {
        self.policy.average_decay()
    }

    /// Visit counts.
    pub fn visits(&self) -> &Visits {
        &self.visits
    }

    /// Optimizer steps observed.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Stores what was measured of a block for the first signal that the policy asks for.
    pub fn record_norm(&mut self, block: BlockId, norm: f64) {
        self.record(self.measurements.first(), block, norm);
    }

    /// Stores what was measured of a block, if the policy asks for it.
    pub fn record(&mut self, signal: Signal, block: BlockId, value: f64) {
        self.measurements.note(signal, block, value);
    }

    /// Notes that the gradient of step `step` measured a block (`age[l] <- t`), before its norm has reached the
    /// host. The sweep before the first selection is step 0, the steps count from 1.
    pub fn note_measured(&mut self, block: BlockId, step: u64) {
        self.measured_at[block.0] = Some(step);
    }

    /// What was latest measured of each block for the first signal that the policy asks for; `None` where never.
    pub fn norms(&self) -> &[Option<f64>] {
        self.measurements.of(self.measurements.first())
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
        self.check_measurements()?;
        let sparsity = self.policy.sparsity(self.step).unwrap_or(self.config.sparsity);
        let in_force = Budget::new(&self.blocks, sparsity)?;
        let budget = in_force.selected_entries();
        let context = SelectContext {
            blocks: &self.blocks,
            candidates: &self.candidates,
            measurements: &self.measurements,
            measured_at: &self.measured_at,
            visits: &self.visits,
            selected: &self.selected,
            budget,
            whole_blocks: self.config.whole_blocks,
            step: self.step,
        };
        let ranking = self.policy.rank(&context, &mut self.rng)?;
        self.check_known(&ranking)?;
        let take = self.policy.take().of_whole(self.config.whole_blocks);
        let mut taken = self.take(take, &ranking, budget)?;
        taken.sort_unstable();
        let terms = self.policy.terms(&context, &taken, &mut self.rng)?;
        terms::check(self.policy.name(), &terms, &taken, &self.blocks, budget)?;
        if self.config.whole_blocks && terms.iter().any(|terms| terms.entries.is_some()) {
            return Err(PolicyError::Terms {
                policy: self.policy.name().to_owned(),
                why: "budgets for blocks that are trained whole: give none, or train under a mask".into(),
            });
        }
        let block_entries = taken.iter().map(|block| self.blocks[block.0].numel).sum();
        let own: Option<u64> = terms.iter().map(|terms| terms.entries).sum();
        let trained_entries = match (own, take) {
            (Some(entries), _) if !terms.is_empty() => entries,
            (_, Take::Budget) => budget,
            (_, Take::Fitting | Take::BelowBudget | Take::Blocks(_) | Take::Nothing) => block_entries,
        };
        (self.budget, self.sparsity, self.terms) = (in_force, sparsity, terms);
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

    fn check_measurements(&self) -> Result<(), PolicyError> {
        let mut all = self.measurements.all();
        match all.find(|(_, _, value)| !value.is_finite()) {
            Some((signal, block, value)) => Err(PolicyError::BadMeasurement {
                signal: signal.name(),
                block: self.block(block).name.clone(),
                value,
            }),
            None => Ok(()),
        }
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
    fn take(&self, take: Take, ranking: &[BlockId], budget: u64) -> Result<Vec<BlockId>, PolicyError> {
        let mut ranked = 0;
        match take {
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
            Take::Fitting if !ranking.is_empty() => return Ok(self.fitting(ranking, budget)),
            Take::Budget | Take::Fitting | Take::BelowBudget | Take::Blocks(_) => {}
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

    /// The first of the ranking, and each that still fits.
    fn fitting(&self, ranking: &[BlockId], budget: u64) -> Vec<BlockId> {
        let mut held = 0;
        let mut taken = Vec::new();
        for &block in ranking {
            let numel = self.blocks[block.0].numel;
            if taken.is_empty() || held + numel <= budget {
                held += numel;
                taken.push(block);
            }
        }
        taken
    }
}
