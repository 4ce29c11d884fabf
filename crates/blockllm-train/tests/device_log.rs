//! What a device's thread logs is the run's error; in a binary of its own, since the log belongs to the whole process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use blockllm_data::LmBatch;
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_train::{
    LanguageModeling, MemoryMeter, Method, Objective, Record, RunObserver, Setup, TrainConfig, TrainError,
    device_log, train,
};
use burn::tensor::{Device, Tensor};
use std::cell::Cell;

/// Logs in its third loss what cubecl's channel logs when a task panicked.
#[derive(Default)]
struct Panicking {
    losses: Cell<u32>,
}

impl Objective for Panicking {
    type Model = LlamaForCausalLM;
    type Batch = LmBatch;

    fn loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        self.losses.set(self.losses.get() + 1);
        log::warn!(target: "cubecl_runtime::tune::tune_cache", "a cache that could not be stored");
        if self.losses.get() == 3 {
            log::warn!(target: "cubecl_common::device::handle::channel", "CallError: index out of bounds");
        }
        LanguageModeling::default().loss(model, batch, device)
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
}

struct Steps(u64);

impl RunObserver for Steps {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        if let Record::Step(step) = record {
            self.0 = step.step;
        }
        Ok(())
    }
}

#[test]
fn a_warning_of_the_device_s_thread_fails_the_step_that_reads_back_after_it() {
    device_log::install();
    let device = Device::flex().autodiff();
    let batch = LmBatch {
        batch_size: 1,
        seq_len: 4,
        input_ids: vec![1, 2, 3, 4],
        labels: vec![2, 3, 4, 5],
        segment_ids: None,
    };
    let config = TrainConfig {
        steps: 5,
        ..TrainConfig::default()
    };
    let setup = Setup {
        objective: &Panicking::default(),
        method: &Method::parse("adamw").unwrap(),
        config: &config,
        validation: std::slice::from_ref(&batch),
        device: &device,
    };
    let model = LlamaConfig::new(8, 8, 8, 1, 2).init(0, &device);
    let mut steps = Steps(0);
    let meter = MemoryMeter::start(&device);
    let error = train(&setup, model, || Ok(batch.clone()), meter, &mut steps).unwrap_err();
    assert!(
        matches!(&error, TrainError::DeviceThread { message } if message.contains("index out of bounds")),
        "{error}"
    );
    assert_eq!(steps.0, 2, "the third step is not recorded");
    assert!(!error.is_divergence());
    device_log::check().unwrap();
}
