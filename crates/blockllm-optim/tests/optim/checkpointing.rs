//! Gradient checkpointing: parameters keep their strategy through selections and updates.
use crate::common::{Run, blockllm, max_difference, plain_devices, roles};
use blockllm_optim::BlockOptimizerConfig;

/// `Tensor::from_inner` gives the default strategy, which panicked with "strategy mismatch" in the next forward.
#[test]
fn checkpointed_training_goes_on_over_selections_and_gives_the_same_weights() {
    for (name, device) in plain_devices() {
        let plain = device.clone().autodiff();
        let thrifty = device.autodiff().gradient_checkpointing();
        let train = |device| {
            let config = BlockOptimizerConfig::new(0.6)
                .with_roles(roles(&["norm"], &[]))
                .with_max_grad_norm(Some(1.0));
            let mut run = Run::new(device, config, blockllm(1));
            run.steps(8, 1e-2);
            assert!(run.optimizer.visits().selections() > 2, "{name}");
            run.weights()
        };
        let difference = max_difference(&train(&plain), &train(&thrifty));
        assert!(difference < 1e-6, "{name}: {difference:e}");
    }
}
