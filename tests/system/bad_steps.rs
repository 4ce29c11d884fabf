//! Steps whose loss is not a number: the run stops and the batch is kept, or the batch is skipped and counted.
use crate::batches::padded;
use crate::training::{Kept, constant, tiny_llama, train_tiny};
use crate::weights::{changed, weights};
use blockllm::data::LmBatch;
use blockllm::model::LossOptions;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::train::{
    Backward, BadSteps, Divergence, LanguageModeling, MemoryMeter, Method, Methods, Objective, Record,
    RunObserver, Setup, Stack, TrainConfig, TrainError, train,
};
use burn::tensor::{Device, Tensor};
use std::cell::Cell;

/// What is not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bad {
    Loss,
    /// The loss is one, and no gradient is.
    Gradients,
    /// Every evaluation but the first, of the untrained model.
    Evaluations,
}

/// Language modelling of which something is not a number: on one batch, told by its first token, or in evaluations.
struct Poisoned {
    token: i32,
    bad: Bad,
    evaluations: Cell<u64>,
}

impl Objective for Poisoned {
    type Model = LlamaForCausalLM;
    type Batch = LmBatch;

    fn loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        let loss = LanguageModeling::default().loss(model, batch, device);
        match self.bad {
            Bad::Loss if batch.input_ids[0] == self.token => loss.mul_scalar(f32::NAN),
            // The root of zero is zero, and its slope infinite.
            Bad::Gradients if batch.input_ids[0] == self.token => {
                loss.clone() + (loss.clone() - loss.detach()).sqrt()
            }
            _ => loss,
        }
    }

    fn stack<'a>(
        &'a self,
        model: &LlamaForCausalLM,
        batch: &'a LmBatch,
        device: &'a Device,
    ) -> Option<Stack<'a, LlamaForCausalLM, 3>> {
        static RIGHT: LanguageModeling = LanguageModeling {
            options: LossOptions { chunk_tokens: None },
            galore_compat: false,
        };
        let stack = RIGHT.stack(model, batch, device)?;
        Some(if self.bad == Bad::Loss && batch.input_ids[0] == self.token {
            stack.scaled(f64::NAN)
        } else {
            stack
        })
    }

    fn summed_loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        self.evaluations.set(self.evaluations.get() + 1);
        let sum = LanguageModeling::default().summed_loss(model, batch, device);
        if self.bad == Bad::Evaluations && self.evaluations.get() > 1 {
            sum.mul_scalar(f32::NAN)
        } else {
            sum
        }
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
fn batches(bad: Bad) -> (Vec<LmBatch>, Poisoned) {
    let mut batches = [0, 2, 4, 6].map(|salt| padded(&[12, 7], 12, salt)).to_vec();
    let token = 11;
    assert!(batches.iter().all(|batch| batch.input_ids[0] != token));
    batches[2].input_ids[0] = token;
    let evaluations = Cell::new(0);
    (
        batches,
        Poisoned {
            token,
            bad,
            evaluations,
        },
    )
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

/// Trains with the third of four batches poisoned, and without it: the same weights.
fn assert_skipped_without_a_trace(bad: Bad, method: &str, config: &TrainConfig) {
    let (all, poisoned) = batches(bad);
    let good = [all[0].clone(), all[1].clone(), all[3].clone()];
    let what = format!("{bad:?} {method} {config:?}");
    let (skipping, records) = train_tiny(&poisoned, method, config, &all);
    let (expected, _) = train_tiny(&LanguageModeling::default(), method, config, &good);
    let changed = changed(&weights(&expected.model), &weights(&skipping.model));
    assert!(changed.is_empty(), "{what}: {:?}", changed.keys());
    let skipped: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Skipped(skipped) => Some((skipped.step, skipped.loss.is_finite())),
            _ => None,
        })
        .collect();
    let loss_is_one = bad == Bad::Gradients;
    assert_eq!(skipped, [3, 6, 9].map(|step| (step, loss_is_one)), "{what}");
    assert_eq!(skipping.skipped, 3, "{what}");
    assert_eq!(
        (expected.skipped, expected.tokens_seen),
        (0, skipping.tokens_seen),
        "{what}"
    );
}

fn skipping(backward: Backward) -> TrainConfig {
    TrainConfig {
        bad_steps: BadSteps::Skip,
        backward,
        ..constant(9, 1e-3)
    }
}

#[test]
fn a_batch_that_is_skipped_leaves_no_trace_but_its_count() {
    for bad in [Bad::Loss, Bad::Gradients] {
        for method in Methods::built_in().examples() {
            assert_skipped_without_a_trace(bad, &method, &skipping(Backward::Whole));
        }
    }
}

/// Where there is no clip, and where some blocks move by their sign, an optimizer would use a layer's gradients at once.
#[test]
fn layer_by_layer_nothing_is_used_before_the_whole_step_was_looked_at() {
    for max_grad_norm in [Some(1.0), None] {
        let config = TrainConfig {
            max_grad_norm,
            ..skipping(Backward::LayerWise)
        };
        for method in Methods::built_in().examples() {
            assert_skipped_without_a_trace(Bad::Loss, &method, &config);
        }
        assert_skipped_without_a_trace(Bad::Loss, "blockllm:0.8+inactive=0.05", &config);
    }
}

/// Trains on `batches` in a circle; the error, and the mark that it has left.
fn refused(objective: &Poisoned, config: &TrainConfig, batches: &[LmBatch]) -> (TrainError, Divergence) {
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let setup = Setup {
        objective,
        method: &Method::adamw(),
        config,
        validation: &batches[..1],
        device: &device,
    };
    let mut marks = Marks::default();
    let mut circle = batches.iter().cycle().cloned();
    let model = tiny_llama().init(0, &device);
    let error = train(&setup, model, || Ok(circle.next().unwrap()), meter, &mut marks).unwrap_err();
    assert!(error.is_divergence(), "{error}");
    (error, marks.1.expect("the step is written down"))
}

#[test]
fn a_run_that_stops_tells_the_step_and_its_batch() {
    for bad in [Bad::Loss, Bad::Gradients] {
        let (all, poisoned) = batches(bad);
        let (_, mark) = refused(&poisoned, &constant(9, 1e-3), &all);
        assert_eq!(mark.step, 3, "{bad:?}");
        assert_eq!(mark.batches[0]["input_ids"][0][0], poisoned.token);
    }
}

#[test]
fn an_evaluation_that_is_no_number_stops_the_run_and_is_written_down() {
    for bad_steps in [BadSteps::Stop, BadSteps::Skip] {
        let (all, poisoned) = batches(Bad::Evaluations);
        let config = TrainConfig {
            bad_steps,
            evaluate_every: 4,
            ..constant(9, 1e-3)
        };
        let (error, mark) = refused(&poisoned, &config, &all);
        assert!(
            matches!(error, TrainError::BadEvaluation { step: 4, .. }),
            "{error}"
        );
        assert_eq!(mark.step, 4);
        // And before training, where the weights that were given are broken.
        let (error, mark) = refused(&poisoned, &config, &all);
        assert!(
            matches!(error, TrainError::BadEvaluation { step: 0, .. }),
            "{error}"
        );
        assert_eq!((mark.step, mark.batches.len()), (0, 0));
    }
}

#[test]
fn weights_that_are_broken_end_even_a_run_that_skips() {
    let (all, _) = batches(Bad::Loss);
    // Every batch is bad from here on.
    let poisoned = Poisoned {
        token: all[1].input_ids[0],
        bad: Bad::Loss,
        evaluations: Cell::new(0),
    };
    let config = TrainConfig {
        bad_steps: BadSteps::Skip,
        ..constant(9, 1e-3)
    };
    let (error, _) = refused(&poisoned, &config, &all[1..2]);
    assert!(error.to_string().contains("one after the other"), "{error}");
}
