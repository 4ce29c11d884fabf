//! Fifty steps of instruction tuning beside PyTorch: template, tokens, answers, masks and packing give its losses.
//!
//! The numbers are made by `tests/fixtures/instruct_reference.py`.
use crate::training::{Kept, constant, steps};
use blockllm::data::instruct::{
    DataFile, EncodedData, EncodedInstruction, EncodingConfig, InstructBatchConfig, InstructBatches,
    InstructData, InstructEncoder,
};
use blockllm::data::{FileRole, IGNORE_INDEX, Layout, LmBatch, ReadingConfig, Row};
use blockllm::train::{
    BatchSource, LanguageModeling, MemoryMeter, Method, PretrainedLm, Setup, TrainConfig, WeightType, train,
};
use burn::tensor::Device;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LENGTH: usize = 128;
/// Not one of the vocabulary: padding may be anything.
const PAD: i32 = 0;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct")
}

fn model() -> PretrainedLm {
    PretrainedLm::open(&folder(), None).unwrap()
}

fn encoder(model: &PretrainedLm) -> InstructEncoder {
    InstructEncoder::new(model.tokenizer().clone(), model.template().unwrap().clone()).unwrap()
}

fn data() -> InstructData {
    let files = [DataFile::new(folder().join("examples.jsonl"))];
    InstructData::open(&files, Path::new("."), ReadingConfig::default()).unwrap()
}

/// All examples in the order of the file, those held out among them.
fn examples() -> Vec<EncodedInstruction> {
    let encoder = encoder(&model());
    let mut data = data();
    let held_out = data.validation.remove(0);
    let mut all = data.train.remove(0).examples;
    all.extend(held_out.examples);
    let number = |place: &str| place.trim_start_matches("line ").parse::<usize>().unwrap();
    all.sort_by_key(|placed| number(&placed.place));
    all.iter()
        .map(|placed| encoder.encode(&placed.example).unwrap())
        .collect()
}

/// Four examples a step, `in_row` of them in a row.
fn batches(in_row: usize) -> Vec<LmBatch> {
    let row = |examples: &[EncodedInstruction]| {
        let (mut input_ids, mut labels, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for (segment, example) in (0..).zip(examples) {
            input_ids.extend(&example.input_ids);
            labels.extend(example.labels());
            segments.resize(input_ids.len(), segment);
        }
        input_ids.resize(LENGTH, PAD);
        labels.resize(LENGTH, IGNORE_INDEX);
        segments.resize(LENGTH, -1);
        Row {
            input_ids,
            labels,
            segment_ids: Some(segments),
        }
    };
    let of_step =
        |four: &[EncodedInstruction]| LmBatch::from_rows(four.chunks(in_row).map(row).collect(), LENGTH);
    examples().chunks(4).map(of_step).collect()
}

fn losses(batches: &[LmBatch], learning_rate: f64, device: &Device) -> Vec<f64> {
    let device = device.clone().autodiff();
    let config = TrainConfig {
        max_grad_norm: None,
        ..constant(50, learning_rate)
    };
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &Method::parse("adamw").unwrap(),
        config: &config,
        validation: &batches[..1],
        device: &device,
    };
    let meter = MemoryMeter::start(&device);
    let model = model().load(WeightType::F32, &device).unwrap();
    let mut kept = Kept::default();
    let mut circle = batches.iter().cycle().cloned();
    let next = || Ok(circle.next().unwrap());
    train(&setup, model, next, meter, &mut kept).unwrap();
    steps(&kept.0).iter().map(|step| step.loss).collect()
}

#[test]
fn fifty_steps_on_conversations_have_pytorch_s_losses_padded_and_packed() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/instruct/losses.json")).unwrap();
    let expected: Vec<f64> = serde_json::from_value(fixture["losses"].clone()).unwrap();
    let learned: Vec<usize> = serde_json::from_value(fixture["learned_tokens"].clone()).unwrap();
    let rate = fixture["learning_rate"].as_f64().unwrap();
    let devices = [
        ("flex", Device::flex()),
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    ];
    for (backend, device) in devices {
        for in_row in [1, 2] {
            let batches = batches(in_row);
            let found: Vec<usize> = batches
                .iter()
                .cycle()
                .take(50)
                .map(LmBatch::label_tokens)
                .collect();
            assert_eq!(found, learned, "which tokens are learned");
            let losses = losses(&batches, rate, &device);
            let errors = losses.iter().zip(&expected).map(|(a, b)| (a / b - 1.0).abs());
            let worst = errors.fold(0.0, f64::max);
            println!("{backend}, {in_row} in a row: losses within {worst:.1e} relative");
            assert!(worst < 1e-4, "{backend}, {in_row} in a row: {worst:e}");
        }
    }
}

#[test]
fn a_source_of_instructions_goes_on_from_its_place_and_refuses_one_of_other_data() {
    let encoder = encoder(&model());
    let encoded = |max_tokens| {
        let config = EncodingConfig {
            max_tokens,
            ..EncodingConfig::default()
        };
        Arc::new(EncodedData::new(&data(), FileRole::Train, &encoder, config).unwrap())
    };
    let stream = |data: &Arc<EncodedData>| {
        let config = InstructBatchConfig {
            batch_size: 2,
            layout: Layout::Packed,
            seed: 4,
        };
        InstructBatches::new(data.clone(), config).unwrap()
    };
    let next = |stream: &mut InstructBatches| BatchSource::next_batch(stream).unwrap();
    let data = encoded(LENGTH);
    let mut run = stream(&data);
    for _ in 0..3 {
        next(&mut run);
    }
    let place = BatchSource::cursor(&run);
    let mut resumed = stream(&data);
    resumed.resume(&place).unwrap();
    for _ in 0..20 {
        assert_eq!(next(&mut resumed), next(&mut run));
    }
    let mut other = stream(&encoded(64));
    assert!(other.resume(&place).is_err());
    let message = other.resume(&Value::Null).unwrap_err().to_string();
    assert!(message.contains("start the run afresh"), "{message}");
}

#[test]
fn a_saved_model_has_its_template_and_stops_where_the_template_ends_a_turn() {
    let dir = tempfile::tempdir().unwrap();
    let own = model();
    assert_eq!(
        encoder(&own).ends(),
        [2],
        "the end of a turn is the end of a text"
    );
    let device = Device::flex();
    let weights = own.load(WeightType::F32, &device).unwrap();
    own.save(&weights, WeightType::F32, dir.path()).unwrap();
    let stops = |dir: &Path| -> Value {
        let text = std::fs::read_to_string(dir.join("generation_config.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["eos_token_id"].clone()
    };
    assert_eq!(stops(dir.path()), stops(&folder()));
    let source = "{% for m in messages %}<|im_start|>{{ m.content }}<|endoftext|>{% endfor %}";
    let date = blockllm::data::instruct::FixedDate::default();
    let template = blockllm::data::instruct::ChatTemplate::new("own", source, date).unwrap();
    let other = own.with_template(template);
    other.save(&weights, WeightType::F32, dir.path()).unwrap();
    assert_eq!(stops(dir.path()), serde_json::json!([2, 0]));
    let again = PretrainedLm::open(dir.path(), None).unwrap();
    assert_eq!(again.template().unwrap().source(), source);
}
