//! Fine-tuning: the best epoch beside the last, early stop, and `transformers`' losses on real MRPC.
use blockllm::data::glue::{
    ClassificationBatch, EncodedExamples, EpochConfig, GlueData, GlueTask, PairEncoder, evaluation_batches,
};
use blockllm::model::encoder::{EncoderForSequenceClassification, load_for_sequence_classification};
use blockllm::train::{
    Evaluation, ExampleBatches, MemoryMeter, Method, Objective, Record, RunObserver, Schedule, ScheduleKind,
    SequenceClassification, Setup, TrainConfig, TrainError, Trained, train,
};
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An objective whose evaluations are told in advance.
struct Told {
    losses: Vec<f64>,
    given: Cell<usize>,
}

impl Objective for Told {
    type Model = Linear;
    type Batch = ();

    fn loss(&self, model: &Linear, (): &(), device: &Device) -> Tensor<1> {
        model.forward(Tensor::<2>::ones([1, 4], device)).sum()
    }

    fn summed_loss(&self, model: &Linear, batch: &(), device: &Device) -> Tensor<1> {
        self.loss(model, batch, device)
    }

    fn labels(&self, (): &()) -> u64 {
        1
    }

    fn tokens(&self, (): &()) -> u64 {
        1
    }

    fn evaluate(&self, _: &Linear, _: &[()], _: &Device) -> Result<Evaluation, TrainError> {
        let given = self.given.replace(self.given.get() + 1);
        Ok(Evaluation {
            loss: self.losses[given],
            labels: 1,
            standard_error: None,
            metrics: [].into(),
        })
    }
}

fn told(losses: &[f64], stop_after: u64) -> Trained<Linear> {
    let device = Device::flex().autodiff();
    let setup = Setup {
        objective: &Told {
            losses: losses.to_vec(),
            given: Cell::new(0),
        },
        method: &Method::adamw(),
        config: &TrainConfig {
            steps: 2 * (losses.len() as u64 - 1),
            evaluate_every: 2,
            stop_after,
            ..TrainConfig::default()
        },
        validation: &[()],
        device: &device,
    };
    let model = LinearConfig::new(4, 4).init(&device);
    let meter = MemoryMeter::start(&device);
    train(&setup, model, || Ok(()), meter, &mut Losses::default()).unwrap()
}

#[derive(Default)]
struct Losses(Vec<f64>);

impl RunObserver for Losses {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        if let Record::Step(step) = record {
            self.0.push(step.loss);
        }
        Ok(())
    }
}

#[test]
fn the_best_evaluation_is_told_apart_from_the_last_and_from_the_untrained() {
    // The untrained one, the best of all, is no result of training.
    let trained = told(&[0.1, 3.0, 1.0, 1.0, 2.0], 0);
    assert_eq!(
        (trained.best.step, trained.last.step, trained.untrained.step),
        (4, 8, 0)
    );
}

#[test]
fn a_run_stops_early_only_when_asked_and_only_after_that_many_evaluations() {
    let losses = [5.0, 3.0, 1.0, 2.0, 2.0, 0.5, 4.0];
    assert_eq!(told(&losses, 0).last.step, 12);
    assert_eq!(told(&losses, 3).last.step, 12);
    let stopped = told(&losses, 2);
    assert_eq!((stopped.best.step, stopped.last.step), (4, 8));
}

/// `MiniLM`'s folder, named by `BLOCKLLM_MINILM`, and GLUE's beside this checkout.
fn real() -> Option<(PathBuf, PathBuf)> {
    let glue = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/glue");
    let model = std::env::var_os("BLOCKLLM_MINILM").map(PathBuf::from);
    let found = model.filter(|_| glue.is_dir());
    if found.is_none() {
        println!("skipped: give MiniLM's folder in BLOCKLLM_MINILM (shared/scripts/fetch-models.sh)");
    }
    Some((found?, glue))
}

/// `MiniLM` without dropout, with the head that the reference starts from.
fn initial(folder: &Path, device: &Device) -> EncoderForSequenceClassification {
    let without_dropout = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        config[key] = 0.0.into();
    }
    let path = without_dropout.path();
    std::fs::write(path.join("config.json"), config.to_string()).unwrap();
    std::fs::copy(folder.join("model.safetensors"), path.join("model.safetensors")).unwrap();
    let loaded = load_for_sequence_classification(path, 2, 0, device).unwrap();
    assert_eq!(
        loaded.fresh,
        ["classifier.out_proj.weight", "classifier.out_proj.bias"]
    );
    let mut model = loaded.model;
    let head = SafeTensors::deserialize(include_bytes!("../peer/mrpc_head.safetensors")).unwrap();
    let values = |name: &str| -> (Vec<f32>, Vec<usize>) {
        let view = head.tensor(name).unwrap();
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        (
            view.data().chunks_exact(4).map(value).collect(),
            view.shape().to_vec(),
        )
    };
    let (weight, shape) = values("classifier.weight");
    let (bias, _) = values("classifier.bias");
    let out = &mut model.classifier.out_proj;
    let weight = Tensor::<2>::from_data(TensorData::new(weight, shape), device).transpose();
    out.weight = Param::from_tensor(weight);
    out.bias = Some(Param::from_tensor(Tensor::<1>::from_data(
        bias.as_slice(),
        device,
    )));
    model
}

fn assert_mrpc_losses(device: &Device) {
    let Some((folder, glue)) = real() else { return };
    let reference: serde_json::Value =
        serde_json::from_str(include_str!("../peer/mrpc_losses.json")).unwrap();
    let expected: Vec<f64> = serde_json::from_value(reference["losses"].clone()).unwrap();
    let lengths: Vec<usize> = serde_json::from_value(reference["lengths"].clone()).unwrap();
    let tokens: Vec<u64> = serde_json::from_value(reference["tokens"].clone()).unwrap();

    let device = device.clone().autodiff();
    let data = GlueData::open(&glue, GlueTask::Mrpc).unwrap();
    let encoder = PairEncoder::from_file(&folder.join("tokenizer.json"), 128).unwrap();
    let rows: Vec<_> = data.train.iter().take(16 * expected.len()).cloned().collect();
    let examples = Arc::new(EncodedExamples::new(encoder.encode_all(&rows).unwrap()));
    let epochs = EpochConfig {
        batch_size: 16,
        shuffle: false,
        bucketing: false,
        seed: 0,
        pad_id: encoder.pad_id(),
    };
    let mut batches = ExampleBatches::new(examples.clone(), epochs).unwrap();
    let shapes: Vec<_> = (0..expected.len())
        .map(|step| {
            let rows: Vec<usize> = (16 * step..16 * (step + 1)).collect();
            let batch = ClassificationBatch::of(&examples, &rows, encoder.pad_id());
            (batch.seq_len, batch.tokens())
        })
        .collect();
    assert_eq!(shapes, lengths.into_iter().zip(tokens).collect::<Vec<_>>());

    let meter = MemoryMeter::start(&device);
    let model = initial(&folder, &device);
    let objective = SequenceClassification::new(GlueTask::Mrpc);
    // The rate falls over three epochs, of which these are the first steps.
    let all = reference["schedule_steps"].as_u64().unwrap();
    let mut losses = Losses::default();
    let setup = Setup {
        objective: &objective,
        method: &Method::adamw(),
        config: &TrainConfig {
            steps: all,
            learning_rate: reference["lr"].as_f64().unwrap(),
            schedule: Schedule {
                kind: ScheduleKind::Linear,
                warmup: 0.0,
                final_share: 0.0,
            },
            max_grad_norm: None,
            ..TrainConfig::default()
        },
        validation: &evaluation_batches(&examples[..16], 16, encoder.pad_id()),
        device: &device,
    };
    // The data ends with the steps that the reference has: the run ends with it.
    let mut left = expected.len();
    let source = || {
        left = left.checked_sub(1).ok_or(TrainError::NoLabels {
            what: "the end of the reference",
        })?;
        blockllm::train::BatchSource::next_batch(&mut batches)
    };
    let ended = train(&setup, model, source, meter, &mut losses);
    assert!(matches!(ended, Err(TrainError::NoLabels { .. })));
    assert_eq!(losses.0.len(), expected.len());
    let worst = losses
        .0
        .iter()
        .zip(&expected)
        .map(|(ours, theirs)| (ours - theirs).abs() / theirs)
        .fold(0.0, f64::max);
    println!("MRPC, 100 steps: worst relative difference of a loss {worst:e}");
    assert!(worst < 1e-3, "{worst:e}");
}

#[test]
fn a_hundred_steps_of_minilm_on_mrpc_have_transformers_losses() {
    assert_mrpc_losses(&Device::flex());
}
