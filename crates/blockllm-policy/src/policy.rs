//! The policy trait: which blocks next, is it time to select again, which blocks to probe.
use crate::{Block, BlockId, Measurements, PolicyError, Progress, Reason, Signal, Terms, Visits};

/// The random numbers a policy draws from; seeded, portable and saved with the run.
pub type PolicyRng = rand_chacha::ChaCha8Rng;

/// How much of a ranking is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Until the budget is met; the crossing block is included and masked to the exact budget. Where there is no mask
    /// ([`SelectorConfig::whole_blocks`](crate::SelectorConfig::whole_blocks)) it is [`Fitting`](Self::Fitting).
    Budget,
    /// Whole blocks: the first in any case, or a block larger than the budget would never be trained; then each that still fits.
    Fitting,
    /// Whole blocks for as long as they stay within the budget: the crossing block is dropped. The first is taken
    /// in any case.
    BelowBudget,
    /// This many blocks, whole unless the policy's [terms](Policy::terms) give them budgets, whatever that of all is (`BAdam`
    /// trains one layer, LISA two).
    Blocks(usize),
    /// None: only what is always trained, and whatever a rule for all else moves.
    Nothing,
}

impl Take {
    /// What is taken where blocks are trained whole, if they are.
    #[must_use]
    pub fn of_whole(self, whole_blocks: bool) -> Self {
        match self {
            Self::Budget if whole_blocks => Self::Fitting,
            take => take,
        }
    }
}

/// What a policy sees when it ranks the candidates.
#[derive(Clone, Copy, Debug)]
pub struct SelectContext<'a> {
    /// All blocks, with the shapes of their parameters; index with a [`BlockId`].
    pub blocks: &'a [Block],
    /// The candidates `C`, in block order.
    pub candidates: &'a [BlockId],
    /// What was measured of each block, for each [`Signal`] that the policy asks for.
    pub measurements: &'a Measurements,
    /// The step at which each block's gradient was last measured, `None` where never: how stale its norm is.
    pub measured_at: &'a [Option<u64>],
    /// Visit counts and frequencies.
    pub visits: &'a Visits,
    /// The blocks selected now, empty before the first selection.
    pub selected: &'a [BlockId],
    /// Entries that the selection must hold.
    pub budget: u64,
    /// Whether blocks are trained whole, since there is no mask: of what is ranked the first is taken, and each that still fits.
    pub whole_blocks: bool,
    /// Optimizer steps done.
    pub step: u64,
}

impl SelectContext<'_> {
    /// What was measured of `block` for the first signal that `policy` asks for.
    ///
    /// # Errors
    /// When it was never measured.
    pub fn norm(&self, policy: &str, block: BlockId) -> Result<f64, PolicyError> {
        self.signal(policy, self.measurements.first(), block)
    }

    /// What was measured of `block` for one of the signals that `policy` asks for.
    ///
    /// # Errors
    /// When it was never measured.
    pub fn signal(&self, policy: &str, signal: Signal, block: BlockId) -> Result<f64, PolicyError> {
        let measured = self.measurements.of(signal)[block.0];
        measured.ok_or_else(|| PolicyError::NotMeasured {
            policy: policy.to_owned(),
            signal: signal.name(),
            block: self.blocks[block.0].name.clone(),
        })
    }

    /// The candidates by `score`, highest first, ties in block order.
    ///
    /// # Errors
    /// What `score` returns.
    pub fn ranked_by(
        &self,
        mut score: impl FnMut(BlockId) -> Result<f64, PolicyError>,
    ) -> Result<Vec<BlockId>, PolicyError> {
        let mut scored = Vec::with_capacity(self.candidates.len());
        for &block in self.candidates {
            scored.push((score(block)?, block));
        }
        scored.sort_by(|(a, block_a), (b, block_b)| b.total_cmp(a).then(block_a.cmp(block_b)));
        Ok(scored.into_iter().map(|(_, block)| block).collect())
    }
}

/// What a policy sees when it chooses the probes of the next step.
#[derive(Clone, Copy, Debug)]
pub struct ProbeContext<'a> {
    /// Candidates outside the selection, in block order.
    pub unselected: &'a [BlockId],
    /// The step at which each block was last measured; `None` where never.
    pub measured_at: &'a [Option<u64>],
    /// `p`: how many probes a step may run.
    pub probes: usize,
}

/// A rule that chooses parameter blocks. It never sees a tensor.
///
/// Implement [`rank`](Policy::rank) and [`is_due`](Policy::is_due), and pass your struct by value: there is
/// nothing to register.
///
/// A policy chooses blocks. Which entries are trained inside of them, a score of entries chooses, which does see tensors and so is
/// the optimizer's: an `EntryScore` of `blockllm-optim`, given to the block optimizer's settings by `with_score`. A policy that is
/// a method of the command line brings its own score: its `PolicySettings` in `blockllm-train` have the function `configure`, which
/// gets these settings and returns them with a score, a partition or an update rule of its own. `examples/own_method.rs` does it.
///
/// ```
/// use blockllm_policy::{
///     BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, every_k_steps,
/// };
///
/// /// Smallest blocks first, again every 100 steps.
/// struct SmallestFirst;
///
/// impl Policy for SmallestFirst {
///     fn name(&self) -> &str {
///         "smallest-first"
///     }
///     fn signals(&self) -> &[Signal] {
///         &[]
///     }
///     fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
///         context.ranked_by(|block| Ok(-(context.blocks[block.0].numel as f64)))
///     }
///     fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
///         every_k_steps(progress, 100)
///     }
/// }
/// ```
pub trait Policy: Send {
    /// The name that logs and reports show.
    fn name(&self) -> &str;

    /// What must be measured for it: gradient norms unless it says otherwise. The first is what
    /// [`SelectContext::norm`] tells; without any no sweep and no probes are run.
    fn signals(&self) -> &[Signal] {
        &[Signal::GradNorm]
    }

    /// How much of a moving average stays at each step that measures a block, where one is asked for; of that of the weight norms
    /// at each selection.
    fn average_decay(&self) -> f64 {
        0.9
    }

    /// The sparsity of a selection at `step`, where it changes over time; the configured one if `None`. Asked before each
    /// selection.
    fn sparsity(&self, step: u64) -> Option<f64> {
        let _ = step;
        None
    }

    /// How much of the ranking is taken; the budget unless it says otherwise.
    fn take(&self) -> Take {
        Take::Budget
    }

    /// Which blocks next: candidates in order of preference. The selector takes from the front until the
    /// budget is met, so the ranking must be long enough and name no block twice.
    ///
    /// # Errors
    /// When a norm it needs is missing.
    fn rank(&mut self, context: &SelectContext<'_>, rng: &mut PolicyRng)
    -> Result<Vec<BlockId>, PolicyError>;

    /// A learning rate and a budget for each of the blocks in `selected`, which its ranking led to, in their order; none of its
    /// own where the list is empty.
    ///
    /// # Errors
    /// When something it needs is missing.
    fn terms(
        &mut self,
        context: &SelectContext<'_>,
        selected: &[BlockId],
        rng: &mut PolicyRng,
    ) -> Result<Vec<Terms>, PolicyError> {
        let _ = (context, selected, rng);
        Ok(Vec::new())
    }

    /// Is it time to select again? Asked once after every optimizer step: what a policy gathers at each step it gathers here,
    /// and saves by [`state`](Policy::state).
    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason>;

    /// How many losses of [`Progress::history`] [`is_due`](Policy::is_due) looks at: older ones need not be kept. All of them,
    /// if a policy does not say.
    fn lookback(&self) -> usize {
        usize::MAX
    }

    /// Which blocks to probe in the next step: by default the least recently measured ones when the policy
    /// ranks by gradient norms, none otherwise.
    fn probes(&mut self, context: &ProbeContext<'_>, rng: &mut PolicyRng) -> Vec<BlockId> {
        let _ = rng;
        if self.signals().iter().any(|signal| signal.is_of_gradients()) {
            least_recently_measured(context)
        } else {
            Vec::new()
        }
    }

    /// Its settings: a resume refuses a state that was made under others. Null by default, which equals only itself.
    fn settings(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// What it must remember across a resume; nothing by default.
    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Takes back what [`state`](Policy::state) gave.
    ///
    /// # Errors
    /// When the state is of another policy.
    fn restore(&mut self, state: &serde_json::Value) -> Result<(), PolicyError> {
        if state.is_null() {
            return Ok(());
        }
        Err(PolicyError::StateMismatch {
            what: "policy state",
            found: state.to_string(),
            expected: format!("none (policy `{}` keeps no state)", self.name()),
        })
    }

    /// Checks what [`restore`](Policy::restore) took back against the blocks that may be ranked, which it does not know.
    ///
    /// # Errors
    /// When the state names a block that is none of them, or one twice.
    fn check_restored(&self, candidates: &[BlockId]) -> Result<(), PolicyError> {
        let _ = candidates;
        Ok(())
    }
}

/// The `p` least recently measured blocks outside the selection, never measured ones first, ties in block order.
pub fn least_recently_measured(context: &ProbeContext<'_>) -> Vec<BlockId> {
    let mut blocks = context.unselected.to_vec();
    blocks.sort_by_key(|block| (context.measured_at[block.0], *block));
    blocks.truncate(context.probes);
    blocks
}
