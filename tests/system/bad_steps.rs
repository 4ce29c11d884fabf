//! Steps whose loss is not a number: the run stops and the batch is kept, or the batch is skipped and counted.
use crate::batches::padded;
use crate::training::{Kept, constant, tiny_llama, train_tiny};
use crate::weights::{changed, weights};
use blockllm::data::LmBatch;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::train::{
    BadSteps, Divergence, LanguageModeling, MemoryMeter, Method, Objective, Record, RunObserver, Setup,
    TrainConfig, TrainError, train,
};
use burn::tensor::{Device, Tensor};

/// Language modelling whose loss on one batch, told by its first token, is not a number.
struct Poisoned(i32);

impl Objective for Poisoned {
    type Model = LlamaForCausalLM;
    type Batch = LmBatch;

    fn loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        let loss = LanguageModeling::default().loss(model, batch, device);
        if batch.input_ids[0] == self.0 {
            loss.mul_scalar(f32::NAN)
        } else {
            loss
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

    fn describe(&self, batch: &LmBatch) -> serde_json::Value {
        LanguageModeling::default().describe(batch)
    }
}

/// Four batches, the third of which is poisoned.
fn batches() -> (Vec<LmBatch>, Poisoned) {
    let mut batches = [0, 2, 4, 6].map(|salt| padded(&[12, 7], 12, salt)).to_vec();
    let poison = 11;
    assert!(batches.iter().all(|batch| batch.input_ids[0] != poison));
    batches[2].input_ids[0] = poison;
    (batches, Poisoned(poison))
}

/// A run's observer that keeps the mark of a divergence too.
#[derive(Default)]
struct Marks(Kept, Option<Divergence>);

impl RunObserver for Marks {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        self.0.record(record)
    }

    fn diverged(&mut self, divergence: &Divergence) -> Result<(), TrainError> {
        self.1 = Some(divergence.clone());
        Ok(())
    }
}

#[test]
fn a_batch_that_is_skipped_leaves_no_trace_but_its_count() {
    let (all, poisoned) = batches();
    let good = [all[0].clone(), all[1].clone(), all[3].clone()];
    for method in ["adamw", "blockllm:0.8", "lora:4", "galore:4"] {
        let config = TrainConfig {
            bad_steps: BadSteps::Skip,
            ..constant(9, 1e-3)
        };
        let (skipping, records) = train_tiny(&poisoned, method, &config, &all);
        let (expected, _) = train_tiny(&LanguageModeling::default(), method, &config, &good);
        let changed = changed(&weights(&expected.model), &weights(&skipping.model));
        assert!(changed.is_empty(), "{method}: {:?}", changed.keys());
        let skipped: Vec<_> = records
            .iter()
            .filter_map(|record| match record {
                Record::Skipped(skipped) => Some(skipped.step),
                _ => None,
            })
            .collect();
        assert_eq!(skipped, [3, 6, 9], "{method}");
        assert_eq!(skipping.skipped, 3);
        assert_eq!(
            (expected.skipped, expected.tokens_seen),
            (0, skipping.tokens_seen)
        );
    }
}

#[test]
fn a_run_that_stops_tells_the_step_and_its_batch() {
    let (all, poisoned) = batches();
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let config = constant(9, 1e-3);
    let setup = Setup {
        objective: &poisoned,
        method: &Method::adamw(),
        config: &config,
        validation: &all[..1],
        device: &device,
    };
    let mut marks = Marks::default();
    let mut circle = all.iter().cycle().cloned();
    let model = tiny_llama().init(0, &device);
    let error = train(&setup, model, || Ok(circle.next().unwrap()), meter, &mut marks).unwrap_err();
    assert!(error.is_divergence(), "{error}");
    let mark = marks.1.unwrap();
    assert_eq!(mark.step, 3);
    assert_eq!(mark.batches[0]["input_ids"][0][0], poisoned.0);
}

#[test]
fn weights_that_are_broken_end_even_a_run_that_skips() {
    let (all, _) = batches();
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let config = TrainConfig {
        bad_steps: BadSteps::Skip,
        ..constant(9, 1e-3)
    };
    // Every batch is bad from here on.
    let poisoned = Poisoned(all[1].input_ids[0]);
    let setup = Setup {
        objective: &poisoned,
        method: &Method::adamw(),
        config: &config,
        validation: &all[..1],
        device: &device,
    };
    let mut marks = Marks::default();
    let model = tiny_llama().init(0, &device);
    let next = || Ok(all[1].clone());
    let error = train(&setup, model, next, meter, &mut marks).unwrap_err();
    assert!(error.to_string().contains("one after the other"), "{error}");
    assert!(marks.1.is_some());
}
