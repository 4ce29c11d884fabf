//! Each policy's rule by an example.
use crate::common::{blocks, boxed, indices, measure, select, selector};
use blockllm_policy::{
    All, BlockId, BlockLlmPolicy, Cyclic, CyclicOrder, EpsilonGreedy, Fixed, Importance, Magnitude,
    NormOrder, OfficialCompat, PolicyConfig, ProbeContext, RandomBlocks, Reason, Selector, SelectorConfig,
    Signal, least_recently_measured,
};
use std::collections::BTreeSet;

/// Ten equal blocks at a sparsity that selects two of them.
fn two_of_ten(policy: impl blockllm_policy::Policy + 'static) -> Selector {
    selector(&[10; 10], 0.8, policy)
}

#[test]
fn blockllm_scores_the_norm_over_the_visit_frequency() {
    let mut selector = selector(&[10, 10, 10], 0.7, BlockLlmPolicy::default());
    let norms = [4.0, 3.0, 1.1];
    // R = 0: f = 1 for all. R = 1: 4 / (2/2), 3 / (1/2). R = 2: 4 / (2/3), 3 / (2/3), 1.1 / (1/3).
    // R = 3: 4 / (3/4) = 5.33, 3 / (2/4) = 6, 1.1 / (1/4) = 4.4.
    // R = 4: 4 / (3/5) = 6.67, 3 / (3/5) = 5, 1.1 / (1/5) = 5.5.
    let taken: Vec<_> = (0..5).map(|_| select(&mut selector, &norms)).collect();
    assert_eq!(taken, [[0], [1], [0], [1], [0]]);
    // R = 5: 4 / (4/6) = 6, 3 / (3/6) = 6, 1.1 / (1/6) = 6.6: a block often visited yields even to a small norm.
    assert_eq!(select(&mut selector, &norms), [2]);
}

#[test]
fn blockllm_without_visits_always_takes_the_largest_norms() {
    let policy = BlockLlmPolicy::default().with_order(NormOrder::LargestIgnoringVisits);
    let mut selector = selector(&[10, 10, 10], 0.5, policy);
    for _ in 0..10 {
        assert_eq!(select(&mut selector, &[1.0, 4.0, 3.0]), [1, 2]);
    }
    assert_eq!(select(&mut selector, &[5.0, 4.0, 3.0]), [0, 1]);
}

#[test]
fn suboptimal_takes_the_smallest_norms() {
    let policy = BlockLlmPolicy::default().with_order(NormOrder::SmallestIgnoringVisits);
    let mut selector = selector(&[10, 10, 10], 0.5, policy);
    assert_eq!(select(&mut selector, &[1.0, 4.0, 3.0]), [0, 2]);
    assert_eq!(select(&mut selector, &[1.0, 0.0, 0.5]), [1, 2]);
}

#[test]
fn equal_scores_go_in_block_order() {
    for name in ["blockllm", "blockllm-no-visits", "suboptimal", "magnitude"] {
        let policy = PolicyConfig::from_name(name).unwrap().build().unwrap();
        let mut selector = boxed(&[10; 5], 0.6, policy);
        assert_eq!(select(&mut selector, &[1.0; 5]), [0, 1], "{name}");
    }
    let mut zeros = selector(&[10; 5], 0.6, BlockLlmPolicy::default());
    assert_eq!(select(&mut zeros, &[0.0; 5]), [0, 1]);
}

#[test]
fn magnitude_takes_the_largest_weights_and_asks_for_them() {
    let mut selector = two_of_ten(Magnitude::new(5).unwrap());
    assert_eq!(selector.signals(), [Signal::WeightNorm]);
    let norms = [0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 9.0, 0.0, 8.0, 0.0];
    assert_eq!(select(&mut selector, &norms), [6, 8]);
    assert!(selector.probes().unwrap().is_empty());
}

#[test]
fn random_is_seeded_and_reaches_every_block() {
    let run = || {
        let mut selector = two_of_ten(RandomBlocks::new(1, None).unwrap());
        (0..100)
            .map(|_| indices(&selector.select().unwrap().blocks))
            .collect::<Vec<_>>()
    };
    let taken = run();
    assert_eq!(taken, run());
    let mut counts = [0; 10];
    for block in taken.iter().flatten() {
        counts[*block] += 1;
    }
    assert!(counts.iter().all(|count| (5..40).contains(count)), "{counts:?}");
    let mut whole = two_of_ten(RandomBlocks::new(1, Some(3)).unwrap());
    let selection = whole.select().unwrap();
    assert_eq!((selection.blocks.len(), selection.trained_entries), (3, 30));
}

/// What `cyclic` takes, `count` times.
fn cycle(
    order: CyclicOrder,
    blocks: Option<usize>,
    sizes: &[u64],
    sparsity: f64,
    count: usize,
) -> Vec<Vec<usize>> {
    let mut selector = selector(sizes, sparsity, Cyclic::new(1, order, blocks).unwrap());
    (0..count)
        .map(|_| indices(&selector.select().unwrap().blocks))
        .collect()
}

#[test]
fn cyclic_goes_up_and_down() {
    let up = cycle(CyclicOrder::Ascending, Some(1), &[10; 4], 0.0, 5);
    assert_eq!(up, [[0], [1], [2], [3], [0]]);
    let down = cycle(CyclicOrder::Descending, Some(1), &[10; 4], 0.0, 5);
    assert_eq!(down, [[3], [2], [1], [0], [3]]);
    // Three of five entries a time: the budget spans two cycles.
    let spanning = cycle(CyclicOrder::Ascending, None, &[10; 5], 0.4, 4);
    assert_eq!(
        spanning,
        [vec![0, 1, 2], vec![0, 3, 4], vec![1, 2, 3], vec![0, 1, 4]]
    );
}

#[test]
fn cyclic_takes_every_block_once_per_cycle_in_each_order() {
    for order in [
        CyclicOrder::Ascending,
        CyclicOrder::Descending,
        CyclicOrder::Random,
    ] {
        for (blocks, sparsity) in [
            (Some(1), 0.0),
            (Some(2), 0.0),
            (Some(3), 0.0),
            (None, 0.4),
            (None, 0.2),
        ] {
            let taken = cycle(order, blocks, &[10; 5], sparsity, 50);
            let mut counts = [0usize; 5];
            for (turn, selection) in taken.iter().enumerate() {
                for block in selection {
                    counts[*block] += 1;
                }
                let each = (turn + 1) * selection.len() / 5;
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(
                    *least >= each && *most <= each + 1,
                    "{order:?} {blocks:?} {sparsity}: {counts:?}"
                );
            }
        }
    }
}

#[test]
fn without_masks_a_cycle_passes_over_no_block_that_is_not_trained() {
    // Alone above the budget are 40 and 30; two of the others fit together at times.
    let sizes = [10, 40, 5, 30, 8, 7];
    for order in [
        CyclicOrder::Ascending,
        CyclicOrder::Descending,
        CyclicOrder::Random,
    ] {
        let config = SelectorConfig {
            sparsity: 0.8,
            whole_blocks: true,
            ..SelectorConfig::default()
        };
        let policy = Box::new(Cyclic::new(1, order, None).unwrap());
        let mut selector = Selector::new(blocks(&sizes), config, policy).unwrap();
        let budget = selector.budget().selected_entries();
        let mut counts = [0; 6];
        for turn in 1..=60 {
            let selection = selector.select().unwrap();
            assert!(selection.block_entries <= budget || selection.blocks.len() == 1);
            for block in selection.blocks {
                counts[block.0] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*least >= turn / 6 && *most <= *least + 1, "{order:?}: {counts:?}");
        }
        assert!(
            counts.iter().sum::<usize>() > 60,
            "{order:?}: some are taken together"
        );
    }
}

#[test]
fn a_random_cycle_differs_from_the_next() {
    let taken = cycle(CyclicOrder::Random, Some(1), &[10; 6], 0.0, 18);
    let cycles: BTreeSet<_> = taken
        .chunks(6)
        .map(|cycle| cycle.iter().flatten().collect::<Vec<_>>())
        .collect();
    assert_eq!(cycles.len(), 3);
}

#[test]
fn importance_prefers_large_norms_in_proportion() {
    let mut selector = selector(&[10; 4], 0.75, Importance::new(1, 1.0).unwrap());
    let mut counts = [0u32; 4];
    for _ in 0..4000 {
        counts[select(&mut selector, &[4.0, 3.0, 2.0, 1.0])[0]] += 1;
    }
    for (count, expected) in counts.iter().zip([1600u32, 1200, 800, 400]) {
        assert!(count.abs_diff(expected) < 130, "{counts:?}");
    }
}

#[test]
fn importance_at_a_low_temperature_is_greedy() {
    let mut selector = selector(&[10; 4], 0.75, Importance::new(1, 0.01).unwrap());
    for _ in 0..50 {
        assert_eq!(select(&mut selector, &[4.0, 3.0, 2.0, 0.0]), [0]);
    }
}

#[test]
fn epsilon_greedy_explores_less_and_less() {
    let norms = [9.0, 8.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1];
    let mut selector = two_of_ten(EpsilonGreedy::new(1, 1.0, 0.95).unwrap());
    let greedy: Vec<_> = (0..200)
        .map(|_| select(&mut selector, &norms) == [0, 1])
        .collect();
    let share = |turns: &[bool]| turns.iter().filter(|greedy| **greedy).count();
    assert!(!greedy[0] || !greedy[1], "it explores at first");
    assert!(share(&greedy[..20]) < 15, "{greedy:?}");
    assert!(share(&greedy[100..]) >= 98, "{greedy:?}");
    let mut never = two_of_ten(EpsilonGreedy::new(1, 0.0, 1.0).unwrap());
    assert_eq!(select(&mut never, &norms), [0, 1]);
}

#[test]
fn fixed_takes_its_names_whole_and_never_selects_again() {
    let mut selector = two_of_ten(Fixed::new(vec!["b7".into(), "b3".into(), "b1".into()]).unwrap());
    let selection = selector.select().unwrap();
    assert_eq!(indices(&selection.blocks), [1, 3, 7]);
    assert_eq!(selection.trained_entries, 30);
    assert!((0..500).all(|_| selector.observe(1.0).is_none()));
}

#[test]
fn all_takes_every_block_and_never_selects_again() {
    let mut selector = two_of_ten(All);
    let selection = selector.select().unwrap();
    assert_eq!((selection.blocks.len(), selection.trained_entries), (10, 100));
    assert!((0..500).all(|_| selector.observe(1.0).is_none()));
    assert!(selector.probes().unwrap().is_empty());
}

#[test]
fn probes_are_the_least_recently_measured_outside_the_selection() {
    let mut selector = two_of_ten(BlockLlmPolicy::default());
    measure(&mut selector, &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 1.0]);
    for block in selector.candidates() {
        selector.note_measured(block, 0);
    }
    assert_eq!(indices(&selector.select().unwrap().blocks), [8, 9]);
    let mut probed = Vec::new();
    for step in 1..=5 {
        let probes = selector.probes().unwrap();
        for block in &probes {
            selector.note_measured(*block, step);
        }
        probed.push(indices(&probes));
        selector.observe(1.0 / step as f64);
    }
    assert_eq!(probed, [[0, 1], [2, 3], [4, 5], [6, 7], [0, 1]]);
}

#[test]
fn a_block_never_measured_is_probed_first() {
    let unselected: Vec<_> = (0..4).map(BlockId).collect();
    let context = ProbeContext {
        unselected: &unselected,
        measured_at: &[Some(3), Some(1), None, Some(2)],
        probes: 3,
    };
    assert_eq!(indices(&least_recently_measured(&context)), [2, 1, 3]);
}

/// Sizes 10, 40, 5, 20 with a budget of 30: after the largest norm (5) and the next (20) the third (40) would cross.
#[test]
fn official_compat_drops_the_crossing_block_and_never_probes() {
    let policy = OfficialCompat::new(4, 2).unwrap();
    let mut selector = selector(&[10, 40, 5, 20], 0.6, policy);
    measure(&mut selector, &[0.1, 0.5, 0.9, 0.7]);
    let selection = selector.select().unwrap();
    assert_eq!(indices(&selection.blocks), [2, 3]);
    assert_eq!(
        (selection.block_entries, selection.trained_entries),
        (25, 25),
        "whole, without a mask"
    );
    assert!(selector.probes().unwrap().is_empty());
    // A first block that is above the budget is taken all the same.
    measure(&mut selector, &[0.1, 0.9, 0.2, 0.3]);
    assert_eq!(indices(&selector.select().unwrap().blocks), [1]);
}

#[test]
fn official_compat_looks_at_the_losses_only_at_its_interval() {
    let due = |losses: &[f64]| {
        let mut selector = selector(&[10, 40, 5, 20], 0.6, OfficialCompat::new(4, 2).unwrap());
        measure(&mut selector, &[0.1, 0.5, 0.9, 0.7]);
        selector.select().unwrap();
        losses
            .iter()
            .map(|loss| selector.observe(*loss))
            .collect::<Vec<_>>()
    };
    let stalled = Some(Reason::LossStalled);
    assert_eq!(
        due(&[1.0, 2.0, 3.0, 4.0, 9.0]),
        [None, None, None, stalled, None],
        "rising, seen at step 4"
    );
    assert_eq!(due(&[4.0, 3.0, 2.0, 1.0, 0.5]), [None; 5], "falling");
}

#[test]
fn official_compat_ranks_only_what_was_ever_measured() {
    let mut selector = selector(&[10, 40, 5, 20], 0.2, OfficialCompat::new(4, 2).unwrap());
    selector.record_norm(BlockId(0), 0.1);
    selector.record_norm(BlockId(3), 0.3);
    assert_eq!(indices(&selector.select().unwrap().blocks), [0, 3]);
}
