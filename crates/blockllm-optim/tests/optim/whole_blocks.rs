//! Without a mask: selected blocks are trained whole, as many as the budget holds and one at least.
use crate::common::{Run, Toy, batch, blockllm, devices, roles};
use blockllm_optim::{
    BlockOptimizer, BlockOptimizerConfig, MaskRefresh, MaskScope, MaskScore, MaskThreshold, MaskUnit,
    Recovery,
};
use blockllm_policy::{Magnitude, RandomBlocks};
use std::collections::BTreeSet;

fn config(sparsity: f64) -> BlockOptimizerConfig {
    let mut config = BlockOptimizerConfig::new(sparsity);
    config.mask = MaskScope::None;
    config
}

/// Six steps; the sizes of the blocks of each selection, and what the budget left for them.
fn selections(mut run: Run, always: u64, what: &str) -> Vec<(Vec<u64>, u64)> {
    let mut found = Vec::new();
    for step in 0..6 {
        let before = run.weights();
        run.step(&batch(step), 1e-2).unwrap();
        let optimizer = &run.optimizer;
        let selector = optimizer.selector();
        let selected = selector.selected().iter().map(|id| selector.block(*id));
        let (names, sizes): (BTreeSet<&str>, Vec<u64>) =
            selected.map(|block| (block.name.as_str(), block.numel)).unzip();
        let trained = always + sizes.iter().sum::<u64>();
        assert_eq!(optimizer.trained_entries(), trained, "{what}, step {step}");
        assert_eq!(optimizer.state_bytes(), 8 * trained, "{what}, step {step}");
        assert_eq!(
            optimizer.estimated_state_bytes(),
            8 * trained,
            "{what}, step {step}"
        );
        for (path, values) in run.weights() {
            let stays = values == before[&path];
            assert!(
                stays || names.contains(path.as_str()) || (always > 0 && path.starts_with("norm")),
                "{what}, step {step}: {path} moved"
            );
        }
        found.push((sizes, selector.budget().selected_entries()));
    }
    found
}

#[test]
fn blocks_are_trained_whole_within_the_budget_or_one_alone() {
    for (name, device) in devices() {
        for sparsity in [0.3, 0.7, 0.9] {
            let random = RandomBlocks::new(1, None).unwrap();
            for (policy, run) in [
                ("blockllm", Run::new(&device, config(sparsity), blockllm(1))),
                ("random", Run::new(&device, config(sparsity), random)),
            ] {
                let what = format!("{name} {policy} {sparsity}");
                for (sizes, budget) in selections(run, 0, &what) {
                    let held: u64 = sizes.iter().sum();
                    assert!(
                        held <= budget || sizes.len() == 1,
                        "{what}: {sizes:?} of {budget}"
                    );
                    assert!(sparsity > 0.3 || sizes.len() > 1, "{what}: {sizes:?} of {budget}");
                }
            }
        }
    }
}

#[test]
fn a_first_block_beyond_the_budget_is_taken_alone_and_what_is_always_trained_is_charged() {
    for (name, device) in devices() {
        // The largest weights are those of a matrix of 110 entries; of 269 a tenth is 27.
        let run = Run::new(&device, config(0.9), Magnitude::new(2).unwrap());
        for found in selections(run, 0, name) {
            assert_eq!(found, (vec![110], 27), "{name}");
        }
        // Half of them, of which the norm's are charged first.
        let run = Run::new(
            &device,
            config(0.5).with_roles(roles(&["norm"], &[])),
            blockllm(1),
        );
        for (sizes, budget) in selections(run, 12, name) {
            assert_eq!(budget, 135 - 12, "{name}");
            assert!(
                sizes.iter().sum::<u64>() <= budget || sizes.len() == 1,
                "{sizes:?}"
            );
        }
    }
}

#[test]
fn settings_of_a_mask_are_refused_where_there_is_none() {
    let (_, device) = devices().remove(0);
    let with = |set: &dyn Fn(&mut BlockOptimizerConfig)| {
        let mut config = config(0.5);
        set(&mut config);
        config
    };
    for (field, config) in [
        (
            "threshold",
            with(&|config| config.threshold = MaskThreshold::Sampled(512)),
        ),
        ("refresh", with(&|config| config.refresh = MaskRefresh::EachStep)),
        ("score", config(0.5).with_score(MaskScore::SmallestWeights)),
        ("unit", with(&|config| config.unit = MaskUnit::Input)),
        ("recovery", config(0.5).with_recovery(Recovery { growth: 1.01 })),
    ] {
        let refused = BlockOptimizer::new(&Toy::new(&device), config, blockllm(1));
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains(&format!("`{field}`")) && text.contains("mask=none"),
            "{text}"
        );
    }
}
