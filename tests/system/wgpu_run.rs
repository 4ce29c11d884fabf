//! The trainer on wgpu: every kind of method gives flex's losses, and memory is measured by the device's pool.
use crate::batches::padded;
use crate::training::{constant, examples_of_kinds, steps, train_tiny_on};
use blockllm::train::LanguageModeling;
use blockllm::train::memory::MemorySource;
use burn::tensor::{Device, DeviceKind};

/// Four steps of f32 sums in another order; losses are near 5.
const TOLERANCE: f64 = 1e-3;
/// Where gradients are whitened: rounding goes through fifteen products more, and embeddings move a hundred times as far.
const WHITENED: f64 = 1e-2;

/// How far the losses of `method` may be apart.
fn tolerance(method: &str) -> f64 {
    if method.contains("whitened") {
        WHITENED
    } else {
        TOLERANCE
    }
}

#[test]
fn every_kind_of_method_trains_on_wgpu_as_on_flex_and_measures_the_pool() {
    let batches = [padded(&[9, 12, 5], 12, 1), padded(&[12, 7, 11], 12, 5)];
    let config = constant(4, 1e-3);
    for method in examples_of_kinds() {
        let objective = LanguageModeling::default();
        let run = |device: &Device| train_tiny_on(device, &objective, &method, &config, &batches);
        let (_, on_flex) = run(&Device::flex());
        let (trained, on_wgpu) = run(&Device::wgpu(DeviceKind::DefaultDevice));
        let pairs = steps(&on_flex).into_iter().zip(steps(&on_wgpu));
        for (flex, wgpu) in pairs {
            let (expected, found) = (flex.loss, wgpu.loss);
            assert!(
                (expected - found).abs() < tolerance(&method),
                "{method}, step {}: {expected} {found}",
                flex.step
            );
        }
        let memory = trained.memory;
        assert_eq!(memory.source, MemorySource::DevicePool, "{method}");
        let state = memory.optimizer_state_bytes;
        assert_eq!(state.measured, state.estimated, "{method}");
        let parts = memory.weights_bytes + memory.gradients_bytes + state.measured + memory.activations_bytes;
        assert_eq!(parts, memory.peak_bytes, "{method}");
        assert!(state.measured > 0 && memory.weights_bytes > 0, "{method}");
    }
}
