//! Trained entries equal the budget, exactly.
use crate::common::{ENTRIES, NEVER, Run, blockllm, devices, roles};
use blockllm_optim::{BlockOptimizerConfig, MaskScope};
use blockllm_policy::{All, Cyclic, CyclicOrder, Partition, Roles};

fn partitions() -> Vec<Partition> {
    vec![
        Partition::Tensor,
        Partition::Module,
        Partition::DecoderLayer,
        Partition::custom(|path| path.chars().take(3).collect()),
    ]
}

#[test]
fn trained_entries_are_the_budget_for_every_partition_scope_and_role() {
    let all_roles = [
        (Roles::default(), 0, 0),
        (roles(&["norm"], &[]), 12, 0),
        (roles(&["fc2.bias"], &["embed"]), 11, 66),
    ];
    for (name, device) in devices() {
        // The table is long for a software device: every other row is enough there.
        let stride = if name == "flex" { 1 } else { 5 };
        let mut row = 0;
        for partition in partitions() {
            for scope in [MaskScope::Global, MaskScope::PerParameter] {
                for (roles, always, never) in &all_roles {
                    for sparsity in [0.0, 0.3, 0.5, 0.77, 0.9] {
                        row += 1;
                        if row % stride != 0 {
                            continue;
                        }
                        let mut config = BlockOptimizerConfig::new(sparsity)
                            .with_partition(partition.clone())
                            .with_roles(roles.clone());
                        config.mask = scope;
                        let mut run = Run::new(&device, config, blockllm(NEVER));
                        run.steps(1, 1e-2);
                        let total = ENTRIES - never;
                        let budget = ((1.0 - sparsity) * total as f64 - 1e-9).ceil() as u64;
                        let row = format!("{name} {partition:?} {scope:?} {roles:?} {sparsity}");
                        assert_eq!(run.optimizer.trained_entries(), budget, "{row}");
                        let selector = run.optimizer.selector().budget();
                        assert_eq!(
                            (selector.trained_entries(), selector.always_entries()),
                            (budget, *always),
                            "{row}"
                        );
                        let estimated = run.optimizer.estimated_state_bytes();
                        assert_eq!(run.optimizer.state_bytes(), estimated, "{row}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_budget_holds_after_every_reselection() {
    for (name, device) in devices() {
        let config = BlockOptimizerConfig::new(0.6).with_roles(roles(&["norm"], &[]));
        let mut run = Run::new(&device, config, blockllm(1));
        for step in 0..8 {
            run.step(&crate::common::batch(step), 1e-2).unwrap();
            assert_eq!(run.optimizer.trained_entries(), 108, "{name} step {step}");
            assert_eq!(run.optimizer.state_bytes(), run.optimizer.estimated_state_bytes());
        }
        assert!(run.optimizer.visits().selections() > 1, "{name}");
    }
}

#[test]
fn whole_blocks_are_trained_whole() {
    for (name, device) in devices() {
        let mut all = Run::new(&device, BlockOptimizerConfig::new(0.9), All);
        all.steps(1, 1e-2);
        assert_eq!(all.optimizer.trained_entries(), ENTRIES, "{name}");
        let config = BlockOptimizerConfig::new(0.9).with_partition(Partition::Module);
        let cyclic = Cyclic::new(1, CyclicOrder::Ascending, Some(1)).unwrap();
        let mut badam = Run::new(&device, config, cyclic);
        for (step, entries) in [66, 12, 70, 121, 66].into_iter().enumerate() {
            badam.step(&crate::common::batch(step), 1e-2).unwrap();
            assert_eq!(badam.optimizer.trained_entries(), entries, "{name} step {step}");
        }
    }
}
