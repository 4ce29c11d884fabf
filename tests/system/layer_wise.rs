//! Going backward layer by layer trains the same as the whole backward pass, and holds fewer gradients.
use crate::batches::{packed_row, padded};
use crate::training::{Kept, constant, steps, tiny_llama, train_tiny};
use crate::weights::{weights, worst};
use blockllm::data::LmBatch;
use blockllm::data::glue::{ClassificationBatch, GlueLabel, GlueTask};
use blockllm::model::encoder::{EncoderConfig, EncoderKind};
use blockllm::model::llama::LlamaConfig;
use blockllm::train::{
    Backward, LanguageModeling, MemoryMeter, Method, Methods, Objective, Record, SequenceClassification,
    Setup, TrainConfig, Trained, train,
};
use burn::module::Module;
use burn::tensor::Device;

/// Every method, and every rule that says when a gradient may be used.
fn methods() -> Vec<String> {
    let rules = [
        "blockllm:0.8+norm=processed+moments=carried-over",
        "blockllm:0.8+refresh=each-step",
        "blockllm:0.8+inactive=0.05",
    ];
    let rules = rules.into_iter().map(String::from);
    Methods::built_in().examples().into_iter().chain(rules).collect()
}

fn by_layers(config: &TrainConfig) -> TrainConfig {
    TrainConfig {
        backward: Backward::LayerWise,
        ..config.clone()
    }
}

/// Trains what `init` makes on `batches`, in a circle.
fn trained<O: Objective<Batch: Clone>>(
    device: &Device,
    objective: &O,
    init: impl Fn(&Device) -> O::Model,
    method: &str,
    config: &TrainConfig,
    batches: &[O::Batch],
) -> (Trained<O::Model>, Vec<Record>) {
    let device = device.clone().autodiff();
    let meter = MemoryMeter::start(&device);
    let method = Method::parse(method).unwrap().with_patience(3);
    let setup = Setup {
        objective,
        method: &method,
        config,
        validation: &batches[..1],
        device: &device,
    };
    let mut circle = batches.iter().cycle().cloned();
    let next = || Ok(circle.next().unwrap());
    let mut kept = Kept::default();
    let trained = train(&setup, init(&device), next, meter, &mut kept).unwrap();
    (trained, kept.0)
}

/// The blocks of every selection.
fn selected(records: &[Record]) -> Vec<Vec<String>> {
    let blocks = |record: &Record| match record {
        Record::Selection(event) => Some(event.blocks.clone()),
        _ => None,
    };
    records.iter().filter_map(blocks).collect()
}

/// Trains both ways and compares losses, norms, selections and weights; returns both runs.
fn assert_same<O: Objective<Batch: Clone>>(
    device: &Device,
    objective: &O,
    init: impl Fn(&Device) -> O::Model,
    method: &str,
    config: &TrainConfig,
    batches: &[O::Batch],
) -> [Trained<O::Model>; 2] {
    let (whole, expected) = trained(device, objective, &init, method, config, batches);
    let (layered, found) = trained(device, objective, &init, method, &by_layers(config), batches);
    assert_eq!(selected(&found), selected(&expected), "{method}");
    for (expected, found) in steps(&expected).iter().zip(steps(&found)) {
        assert!(
            (found.loss - expected.loss).abs() < 1e-5,
            "{method}: {found:?} {expected:?}"
        );
        assert!(
            (found.grad_norm - expected.grad_norm).abs() < 1e-4 * expected.grad_norm,
            "{method}: {found:?} {expected:?}"
        );
    }
    // Steps of 1e-3: far above rounding and far below another gradient.
    let (path, error) = worst(&weights(&layered.model), &weights(&whole.model));
    assert!(error < 3e-5, "{method}, {path}: {error}");
    [whole, layered]
}

fn padded_batches() -> Vec<LmBatch> {
    vec![
        padded(&[16, 16], 16, 0),
        padded(&[3, 5], 16, 2),
        padded(&[9, 2], 16, 4),
    ]
}

/// [`assert_same`] for a Llama on flex.
fn assert_llama_trains_the_same(
    config: &LlamaConfig,
    method: &str,
    train: &TrainConfig,
    batches: &[LmBatch],
) {
    let init = |device: &Device| config.init(0, device);
    assert_same(
        &Device::flex(),
        &LanguageModeling::default(),
        init,
        method,
        train,
        batches,
    );
}

#[test]
fn every_method_trains_the_same_clipped_and_with_accumulation() {
    let config = TrainConfig {
        grad_accum_steps: 3,
        max_grad_norm: Some(0.5),
        ..constant(7, 1e-3)
    };
    for method in methods() {
        assert_llama_trains_the_same(&tiny_llama(), &method, &config, &padded_batches());
    }
}

#[test]
fn every_method_trains_the_same_without_a_clip_when_gradients_are_used_at_once() {
    for accumulated in [1, 2] {
        let config = TrainConfig {
            grad_accum_steps: accumulated,
            max_grad_norm: None,
            ..constant(7, 1e-3)
        };
        for method in methods() {
            assert_llama_trains_the_same(&tiny_llama(), &method, &config, &padded_batches());
        }
    }
}

#[test]
fn segments_and_a_tied_head_train_the_same() {
    let packed = |salt| {
        LmBatch::from_rows(
            vec![packed_row(&[5, 4, 7], salt), packed_row(&[10, 6], salt + 3)],
            16,
        )
    };
    let tied = tiny_llama().with_tie_word_embeddings(true);
    for method in ["adamw", "blockllm:0.8", "badam:1", "lisa:1"] {
        let batches = [packed(0), packed(7)];
        assert_llama_trains_the_same(&tied, method, &constant(6, 1e-3), &batches);
    }
}

fn encoder(kind: EncoderKind) -> EncoderConfig {
    EncoderConfig::new(kind, 96, 32, 40, 3, 4).with_dropout(0.2)
}

fn pairs(salt: i32) -> ClassificationBatch {
    let ids = |row: i32| (0..8).map(move |i| 3 + (row * 29 + i * 13 + salt * 7) % 90);
    let lengths = [8, 5, 7];
    let mask = |length: i32| (0..8).map(move |i| i32::from(i < length));
    ClassificationBatch {
        batch_size: 3,
        seq_len: 8,
        input_ids: (0..3).flat_map(ids).collect(),
        token_type_ids: (0..24).map(|i| i32::from(i % 8 > 3)).collect(),
        attention_mask: lengths.into_iter().flat_map(mask).collect(),
        labels: [0, 1, 1].map(GlueLabel::Class).to_vec(),
        rows: vec![0, 1, 2],
    }
}

#[test]
fn encoders_with_dropout_train_the_same() {
    for kind in [EncoderKind::Bert, EncoderKind::Roberta] {
        let init = |device: &Device| encoder(kind).init(0, device);
        for method in [
            "adamw",
            "blockllm:0.8",
            "blockllm:0.8+inactive=0.05",
            "blockllm-sgd:0.8",
        ] {
            let objective = SequenceClassification::new(GlueTask::Mrpc);
            let config = TrainConfig {
                grad_accum_steps: 2,
                ..constant(6, 1e-3)
            };
            assert_same(
                &Device::flex(),
                &objective,
                init,
                method,
                &config,
                &[pairs(0), pairs(1), pairs(2)],
            );
        }
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn it_trains_the_same_on_wgpu() {
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    for method in ["adamw", "blockllm:0.8", "galore:4"] {
        let objective = LanguageModeling::default();
        let init = |device: &Device| tiny_llama().init(0, device);
        assert_same(
            &device,
            &objective,
            init,
            method,
            &constant(3, 1e-3),
            &padded_batches(),
        );
    }
    let init = |device: &Device| encoder(EncoderKind::Bert).init(0, device);
    let objective = SequenceClassification::new(GlueTask::Mrpc);
    assert_same(
        &device,
        &objective,
        init,
        "blockllm:0.8",
        &constant(3, 1e-3),
        &[pairs(0)],
    );
}

/// Bytes of the parameters whose path has `part`.
fn bytes_of<M: Module>(model: &M, part: &str) -> u64 {
    let numbers = weights(model);
    let of = numbers.iter().filter(|(path, _)| path.contains(part));
    of.map(|(_, values)| 4 * values.len() as u64).sum()
}

/// Bytes of the largest part of the model: the embedding, a layer, or the head with the norm below it.
fn largest_part<M: Module>(model: &M) -> u64 {
    let head = bytes_of(model, "lm_head") + bytes_of(model, "model.norm");
    let parts = ["embed_tokens", "layers.0", "layers.1"].map(|part| bytes_of(model, part));
    parts.into_iter().fold(head, u64::max)
}

#[test]
fn gradients_of_one_part_exist_at_a_time_where_they_are_used_at_once() {
    let objective = LanguageModeling::default();
    let batches = padded_batches();
    // GaLore by a randomized basis, and APOLLO, make no masks and look at nothing before they step.
    for accumulated in [1, 3] {
        let config = TrainConfig {
            grad_accum_steps: accumulated,
            max_grad_norm: None,
            ..constant(4, 1e-3)
        };
        for method in ["galore:4+svd=randomized", "apollo-mini"] {
            let (whole, _) = train_tiny(&objective, method, &config, &batches);
            let (layered, _) = train_tiny(&objective, method, &by_layers(&config), &batches);
            assert!(whole.memory.gradients_bytes >= bytes_of(&whole.model, ""));
            assert_eq!(layered.memory.gradients_bytes, largest_part(&layered.model));
        }
    }
}

#[test]
fn a_sweep_holds_the_gradients_of_one_part() {
    let objective = LanguageModeling::default();
    let config = by_layers(&constant(1, 1e-3));
    // Nearly nothing is selected, so that the sweep is what holds most.
    let (trained, _) = train_tiny(&objective, "blockllm:0.99+probes=0", &config, &padded_batches());
    assert_eq!(trained.memory.gradients_bytes, largest_part(&trained.model));
}

#[test]
fn an_objective_whose_model_is_no_stack_says_what_to_do() {
    use crate::training::Watching;
    let device = Device::flex().autodiff();
    let config = by_layers(&constant(1, 1e-3));
    let batches = padded_batches();
    let setup = Setup {
        objective: &Watching::default(),
        method: &Method::adamw(),
        config: &config,
        validation: &batches[..1],
        device: &device,
    };
    let meter = MemoryMeter::start(&device);
    let model = tiny_llama().init(0, &device);
    let next = || Ok(batches[0].clone());
    let error = train(&setup, model, next, meter, &mut Kept::default()).unwrap_err();
    assert!(error.to_string().contains("Objective::stack"), "{error}");
}
