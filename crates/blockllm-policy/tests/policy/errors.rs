//! What a selector refuses, and that the text names the value and the limit.
use crate::common::{boxed, measure, selector};
use blockllm_policy::{
    BlockId, BlockLlmPolicy, Budget, Cyclic, CyclicOrder, EpsilonGreedy, Fixed, Importance, Magnitude,
    ParamInfo, Partition, Policy, PolicyConfig, PolicyError, PolicyRng, ProbeContext, Progress, RandomBlocks,
    Reason, Roles, SelectContext, Signal, Take,
};

/// Returns what it is told to.
struct Scripted {
    ranking: Vec<usize>,
    probes: Vec<usize>,
    take: Take,
}

fn ranks(ranking: &[usize]) -> Scripted {
    Scripted {
        ranking: ranking.to_vec(),
        probes: Vec::new(),
        take: Take::Budget,
    }
}

impl Policy for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn take(&self) -> Take {
        self.take
    }

    fn rank(&mut self, _: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        Ok(self.ranking.iter().copied().map(BlockId).collect())
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }

    fn probes(&mut self, _: &ProbeContext<'_>, _: &mut PolicyRng) -> Vec<BlockId> {
        self.probes.iter().copied().map(BlockId).collect()
    }
}

fn refused(policy: Scripted) -> String {
    let mut selector = selector(&[10, 10, 10], 0.5, policy);
    let text = selector.select().unwrap_err().to_string();
    assert!(
        selector.selected().is_empty() && selector.visits().selections() == 0,
        "{text}"
    );
    text
}

#[test]
fn a_ranking_with_an_unknown_block_is_refused() {
    let text = refused(ranks(&[0, 3]));
    assert!(
        text.contains("`scripted`") && text.contains("block 3") && text.contains('3'),
        "{text}"
    );
}

#[test]
fn a_ranking_that_names_a_block_twice_is_refused() {
    let text = refused(ranks(&[1, 2, 1]));
    assert!(text.contains("block 1 twice"), "{text}");
}

#[test]
fn a_ranking_that_ends_before_the_budget_is_refused() {
    let text = refused(ranks(&[1]));
    assert!(
        text.contains("10 entries") && text.contains("budget of 15"),
        "{text}"
    );
}

#[test]
fn an_empty_ranking_is_refused_however_blocks_are_taken() {
    for take in [Take::Budget, Take::Blocks(1)] {
        let text = refused(Scripted { take, ..ranks(&[]) });
        assert!(text.contains("0 entries"), "{text}");
    }
}

#[test]
fn a_probe_that_is_no_candidate_is_refused() {
    let policy = Scripted {
        probes: vec![9],
        ..ranks(&[0, 1])
    };
    let error = selector(&[10, 10, 10], 0.5, policy).probes().unwrap_err();
    assert!(error.to_string().contains("block 9"), "{error}");
}

#[test]
fn a_missing_norm_is_named_by_every_policy_that_needs_one() {
    for name in PolicyConfig::names() {
        let policy = PolicyConfig::from_name(name).unwrap().build().unwrap();
        // Greedy from the start, or it explores and needs no norm.
        let policy = if name == "epsilon-greedy" {
            Box::new(EpsilonGreedy::new(1, 0.0, 1.0).unwrap())
        } else {
            policy
        };
        // `official-compat` ranks whatever happens to be known.
        let needs = !policy.signals().is_empty() && name != "official-compat";
        let mut selector = boxed(&[10, 10, 10], 0.5, policy);
        selector.record_norm(BlockId(0), 1.0);
        selector.record_norm(BlockId(2), 1.0);
        match selector.select() {
            Err(error @ PolicyError::NotMeasured { .. }) if needs => {
                let text = error.to_string();
                assert!(text.contains("`b1`") && text.contains(name), "{text}");
            }
            Ok(_) if !needs => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_norm_that_is_no_number_is_refused() {
    for norm in [f64::NAN, f64::INFINITY] {
        let mut selector = selector(&[10, 10, 10], 0.5, BlockLlmPolicy::default());
        measure(&mut selector, &[1.0, norm, 1.0]);
        let text = selector.select().unwrap_err().to_string();
        assert!(
            text.contains("`b1`") && text.contains(&norm.to_string()),
            "{text}"
        );
    }
}

#[test]
fn a_sparsity_outside_its_range_is_refused() {
    for sparsity in [1.0, 1.5, -0.1, f64::NAN] {
        let blocks = crate::common::blocks(&[10]);
        let text = Budget::new(&blocks, sparsity).unwrap_err().to_string();
        assert!(
            text.contains(&format!("sparsity {sparsity} is outside [0, 1)")),
            "{text}"
        );
    }
}

#[test]
fn every_setting_out_of_range_is_named() {
    let order = CyclicOrder::Ascending;
    let cases: [(&str, Option<PolicyError>); 11] = [
        ("patience", BlockLlmPolicy::new(0).err()),
        ("patience", EpsilonGreedy::new(0, 0.5, 0.5).err()),
        ("epsilon", EpsilonGreedy::new(1, 1.5, 0.5).err()),
        ("decay", EpsilonGreedy::new(1, 0.5, f64::NAN).err()),
        ("interval", Magnitude::new(0).err()),
        ("interval", RandomBlocks::new(0, None).err()),
        ("blocks", RandomBlocks::new(1, Some(0)).err()),
        ("interval", Cyclic::new(0, order, None).err()),
        ("blocks", Cyclic::new(1, order, Some(0)).err()),
        ("temperature", Importance::new(1, 0.0).err()),
        ("blocks", Fixed::new(Vec::new()).err()),
    ];
    for (field, error) in cases {
        let text = error.unwrap().to_string();
        assert!(text.contains(&format!("`{field}`")), "{text}");
    }
    let mut selector = selector(&[10, 10], 0.5, Fixed::new(vec!["b9".into()]).unwrap());
    let text = selector.select().unwrap_err().to_string();
    assert!(text.contains("b9") && text.contains("b0, b1"), "{text}");
}

#[test]
fn unknown_names_list_the_known_ones() {
    let text = PolicyConfig::from_name("blokllm").unwrap_err().to_string();
    assert!(
        text.contains("blokllm") && text.contains("epsilon-greedy"),
        "{text}"
    );
    let text = Partition::from_name("layers").unwrap_err().to_string();
    assert!(
        text.contains("layers") && text.contains("decoder-layer"),
        "{text}"
    );
    let unknown =
        serde_json::from_str::<PolicyConfig>(r#"{"name": "blockllm", "patience": 3, "patient": 4}"#);
    assert!(unknown.unwrap_err().to_string().contains("patient"));
}

#[test]
fn a_module_without_parameters_has_no_partition() {
    let none: [ParamInfo; 0] = [];
    let error = Partition::Tensor.blocks(&none, &Roles::default()).unwrap_err();
    assert_eq!(error, PolicyError::EmptyPartition);
}
