//! What holds for every selection of every policy.
use crate::common::{Recorded, blocks, built_in, drive};
use blockllm_policy::{
    BlockId, BlockLlmPolicy, Budget, Policy, PolicyConfig, PolicyError, PolicyRng, Role, Selection, Selector,
    SelectorConfig, Take,
};
use proptest::prelude::*;
use rand::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};

fn entries(selector: &Selector, ids: &[BlockId]) -> u64 {
    ids.iter().map(|id| selector.block(*id).numel).sum()
}

/// Drives `policy` for some steps, and checks each of its selections against the ranking that led to it.
fn check(
    policy: &PolicyConfig,
    sizes: &[u64],
    percent: u32,
    seed: u64,
    whole_blocks: bool,
) -> Result<(), TestCaseError> {
    let (policy, rankings) = Recorded::new(policy.build().unwrap());
    let take = policy.take().of_whole(whole_blocks);
    let config = SelectorConfig {
        sparsity: f64::from(percent) / 100.0,
        seed,
        whole_blocks,
        ..SelectorConfig::default()
    };
    let mut selector = Selector::new(blocks(sizes), config, Box::new(policy)).unwrap();
    let turns = drive(&mut selector, 12, &mut PolicyRng::seed_from_u64(seed));
    let selections: Vec<_> = turns
        .iter()
        .filter_map(|(_, selection)| selection.as_ref())
        .collect();
    let rankings = rankings.lock().unwrap();
    prop_assert_eq!(rankings.len(), selections.len());
    for (selection, ranking) in selections.into_iter().zip(rankings.iter()) {
        prop_assert!(!selection.blocks.is_empty());
        prop_assert!(selection.blocks.is_sorted());
        prop_assert_eq!(entries(&selector, &selection.blocks), selection.block_entries);
        if take != Take::Fitting {
            let front = &ranking[..selection.blocks.len()];
            prop_assert_eq!(
                front.iter().collect::<BTreeSet<_>>(),
                selection.blocks.iter().collect()
            );
        }
        check_taken(&selector, take, selection, ranking)?;
    }
    Ok(())
}

/// Checks how much of `ranking` is taken.
fn check_taken(
    selector: &Selector,
    take: Take,
    selection: &Selection,
    ranking: &[BlockId],
) -> Result<(), TestCaseError> {
    let budget = selector.budget().selected_entries();
    let numel = |block: BlockId| selector.block(block).numel;
    let (count, held) = (selection.blocks.len(), selection.block_entries);
    let trained = if take == Take::Budget { budget } else { held };
    prop_assert_eq!(selection.trained_entries, trained);
    match take {
        Take::Nothing => unreachable!("it is none of those tried"),
        Take::Blocks(wanted) => prop_assert_eq!(count, wanted.min(selector.candidates().len())),
        Take::BelowBudget => {
            let next = ranking.get(count).map_or(u64::MAX, |block| numel(*block));
            prop_assert!(held <= budget || count == 1, "only a first block may cross");
            prop_assert!(held.saturating_add(next) > budget, "and the next one would");
        }
        Take::Budget => {
            prop_assert!(held >= budget, "the crossing block is included");
            prop_assert!(held - numel(ranking[count - 1]) < budget, "and nothing after it");
        }
        Take::Fitting => {
            prop_assert!(held <= budget || count == 1, "only a block alone may exceed it");
            let mut before = 0;
            for block in ranking {
                let is_taken = selection.blocks.contains(block);
                prop_assert_eq!(is_taken, before == 0 || before + numel(*block) <= budget);
                before += if is_taken { numel(*block) } else { 0 };
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_policy_takes_the_front_of_its_ranking_up_to_the_crossing_block(
        sizes in proptest::collection::vec(1u64..400, 4..12),
        percent in 0u32..100,
        seed in 0u64..1000,
    ) {
        for policy in built_in() {
            check(&policy, &sizes, percent, seed, false)?;
        }
    }

    #[test]
    fn without_masks_the_first_block_is_taken_whole_and_each_that_still_fits(
        sizes in proptest::collection::vec(1u64..400, 4..12),
        percent in 0u32..100,
        seed in 0u64..1000,
    ) {
        for policy in built_in() {
            check(&policy, &sizes, percent, seed, true)?;
        }
    }

    #[test]
    fn visits_entered_and_left_tell_what_was_taken(
        sizes in proptest::collection::vec(1u64..400, 4..12),
        percent in 0u32..100,
        seed in 0u64..1000,
    ) {
        for policy in built_in() {
            let config = SelectorConfig { sparsity: f64::from(percent) / 100.0, seed, ..SelectorConfig::default() };
            let mut selector = Selector::new(blocks(&sizes), config, policy.build().unwrap()).unwrap();
            let turns = drive(&mut selector, 20, &mut PolicyRng::seed_from_u64(seed));
            let mut visits: BTreeMap<_, u64> = BTreeMap::new();
            let mut before = BTreeSet::new();
            let mut number = 0;
            for (probes, selection) in turns {
                if let Some(selection) = selection {
                    number += 1;
                    prop_assert_eq!(selection.number, number);
                    let now: BTreeSet<_> = selection.blocks.iter().copied().collect();
                    prop_assert_eq!(selection.entered, now.difference(&before).copied().collect::<Vec<_>>());
                    prop_assert_eq!(selection.left, before.difference(&now).copied().collect::<Vec<_>>());
                    for block in selection.blocks {
                        *visits.entry(block).or_default() += 1;
                    }
                    before = now;
                }
                prop_assert!(probes.iter().all(|probe| !before.contains(probe)), "a probe is outside the selection");
            }
            prop_assert_eq!(selector.selected(), before.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(selector.visits().selections(), number);
            for block in selector.candidates() {
                prop_assert_eq!(selector.visits().count(block), visits.get(&block).copied().unwrap_or(0));
            }
        }
    }

    #[test]
    fn only_candidates_are_taken_and_always_trained_blocks_are_charged_first(
        sizes in proptest::collection::vec((1u64..400, 0u8..4), 4..14),
        percent in 0u32..100,
    ) {
        let mut blocks = blocks(&sizes.iter().map(|(size, _)| *size).collect::<Vec<_>>());
        for (block, (_, role)) in blocks.iter_mut().zip(&sizes) {
            block.role = match role { 0 => Role::Always, 1 => Role::Never, _ => Role::Candidate };
        }
        let share = |role| blocks.iter().filter(|block| block.role == role).map(|block| block.numel).sum::<u64>();
        let (always, candidates) = (share(Role::Always), share(Role::Candidate));
        let sparsity = f64::from(percent) / 100.0;
        match Budget::new(&blocks, sparsity) {
            Err(PolicyError::NoCandidates { .. }) => prop_assert_eq!(candidates, 0),
            Err(PolicyError::BudgetBelowAlways { trained, .. }) => prop_assert!(trained <= always),
            Err(other) => prop_assert!(false, "{}", other),
            Ok(budget) => {
                prop_assert_eq!(budget.total_entries(), always + candidates);
                let config = SelectorConfig { sparsity, ..SelectorConfig::default() };
                let policy = BlockLlmPolicy::default();
                let mut selector = Selector::new(blocks, config, Box::new(policy)).unwrap();
                drive(&mut selector, 1, &mut PolicyRng::seed_from_u64(1));
                for id in selector.selected() {
                    prop_assert_eq!(selector.block(*id).role, Role::Candidate);
                }
                let held = always + entries(&selector, selector.selected());
                prop_assert!(held >= budget.trained_entries());
            }
        }
    }
}
