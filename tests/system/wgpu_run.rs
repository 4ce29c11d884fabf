//! The trainer on wgpu: every kind of method gives flex's losses, and memory is measured by the device's pool.
use crate::batches::padded;
use crate::training::{constant, steps, train_tiny_on};
use blockllm::train::LanguageModeling;
use blockllm::train::memory::MemorySource;
use burn::tensor::{Device, DeviceKind};

/// Four steps of f32 sums in another order; losses are near 5.
const TOLERANCE: f64 = 1e-3;

#[test]
fn every_kind_of_method_trains_on_wgpu_as_on_flex_and_measures_the_pool() {
    let batches = [padded(&[9, 12, 5], 12, 1), padded(&[12, 7, 11], 12, 5)];
    let config = constant(4, 1e-3);
    for method in [
        "adamw",
        "blockllm:0.5",
        "badam",
        "lora:2",
        "galore:4",
        "apollo-mini",
    ] {
        let run =
            |device: &Device| train_tiny_on(device, &LanguageModeling::default(), method, &config, &batches);
        let (_, on_flex) = run(&Device::flex());
        let (trained, on_wgpu) = run(&Device::wgpu(DeviceKind::DefaultDevice));
        let pairs = steps(&on_flex).into_iter().zip(steps(&on_wgpu));
        for (flex, wgpu) in pairs {
            let (expected, found) = (flex.loss, wgpu.loss);
            assert!(
                (expected - found).abs() < TOLERANCE,
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
