//! The check before the first step, and the meter that seldom looks: on wgpu, which is another device than flex.
use crate::batches::padded;
use crate::training::{Kept, constant, steps, tiny_llama, train_tiny, train_tiny_on};
use blockllm::data::LmBatch;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::train::{
    LanguageModeling, MemoryMeter, Method, Objective, Setup, TrainConfig, TrainError, WhenToCheck, train,
};
use burn::tensor::{Device, DeviceKind, Tensor};

fn wgpu() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

fn batches() -> [LmBatch; 2] {
    [padded(&[9, 12, 5], 12, 1), padded(&[12, 7, 11], 12, 5)]
}

/// Language modelling on a device that computes a tenth too much.
struct Wrong;

impl Objective for Wrong {
    type Model = LlamaForCausalLM;
    type Batch = LmBatch;

    fn loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        let loss = LanguageModeling::default().loss(model, batch, device);
        if device.clone().without_autodiff() == Device::flex() {
            loss
        } else {
            loss.mul_scalar(1.1)
        }
    }

    fn summed_loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        LanguageModeling::default().summed_loss(model, batch, device)
    }

    fn labels(&self, batch: &LmBatch) -> u64 {
        LanguageModeling::default().labels(batch)
    }

    fn tokens(&self, batch: &LmBatch) -> u64 {
        LanguageModeling::default().tokens(batch)
    }

    fn excerpt(&self, batch: &LmBatch) -> Option<LmBatch> {
        batch.excerpt(8)
    }
}

#[test]
fn a_run_on_wgpu_begins_with_flex_s_loss_and_every_gradient_norm() {
    let config = TrainConfig {
        self_check: WhenToCheck::Always,
        ..constant(1, 1e-3)
    };
    let objective = LanguageModeling::default();
    for method in ["adamw", "lora:2"] {
        let (trained, _) = train_tiny_on(&wgpu(), &objective, method, &config, &batches());
        let check = trained.self_check.unwrap();
        assert!(check.norms > 10 && check.worst_norm < 1e-4, "{method}: {check:?}");
        assert!((check.loss - check.flex_loss).abs() < 1e-4, "{method}: {check:?}");
    }
    let (on_flex, _) = train_tiny(&objective, "adamw", &config, &batches());
    assert_eq!(on_flex.self_check, None, "flex is not compared with itself");
    let unasked = constant(1, 1e-3);
    let (trained, _) = train_tiny_on(&wgpu(), &objective, "adamw", &unasked, &batches());
    assert_eq!(trained.self_check, None, "software Vulkan is no card");
}

#[test]
fn a_device_that_computes_another_loss_stops_the_run_before_its_first_record() {
    let device = wgpu().autodiff();
    let config = TrainConfig {
        self_check: WhenToCheck::Always,
        ..constant(1, 1e-3)
    };
    let batches = batches();
    let setup = Setup {
        objective: &Wrong,
        method: &Method::parse("adamw").unwrap(),
        config: &config,
        validation: &batches[..1],
        device: &device,
    };
    let mut kept = Kept::default();
    let meter = MemoryMeter::start(&device);
    let model = tiny_llama().init(0, &device);
    let error = train(&setup, model, || Ok(batches[0].clone()), meter, &mut kept).unwrap_err();
    assert!(matches!(error, TrainError::SelfCheck { .. }), "{error}");
    assert!(error.to_string().contains("--unfused"), "{error}");
    assert!(kept.0.is_empty());
}

#[test]
fn the_pool_is_looked_at_only_in_the_first_and_in_every_nth_step() {
    let config = TrainConfig {
        memory_sample_every: 3,
        ..constant(7, 1e-3)
    };
    let objective = LanguageModeling::default();
    let (trained, records) = train_tiny_on(&wgpu(), &objective, "adamw", &config, &batches());
    // After the forward pass and after the step of steps 1, 3 and 6, and once after the only selection.
    assert_eq!(trained.memory.samples, 7);
    let bytes: Vec<u64> = steps(&records).iter().map(|step| step.memory_bytes).collect();
    assert!(
        bytes[0] > 0 && bytes[1] == bytes[0] && bytes[3] == bytes[2],
        "{bytes:?}"
    );
    let (on_flex, _) = train_tiny(&objective, "adamw", &config, &batches());
    assert_eq!(on_flex.memory.samples, 0, "the heap needs no looking");
}
