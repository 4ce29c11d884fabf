//! All that a policy of one's own may do: several signals, sparsity over time, terms for blocks, state that grows at each step.
use crate::common::{blocks, indices};
use blockllm_policy::{
    BlockId, MisaSettings, Policy, PolicyConfig, PolicyError, PolicyRng, Progress, RandomSettings, Reason,
    SelectContext, Selector, SelectorConfig, Signal, Terms,
};

/// Ranks by the average norm over the weights' norm times the steps since it was measured, ever fewer entries, each block at a
/// rate and a budget of its own; selects again once the losses it has seen sum up to `limit`.
struct Rich {
    limit: f64,
    seen: f64,
}

const SIGNALS: [Signal; 3] = [Signal::GradNormAverage, Signal::WeightNorm, Signal::Curvature];

impl Policy for Rich {
    fn name(&self) -> &'static str {
        "rich"
    }

    fn signals(&self) -> &[Signal] {
        &SIGNALS
    }

    fn average_decay(&self) -> f64 {
        0.5
    }

    fn sparsity(&self, step: u64) -> Option<f64> {
        Some(if step < 3 { 0.5 } else { 0.8 })
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        self.seen = 0.0;
        context.ranked_by(|block| {
            let of = |signal| context.signal("rich", signal, block);
            let stale = context.step + 1 - context.measured_at[block.0].unwrap_or(0);
            let is_matrix = f64::from(u8::from(context.blocks[block.0].shapes[0].len() == 2));
            Ok(
                of(Signal::GradNormAverage)? / of(Signal::WeightNorm)? * stale as f64
                    + of(Signal::Curvature)?
                    + is_matrix,
            )
        })
    }

    fn terms(
        &mut self,
        context: &SelectContext<'_>,
        selected: &[BlockId],
        _: &mut PolicyRng,
    ) -> Result<Vec<Terms>, PolicyError> {
        let share = context.budget / selected.len() as u64;
        let of = |id: &BlockId| Terms {
            rate: 1.0 + id.0 as f64,
            entries: Some(share.min(context.blocks[id.0].numel)),
        };
        Ok(selected.iter().map(of).collect())
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        self.seen += progress.loss;
        (self.seen >= self.limit).then_some(Reason::LossStalled)
    }

    fn state(&self) -> serde_json::Value {
        self.seen.into()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<(), PolicyError> {
        self.seen = state.as_f64().unwrap_or(f64::NAN);
        Ok(())
    }
}

fn rich() -> Selector {
    rich_of(&SelectorConfig::default())
}

fn rich_of(config: &SelectorConfig) -> Selector {
    let config = SelectorConfig {
        sparsity: 0.1,
        ..config.clone()
    };
    let policy = Rich {
        limit: 5.0,
        seen: 0.0,
    };
    let mut selector = Selector::new(blocks(&[10; 10]), config, Box::new(policy)).unwrap();
    for block in selector.candidates() {
        selector.record(
            Signal::GradNormAverage,
            block,
            [3.0, 1.0, 2.0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1][block.0],
        );
        selector.record(Signal::WeightNorm, block, 1.0);
        selector.record(Signal::Curvature, block, 0.0);
        selector.note_measured(block, 0);
    }
    selector
}

#[test]
fn sparsity_budgets_and_rates_are_the_policy_s() {
    let mut selector = rich();
    let first = selector.select().unwrap();
    assert_eq!(indices(&first.blocks), [0, 1, 2, 3, 4]);
    assert_eq!(
        (selector.sparsity(), selector.budget().trained_entries()),
        (0.5, 50)
    );
    assert_eq!(first.trained_entries, 50);
    assert_eq!(selector.budgets(), Some(vec![10; 5]));
    let rate = |block| selector.rate(BlockId(block)).to_bits();
    assert_eq!((rate(4), rate(7)), (5.0_f64.to_bits(), 1.0_f64.to_bits()));
    assert_eq!(selector.observe(2.0), None);
    assert_eq!(selector.observe(2.0), None);
    assert_eq!(selector.observe(1.0), Some(Reason::LossStalled));
    selector.record(Signal::WeightNorm, BlockId(0), 10.0);
    let second = selector.select().unwrap();
    // Two of ten, each the whole of its block; block 0 is 3 / 10 now.
    assert_eq!(indices(&second.blocks), [1, 2]);
    assert_eq!((second.trained_entries, selector.sparsity()), (20, 0.8));
}

#[test]
fn budgets_for_blocks_that_are_trained_whole_are_refused() {
    let mut selector = rich_of(&SelectorConfig {
        whole_blocks: true,
        ..SelectorConfig::default()
    });
    let text = selector.select().unwrap_err().to_string();
    assert!(
        text.contains("`rich`") && text.contains("trained whole"),
        "{text}"
    );
    assert!(selector.selected().is_empty());
}

#[test]
fn a_state_in_the_middle_goes_on_alike() {
    let mut whole = rich();
    whole.select().unwrap();
    for loss in [1.0, 1.5, 0.5, 1.0] {
        assert_eq!(whole.observe(loss), None);
    }
    whole.select().unwrap();
    whole.observe(4.0);
    let json = serde_json::to_string(&whole.state()).unwrap();
    let mut resumed = rich();
    resumed.restore(serde_json::from_str(&json).unwrap()).unwrap();
    assert_eq!((resumed.sparsity(), resumed.budget()), (0.8, whole.budget()));
    assert_eq!(resumed.budgets(), whole.budgets());
    assert_eq!(
        resumed.rate(BlockId(0)).to_bits(),
        whole.rate(BlockId(0)).to_bits()
    );
    assert_eq!(resumed.observe(1.0), Some(Reason::LossStalled));
    assert_eq!(whole.observe(1.0), Some(Reason::LossStalled));
    assert_eq!(resumed.select().unwrap(), whole.select().unwrap());
}

/// Gives these terms.
struct Given(Vec<Terms>);

impl Policy for Given {
    fn name(&self) -> &'static str {
        "given"
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        Ok(context.candidates.to_vec())
    }

    fn terms(
        &mut self,
        _: &SelectContext<'_>,
        _: &[BlockId],
        _: &mut PolicyRng,
    ) -> Result<Vec<Terms>, PolicyError> {
        Ok(self.0.clone())
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }
}

#[test]
fn terms_that_cannot_be_are_refused_and_nothing_is_selected() {
    let (rate, entries) = (Terms::at_rate, Terms::of_entries);
    for (terms, told) in [
        (vec![rate(1.0)], "1 for 2 blocks"),
        (vec![rate(0.0), rate(1.0)], "the rate 0 for block `b0`"),
        (vec![rate(1.0), rate(f64::NAN)], "NaN for block `b1`"),
        (vec![entries(3), rate(1.0)], "a budget for 1 of 2"),
        (
            vec![entries(11), entries(1)],
            "11 of the 10 entries of block `b0`",
        ),
        (vec![entries(0), entries(1)], "0 of the 10"),
        (
            vec![entries(10), entries(6)],
            "16 entries in all, beyond the budget of 15",
        ),
    ] {
        let mut selector = crate::common::selector(&[10, 10, 10], 0.5, Given(terms));
        let error = selector.select().unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("`given`"), "{error}");
        assert!(selector.selected().is_empty() && selector.budgets().is_none());
    }
    let mut selector = crate::common::selector(&[10, 10, 10], 0.5, Given(vec![entries(10), entries(5)]));
    assert_eq!(selector.select().unwrap().trained_entries, 15);
}

#[test]
fn an_unbiased_draw_is_stepped_by_the_inverse_of_its_probability() {
    let policy = PolicyConfig::Random(RandomSettings {
        interval: 1,
        blocks: Some(2),
        unbiased: true,
    });
    let mut selector = crate::common::boxed(&[10; 8], 0.5, policy.build().unwrap());
    let mut sums = [0.0; 8];
    for _ in 0..2000 {
        for block in selector.select().unwrap().blocks {
            sums[block.0] += selector.rate(block);
        }
    }
    // A step's expected rate is 1 for each block: 2000 in all.
    for sum in sums {
        assert!((sum - 2000.0_f64).abs() < 320.0, "{sums:?}");
    }
    let alone = PolicyConfig::Random(RandomSettings {
        interval: 1,
        blocks: None,
        unbiased: true,
    });
    assert!(alone.build().err().unwrap().to_string().contains("blocks"));
}

#[test]
fn misa_draws_by_the_exponential_of_the_average() {
    let policy = PolicyConfig::Misa(MisaSettings {
        interval: 1,
        eta: 2.0,
        decay: 0.9,
    });
    let mut selector = crate::common::boxed(&[10, 10], 0.5, policy.build().unwrap());
    assert_eq!(selector.signals(), [Signal::GradNormAverage]);
    let turns = 4000;
    let first = (0..turns)
        .filter(|_| crate::common::select(&mut selector, &[1.0, 0.5]) == [0])
        .count();
    // exp(2) / (exp(2) + exp(1)) = 0.731.
    let share = first as f64 / f64::from(turns);
    assert!((share - 0.731).abs() < 0.03, "{share}");
}

/// Ranks by signals of weights.
struct ByWeights;

impl Policy for ByWeights {
    fn name(&self) -> &'static str {
        "by-weights"
    }

    fn signals(&self) -> &[Signal] {
        &[Signal::WeightNormAverage, Signal::WeightNorm]
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        let of = |signal, block| context.signal("by-weights", signal, block);
        context.ranked_by(|block| Ok(of(Signal::WeightNorm, block)? / of(Signal::WeightNormAverage, block)?))
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }
}

#[test]
fn weight_norms_and_their_average_need_no_probes_and_are_saved_under_their_names() {
    let mut selector = crate::common::selector(&[10, 10], 0.5, ByWeights);
    for (block, average) in [(0, 4.0), (1, 2.0)] {
        selector.record(Signal::WeightNormAverage, BlockId(block), average);
    }
    let error = selector.select().unwrap_err().to_string();
    assert!(error.contains("weight norm of block `b0`"), "{error}");
    for block in selector.candidates() {
        selector.record(Signal::WeightNorm, block, 3.0);
    }
    assert_eq!(indices(&selector.select().unwrap().blocks), [1]);
    assert!(selector.probes().unwrap().is_empty());
    let state = serde_json::to_value(selector.state()).unwrap();
    let values = serde_json::json!({ "weight-norm": [3.0, 3.0], "weight-norm-average": [4.0, 2.0] });
    assert_eq!(state["measurements"]["values"], values);
}
