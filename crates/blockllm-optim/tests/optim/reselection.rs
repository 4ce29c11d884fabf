//! A selection that ends: why, what goes and comes, and what becomes of its state.
use crate::common::{NEVER, Run, batch, blockllm, devices, max_difference, roles};
use blockllm_optim::{BlockOptimizerConfig, NormKind};
use blockllm_policy::{Cyclic, CyclicOrder, Magnitude, Partition, Reason};

#[test]
fn a_stalled_loss_selects_again_and_says_so() {
    for (name, device) in devices() {
        let config = BlockOptimizerConfig::new(0.7).with_norm(NormKind::Grad);
        let mut run = Run::new(&device, config, blockllm(3));
        run.steps(1, 1e-2);
        let first = run.optimizer.take_selection_event().unwrap();
        assert_eq!(
            (first.reason, first.number, first.step),
            (Reason::First, 1, 0),
            "{name}"
        );
        assert_eq!(first.entered, first.blocks);
        assert!(first.left.is_empty() && run.optimizer.take_selection_event().is_none());
        // The same loss three times more: |H| is 3 after the third, and the fourth is no lower than their mean.
        let mut reasons = Vec::new();
        for _ in 0..6 {
            run.prepare(&batch(1)).unwrap();
            reasons.push(run.optimizer.observe(9.0).unwrap());
        }
        let stalled = Some(Reason::LossStalled);
        assert_eq!(reasons, [None, None, stalled, None, None, stalled], "{name}");
        run.prepare(&batch(2)).unwrap();
        let event = run.optimizer.take_selection_event().unwrap();
        assert_eq!(
            (event.reason, event.number, event.step),
            (Reason::LossStalled, 3, 7),
            "{name}"
        );
        assert_eq!(event.trained_entries, 81);
    }
}

#[test]
fn what_leaves_is_dropped_and_the_moments_are_reset() {
    for (name, device) in devices() {
        let config = BlockOptimizerConfig::new(0.0)
            .with_partition(Partition::Module)
            .with_roles(roles(&["norm"], &[]));
        let cyclic = Cyclic::new(2, CyclicOrder::Ascending, Some(1)).unwrap();
        let mut run = Run::new(&device, config, cyclic);
        run.steps(2, 1e-2);
        assert_eq!(run.optimizer.state_bytes(), (66 + 12) * 8, "{name}: embed and A");
        run.prepare(&batch(2)).unwrap();
        assert_eq!(
            run.optimizer.state_bytes(),
            12 * 8,
            "{name}: embed is gone, A stays"
        );
        let event = run.optimizer.take_selection_event().unwrap();
        assert_eq!(event.reason, Reason::StepInterval);
        assert_eq!(
            (event.entered, event.left),
            (vec!["fc1".into()], vec!["embed".into()]),
            "{name}"
        );
        let before = run.weights();
        run.step(&batch(2), 1e-2).unwrap();
        assert_eq!(run.optimizer.state_bytes(), (70 + 12) * 8, "{name}: fc1 and A");
        assert_eq!(run.weights()["embed.weight"], before["embed.weight"]);
    }
}

/// With fresh moments the first step of Adam has the size of the learning rate, whatever the gradient.
#[test]
fn the_first_step_of_a_selection_is_that_of_fresh_moments() {
    for (name, device) in devices() {
        let mut run = Run::new(&device, BlockOptimizerConfig::new(0.8), blockllm(NEVER));
        run.steps(5, 1e-2);
        for _ in 0..2 {
            run.optimizer.request_selection();
            let before = run.weights();
            run.step(&batch(5), 1e-2).unwrap();
            let event = run.optimizer.take_selection_event().unwrap();
            assert_eq!(event.reason, Reason::Requested, "{name}");
            let after = run.weights();
            let pairs = before.values().flatten().zip(after.values().flatten());
            let moves: Vec<f32> = pairs
                .map(|(a, b)| (a - b).abs())
                .filter(|change| *change > 0.0)
                .collect();
            assert!(
                !moves.is_empty() && moves.iter().all(|change| (change - 1e-2).abs() < 1e-4),
                "{name} {moves:?}"
            );
        }
    }
}

#[test]
fn the_moments_of_always_trained_parameters_go_on_over_selections() {
    for (name, device) in devices() {
        let train = |patience| {
            // The embedding is the only candidate, so that runs differ in nothing but the resets.
            let config = BlockOptimizerConfig::new(0.0).with_roles(roles(&["norm", "fc1", "fc2"], &[]));
            let mut run = Run::new(&device, config, blockllm(patience));
            // Without a learning rate the loss stands still and moments grow; the last step shows them.
            for _ in 0..4 {
                run.step(&batch(0), 0.0).unwrap();
            }
            run.step(&batch(1), 1e-2).unwrap();
            (run.optimizer.visits().selections(), run.weights())
        };
        // An unchanged loss is no lower than the mean: with patience 1 steps 2, 3 and 4 select again.
        let ((often, reset), (once, kept)) = (train(1), train(NEVER));
        assert_eq!((often, once), (4, 1), "{name}");
        for (path, values) in &reset {
            assert_eq!(*values == kept[path], path != "embed.weight", "{name} {path}");
        }
    }
}

#[test]
fn magnitude_selects_by_the_weights() {
    for (name, device) in devices() {
        let config = BlockOptimizerConfig::new(0.9).with_norm(NormKind::Rms);
        let mut run = Run::new(&device, config, Magnitude::new(2).unwrap());
        run.steps(3, 1e-2);
        // The largest L2 norm is that of the largest matrix, though the gains of the layer norm, near one, have the largest
        // root mean square: the norm that is set is of gradients.
        let selected = run.optimizer.selected_blocks();
        assert_eq!(selected, ["fc2.weight"], "{name}");
        assert_eq!(run.optimizer.visits().selections(), 2);
    }
}

#[test]
fn the_loss_falls_on_an_overfit_batch() {
    for (name, device) in devices() {
        let config = BlockOptimizerConfig::new(0.5);
        let mut run = Run::new(&device, config, blockllm(5));
        let before = run.weights();
        let first = run.step(&batch(0), 0.02).unwrap().loss;
        for _ in 0..30 {
            run.step(&batch(0), 0.02).unwrap();
        }
        let last = run.step(&batch(0), 0.02).unwrap().loss;
        assert!(last < 0.5 * first, "{name}: {first} {last}");
        assert!(max_difference(&before, &run.weights()) > 0.0);
    }
}
