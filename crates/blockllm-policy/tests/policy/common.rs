//! Selectors of any size, a policy that records its rankings, and a run that drives a selector as training does.
use blockllm_policy::{
    Block, BlockId, BlockLlmSettings, CyclicOrder, CyclicSettings, EpsilonGreedySettings, FixedSettings,
    ImportanceSettings, MagnitudeSettings, MisaSettings, OfficialCompatSettings, Policy, PolicyConfig,
    PolicyError, PolicyRng, ProbeContext, Progress, RandomSettings, Reason, Role, SelectContext, Selection,
    Selector, SelectorConfig, Signal, Take,
};
use rand::RngExt;
use std::sync::{Arc, Mutex};

/// Blocks `b0`, `b1` and so on, all candidates.
pub fn blocks(sizes: &[u64]) -> Vec<Block> {
    let block = |(index, numel): (usize, &u64)| Block {
        name: format!("b{index}"),
        params: vec![index],
        numel: *numel,
        shapes: vec![vec![*numel as usize]],
        role: Role::Candidate,
    };
    sizes.iter().enumerate().map(block).collect()
}

/// A selector with seed 7 over blocks of these sizes.
pub fn selector(sizes: &[u64], sparsity: f64, policy: impl Policy + 'static) -> Selector {
    boxed(sizes, sparsity, Box::new(policy))
}

/// [`selector`] with a boxed policy.
pub fn boxed(sizes: &[u64], sparsity: f64, policy: Box<dyn Policy>) -> Selector {
    let config = SelectorConfig {
        sparsity,
        seed: 7,
        ..SelectorConfig::default()
    };
    Selector::new(blocks(sizes), config, policy).unwrap()
}

/// Every built-in policy, in every way of taking blocks; made for at least three blocks.
pub fn built_in() -> Vec<PolicyConfig> {
    let mut policies: Vec<_> = PolicyConfig::names()
        .iter()
        .map(|name| PolicyConfig::from_name(name).unwrap())
        .collect();
    for order in [
        CyclicOrder::Ascending,
        CyclicOrder::Descending,
        CyclicOrder::Random,
    ] {
        for blocks in [None, Some(2)] {
            policies.push(PolicyConfig::Cyclic(CyclicSettings {
                interval: 3,
                order,
                blocks,
            }));
        }
    }
    policies.extend([
        PolicyConfig::Random(RandomSettings {
            interval: 3,
            blocks: Some(2),
            unbiased: true,
        }),
        PolicyConfig::Misa(MisaSettings {
            interval: 2,
            eta: 3.0,
            decay: 0.5,
        }),
        PolicyConfig::BlockLlm(BlockLlmSettings { patience: 2 }),
        PolicyConfig::Magnitude(MagnitudeSettings { interval: 4 }),
        PolicyConfig::Importance(ImportanceSettings {
            interval: 2,
            temperature: 0.5,
        }),
        PolicyConfig::EpsilonGreedy(EpsilonGreedySettings {
            patience: 2,
            epsilon: 0.8,
            decay: 0.7,
        }),
        PolicyConfig::OfficialCompat(OfficialCompatSettings {
            interval: 3,
            patience: 2,
        }),
        PolicyConfig::Fixed(FixedSettings {
            blocks: vec!["b2".into(), "b0".into()],
        }),
    ]);
    policies
}

/// Records the norm of every candidate.
pub fn measure(selector: &mut Selector, norms: &[f64]) {
    for block in selector.candidates() {
        selector.record_norm(block, norms[block.0]);
    }
}

/// The indices of a selection's blocks.
pub fn indices(blocks: &[BlockId]) -> Vec<usize> {
    blocks.iter().map(|block| block.0).collect()
}

/// Selects with these norms and returns the indices.
pub fn select(selector: &mut Selector, norms: &[f64]) -> Vec<usize> {
    measure(selector, norms);
    indices(&selector.select().unwrap().blocks)
}

/// The probes and the selection of one step.
pub type Turn = (Vec<BlockId>, Option<Selection>);

/// Drives `selector` for `steps` steps with random norms and losses, as the optimizer does.
pub fn drive(selector: &mut Selector, steps: u64, rng: &mut PolicyRng) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut reason = (selector.visits().selections() == 0).then_some(Reason::First);
    for _ in 0..steps {
        for block in selector.candidates() {
            selector.record_norm(block, rng.random_range(0.0..1.0));
        }
        let selection = reason.map(|reason| selector.select_because(reason).unwrap());
        let probes = selector.probes().unwrap();
        for block in &probes {
            selector.note_measured(*block, selector.step() + 1);
        }
        reason = selector.observe(rng.random_range(0.0..1.0));
        turns.push((probes, selection));
    }
    turns
}

/// The rankings that a [`Recorded`] policy gave.
pub type Rankings = Arc<Mutex<Vec<Vec<BlockId>>>>;

/// A policy that notes its rankings.
pub struct Recorded {
    inner: Box<dyn Policy>,
    rankings: Rankings,
}

impl Recorded {
    pub fn new(inner: Box<dyn Policy>) -> (Self, Rankings) {
        let rankings = Rankings::default();
        (
            Self {
                inner,
                rankings: rankings.clone(),
            },
            rankings,
        )
    }
}

impl Policy for Recorded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signals(&self) -> &[Signal] {
        self.inner.signals()
    }

    fn take(&self) -> Take {
        self.inner.take()
    }

    fn rank(
        &mut self,
        context: &SelectContext<'_>,
        rng: &mut PolicyRng,
    ) -> Result<Vec<BlockId>, PolicyError> {
        let ranking = self.inner.rank(context, rng)?;
        self.rankings.lock().unwrap().push(ranking.clone());
        Ok(ranking)
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        self.inner.is_due(progress)
    }

    fn probes(&mut self, context: &ProbeContext<'_>, rng: &mut PolicyRng) -> Vec<BlockId> {
        self.inner.probes(context, rng)
    }
}
