//! All devices select the same blocks, make the same masks and reach the same weights.
use crate::common::{Run, blockllm, devices, max_difference, roles};
use blockllm_optim::BlockOptimizerConfig;

#[test]
fn three_steps_agree_on_blocks_masks_and_weights() {
    let runs: Vec<_> = devices()
        .into_iter()
        .map(|(name, device)| {
            let config = BlockOptimizerConfig::new(0.7).with_roles(roles(&["norm"], &[]));
            let mut run = Run::new(&device, config, blockllm(1));
            let before = run.weights();
            let mut selected = Vec::new();
            for step in 0..3 {
                run.step(&crate::common::batch(step), 1e-3).unwrap();
                selected.push(run.optimizer.selected_blocks().join(","));
            }
            let after = run.weights();
            // What moved shows the mask.
            let pairs = before.values().flatten().zip(after.values().flatten());
            let moved: Vec<bool> = pairs.map(|(a, b)| a.to_bits() != b.to_bits()).collect();
            (name, selected, moved, after)
        })
        .collect();
    for pair in runs.windows(2) {
        let (first, second) = (&pair[0], &pair[1]);
        assert_eq!(first.1, second.1, "blocks");
        assert!(first.2 == second.2, "masks of {} and {}", first.0, second.0);
        let difference = max_difference(&first.3, &second.3);
        println!(
            "{} and {} differ by {difference:e} after 3 steps",
            first.0, second.0
        );
        assert!(difference < 1e-5, "{difference:e}");
    }
}
