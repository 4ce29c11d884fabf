//! What can be wrong with a partition, a budget or a policy.
use thiserror::Error;

/// An error of the policy side; each names the value and the limit.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The sparsity leaves nothing, or more than everything, to train.
    #[error("sparsity {sparsity} is outside [0, 1): use 0 to train every entry, 0.95 to train 5 % of them")]
    Sparsity {
        /// The value given.
        sparsity: f64,
    },
    /// No block may be selected.
    #[error(
        "the partition's {blocks} blocks hold no candidate: every block is always or never trained; free some in `roles`"
    )]
    NoCandidates {
        /// How many blocks the partition has.
        blocks: usize,
    },
    /// `n_A >= n_s`.
    #[error(
        "the always-trained blocks have {always} entries, but sparsity {sparsity} of {total} leaves a budget of {trained}: \
         lower the sparsity or train fewer blocks always"
    )]
    BudgetBelowAlways {
        /// `n_s`.
        trained: u64,
        /// `n_A`.
        always: u64,
        /// `s`.
        sparsity: f64,
        /// `n`.
        total: u64,
    },
    /// The partition covers no parameter.
    #[error(
        "the partition covers no parameter: the module has no float parameter, or the function names no block"
    )]
    EmptyPartition,
    /// A role pattern matches nothing, so it is a typo.
    #[error(
        "the role pattern `{pattern}` matches none of the {params} parameters; the first is `{first}`, and modules are called {modules}"
    )]
    UnmatchedRole {
        /// The pattern.
        pattern: String,
        /// How many parameters there are.
        params: usize,
        /// One that exists, to show what paths look like.
        first: String,
        /// What modules that have parameters are called.
        modules: String,
    },
    /// A policy returned a block that is not a candidate.
    #[error("policy `{policy}` returned block {block}, which is not one of the {candidates} candidates")]
    UnknownBlock {
        /// The policy's name.
        policy: String,
        /// The block it returned.
        block: usize,
        /// How many candidates there are.
        candidates: usize,
    },
    /// A policy returned the same block twice in one ranking.
    #[error("policy `{policy}` ranked block {block} twice")]
    DuplicateBlock {
        /// The policy's name.
        policy: String,
        /// The block.
        block: usize,
    },
    /// A policy's ranking ends before the budget is met.
    #[error("policy `{policy}` ranked blocks with {ranked} entries, fewer than the budget of {budget}")]
    RankingTooShort {
        /// The policy's name.
        policy: String,
        /// Entries of the blocks it ranked.
        ranked: u64,
        /// Entries that the selection needs.
        budget: u64,
    },
    /// What the policy needs was never measured.
    #[error(
        "policy `{policy}` needs the {signal} of block `{block}`, which was not measured: run the sweep first"
    )]
    NotMeasured {
        /// The policy's name.
        policy: String,
        /// What it needs.
        signal: &'static str,
        /// The block's name.
        block: String,
    },
    /// What was measured is NaN or infinite.
    #[error("the {signal} of block `{block}` is {value}: the training has diverged; lower the learning rate")]
    BadMeasurement {
        /// What was measured.
        signal: &'static str,
        /// The block's name.
        block: String,
        /// What it was.
        value: f64,
    },
    /// A policy's terms are not those of its selection.
    #[error("policy `{policy}` gave terms that cannot be: {why}")]
    Terms {
        /// The policy's name.
        policy: String,
        /// What is wrong with them.
        why: String,
    },
    /// A setting is out of its range.
    #[error("policy setting `{field}` is {value}: {mend}")]
    Setting {
        /// The setting's name.
        field: &'static str,
        /// The value given.
        value: String,
        /// What to do.
        mend: String,
    },
    /// No policy has this name.
    #[error("no policy is called `{name}`; there are {known}")]
    UnknownPolicy {
        /// The name given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The saved state belongs to another model, policy or partition.
    #[error(
        "the saved selection state has {what} {found}, this run has {expected}: resume with the same model and settings"
    )]
    StateMismatch {
        /// What differs.
        what: &'static str,
        /// The state's value.
        found: String,
        /// This run's value.
        expected: String,
    },
}
