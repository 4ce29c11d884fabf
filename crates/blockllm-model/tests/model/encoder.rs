//! BERT, RoBERTa and the Llama classifier against transformers; numbers made by `tests/fixtures/encoder_reference.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use blockllm_model::encoder::{
    self, load_encoder, load_for_sequence_classification, load_for_sequence_classification_as,
};
use blockllm_model::hf::module::module_tensors;
use blockllm_model::hf::{
    SaveOptions, WeightDtype, load_llama_classifier, load_llama_classifier_as, save_llama_classifier_with,
};
use blockllm_model::{Labels, classification_loss, regression_loss};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::common::{devices, fixture, gradients, max_error, read_safetensors, values};

type Tensors = BTreeMap<String, (Vec<f32>, Vec<usize>)>;

fn ints(reference: &Tensors, name: &str, device: &Device) -> Tensor<2, Int> {
    let (values, shape) = &reference[name];
    let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
    Tensor::from_data(TensorData::new(values, shape.clone()), device)
}

fn reference(name: &str) -> Tensors {
    read_safetensors(&fixture(name).join("reference.safetensors"))
}

/// Mean loss of the texts: cross entropy of three classes, or the squared error of one score.
fn loss_of(logits: Tensor<2>, reference: &Tensors, device: &Device) -> Tensor<1> {
    let labels = &reference["labels"].0;
    if logits.dims()[1] == 1 {
        return regression_loss(logits, Tensor::from_floats(labels.as_slice(), device));
    }
    let classes: Vec<i32> = labels.iter().map(|label| *label as i32).collect();
    let classes = Tensor::from_data(TensorData::new(classes, [labels.len()]), device);
    classification_loss(logits, classes)
}

/// Weights of linear layers are `[in, out]` in burn, `[out, in]` in PyTorch; embeddings are alike.
fn in_burn_layout(key: &str, (values, shape): &(Vec<f32>, Vec<usize>)) -> Vec<f32> {
    match shape.as_slice() {
        [rows, columns] if !key.contains("embed") => (0..rows * columns)
            .map(|i| values[i % rows * columns + i / rows])
            .collect(),
        _ => values.clone(),
    }
}

fn assert_gradients(found: &Tensors, reference: &Tensors, key_of: impl Fn(&str) -> String) -> f32 {
    let expected = reference.keys().filter(|key| key.starts_with("grad.")).count();
    assert_eq!(
        found.len(),
        expected,
        "every parameter has a gradient: {:?}",
        found.keys()
    );
    let error = |(path, (gradient, _)): (&String, &(Vec<f32>, Vec<usize>))| {
        let key = format!("grad.{}", key_of(path));
        max_error(gradient, &in_burn_layout(&key, &reference[&key]))
    };
    let worst = found.iter().map(error).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
    worst
}

fn assert_encoder_equals_transformers(name: &str, num_labels: usize) {
    let reference = reference(name);
    for (backend, device) in devices() {
        let device = device.autodiff();
        let loaded = load_for_sequence_classification(&fixture(name), num_labels, 0, &device).unwrap();
        assert!(loaded.fresh.is_empty(), "{:?}", loaded.fresh);
        let [ids, types, mask] =
            ["input_ids", "token_type_ids", "attention_mask"].map(|name| ints(&reference, name, &device));
        let types = (name == "bert").then_some(types);
        let hidden = loaded
            .model
            .base
            .forward(ids.clone(), types.clone(), Some(mask.clone()));
        // What stands at padding is nobody's matter.
        let mut errors = vec![0.0];
        let (expected, width) = (&reference["hidden"].0, hidden.dims()[2]);
        for (position, (found, expected)) in values(hidden)
            .chunks(width)
            .zip(expected.chunks(width))
            .enumerate()
        {
            if reference["attention_mask"].0[position] > 0.0 {
                errors.push(max_error(found, expected));
            }
        }
        let hidden_error = errors.into_iter().fold(0.0, f32::max);
        let logits = loaded.model.forward(ids, types, Some(mask));
        let logits_error = max_error(&values(logits.clone()), &reference["logits"].0);
        let loss = loss_of(logits, &reference, &device);
        let loss_error = max_error(&values(loss.clone()), &reference["loss"].0);
        assert!(
            hidden_error < 1e-4 && logits_error < 1e-4 && loss_error < 1e-4,
            "{hidden_error} {logits_error} {loss_error}"
        );
        let found = gradients(&loaded.model, &loss.backward());
        let worst = assert_gradients(&found, &reference, |path| {
            encoder::hf_key(loaded.config.kind, path)
        });
        println!(
            "{name} on {backend}: hidden {hidden_error:.1e}, logits {logits_error:.1e}, loss {loss_error:.1e}, gradients {worst:.1e}"
        );
    }
}

#[test]
fn a_padded_bert_with_token_types_equals_transformers_in_hidden_states_logits_loss_and_gradients() {
    assert_encoder_equals_transformers("bert", 3);
}

#[test]
fn a_padded_roberta_that_scores_equals_transformers_in_hidden_states_logits_loss_and_gradients() {
    assert_encoder_equals_transformers("roberta", 1);
}

#[test]
fn a_llama_classifier_equals_transformers_in_logits_loss_and_gradients() {
    let reference = reference("llama_classifier");
    for (backend, device) in devices() {
        let device = device.autodiff();
        let loaded = load_llama_classifier(&fixture("llama_classifier"), 3, 0, &device).unwrap();
        let [ids, mask] = ["input_ids", "attention_mask"].map(|name| ints(&reference, name, &device));
        let logits = loaded.model.forward(ids, Some(mask));
        let logits_error = max_error(&values(logits.clone()), &reference["logits"].0);
        let loss = loss_of(logits, &reference, &device);
        let loss_error = max_error(&values(loss.clone()), &reference["loss"].0);
        assert!(
            logits_error < 1e-4 && loss_error < 1e-4,
            "{logits_error} {loss_error}"
        );
        let found = gradients(&loaded.model, &loss.backward());
        let worst = assert_gradients(&found, &reference, str::to_owned);
        println!(
            "llama on {backend}: logits {logits_error:.1e}, loss {loss_error:.1e}, gradients {worst:.1e}"
        );
    }
}

/// The saved folder is also what `encoder_reference.py check-saved` loads in transformers: `BLOCKLLM_SAVE_DIR` keeps it.
#[test]
fn a_saved_folder_gives_the_same_logits() {
    let device = Device::flex();
    let kept = std::env::var_os("BLOCKLLM_SAVE_DIR");
    let scratch = tempfile::tempdir().unwrap();
    for (name, labels) in [("bert", 3), ("roberta", 1)] {
        let reference = reference(name);
        let dir = kept
            .as_ref()
            .map_or_else(|| scratch.path().join(name), |kept| Path::new(kept).join(name));
        let loaded = load_for_sequence_classification(&fixture(name), labels, 0, &device).unwrap();
        encoder::save_pretrained(&loaded.model, &loaded.config, &dir).unwrap();
        let again = load_for_sequence_classification(&dir, labels, 0, &device).unwrap();
        let logits = |model: &encoder::EncoderForSequenceClassification| {
            let [ids, mask] = ["input_ids", "attention_mask"].map(|name| ints(&reference, name, &device));
            values(model.forward(ids, None, Some(mask)))
        };
        assert_eq!(logits(&loaded.model), logits(&again.model), "{name}");
        assert_eq!(again.config, loaded.config);
    }
}

#[test]
fn a_head_for_other_classes_and_another_architecture_are_refused_with_what_was_found() {
    let device = Device::flex();
    let error = load_for_sequence_classification(&fixture("bert"), 2, 0, &device)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("classifier") && error.contains('3') && error.contains('2'),
        "{error}"
    );
    let error = load_for_sequence_classification(&fixture("grouped"), 2, 0, &device)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("config.json") && error.contains("llama") && error.contains("bert"),
        "{error}"
    );
    let error = load_llama_classifier(&fixture("bert"), 3, 0, &device)
        .unwrap_err()
        .to_string();
    assert!(error.contains("bert") && error.contains("llama"), "{error}");
}

/// What `encoder_reference.py embed` wrote.
#[derive(serde::Deserialize)]
struct Expected {
    input_ids: Vec<Vec<i32>>,
    attention_mask: Vec<Vec<i32>>,
    embeddings: Vec<Vec<f32>>,
}

/// Only where `BLOCKLLM_MINILM` names the folder of all-MiniLM-L6-v2.
#[test]
fn minilm_gives_the_mean_embeddings_of_transformers() {
    let Some(folder) = std::env::var_os("BLOCKLLM_MINILM") else {
        println!("skipped: set BLOCKLLM_MINILM to the folder of all-MiniLM-L6-v2");
        return;
    };
    let fixture: Expected = serde_json::from_str(include_str!("../fixtures/minilm_embeddings.json")).unwrap();
    let device = Device::flex();
    let (model, _) = load_encoder(Path::new(&folder), &device).unwrap();
    let upload = |rows: &[Vec<i32>]| {
        let shape = [rows.len(), rows[0].len()];
        Tensor::<2, Int>::from_data(TensorData::new(rows.concat(), shape), &device)
    };
    let mask = upload(&fixture.attention_mask);
    let hidden = model.forward(upload(&fixture.input_ids), None, Some(mask.clone())); // [B, T, D]
    let [batch, _, width] = hidden.dims();
    let weights = mask.float().unsqueeze_dim::<3>(2);
    let mean = (hidden * weights.clone()).sum_dim(1) / weights.sum_dim(1);
    let error = max_error(
        &values(mean.reshape([batch, width])),
        &fixture.embeddings.concat(),
    );
    println!("MiniLM: embeddings within {error:.1e}");
    assert!(error < 1e-4, "{error}");
}

#[test]
fn a_head_for_tokens_or_for_choices_is_none_for_texts() {
    for (name, kind) in [("bert", "Bert"), ("roberta", "Roberta")] {
        for task in ["TokenClassification", "MultipleChoice"] {
            let dir = tempfile::tempdir().unwrap();
            let weights = "model.safetensors";
            std::fs::copy(fixture(name).join(weights), dir.path().join(weights)).unwrap();
            let text = std::fs::read_to_string(fixture(name).join("config.json")).unwrap();
            let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
            config["architectures"] = serde_json::json!([format!("{kind}For{task}")]);
            std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
            let labels = if name == "bert" { 3 } else { 1 };
            let loaded = load_for_sequence_classification(dir.path(), labels, 0, &Device::flex()).unwrap();
            assert!(
                loaded.fresh.contains(&"classifier.out_proj.weight".to_owned()),
                "{:?}",
                loaded.fresh
            );
            assert_eq!(loaded.config.labels, blockllm_model::Labels::numbered(labels));
        }
    }
}

#[test]
fn classes_that_are_none_make_the_loss_no_number() {
    for (backend, device) in devices() {
        let loss = |label: i32| {
            let logits = Tensor::<2>::from_floats([[0.1, 0.2, 0.3], [1.0, 0.0, 2.0]], &device);
            let labels = Tensor::<1, Int>::from_data(TensorData::new(vec![0, label], [2]), &device);
            classification_loss(logits, labels).into_scalar::<f32>()
        };
        assert!(loss(2).is_finite());
        for label in [-100, -1, 3, 4, 1 << 20] {
            assert!(loss(label).is_nan(), "{label} on {backend}: {}", loss(label));
        }
    }
}

/// The number formats of all parameters of a module.
fn formats<M: Module>(model: &M) -> BTreeSet<String> {
    let tensors = module_tensors(model, &str::to_owned);
    tensors
        .iter()
        .map(|(_, tensor)| format!("{:?}", tensor.dtype()))
        .collect()
}

#[test]
fn classifiers_are_loaded_and_saved_in_half_precision_their_fresh_heads_too() {
    let device = Device::flex();
    let half = BTreeSet::from(["BF16".to_owned()]);
    let options = SaveOptions::of(WeightDtype::BF16);
    let dir = tempfile::tempdir().unwrap();
    let of_folder =
        |path: &Path| load_for_sequence_classification_as(path, 3, 0, WeightDtype::BF16, &device).unwrap();
    let loaded = of_folder(&fixture("bert"));
    assert_eq!(formats(&loaded.model), half);
    encoder::save_pretrained_with(&loaded.model, &loaded.config, dir.path(), &options).unwrap();
    let again = of_folder(dir.path());
    let numbers = |model: &_| -> Vec<Vec<f32>> {
        let tensors = module_tensors(model, &str::to_owned);
        tensors
            .iter()
            .map(|(key, tensor)| tensor.to_f32(key).unwrap())
            .collect()
    };
    assert_eq!(numbers(&again.model), numbers(&loaded.model));

    // A language model has no head for texts: it is drawn, and in the format that was asked for.
    let loaded = load_llama_classifier_as(&fixture("grouped"), 3, 0, WeightDtype::BF16, &device).unwrap();
    assert_eq!(loaded.fresh, ["score.weight"]);
    assert_eq!(formats(&loaded.model), half);
    let dir = tempfile::tempdir().unwrap();
    let labels = Labels::numbered(3);
    save_llama_classifier_with(&loaded.model, &loaded.config, &labels, dir.path(), &options).unwrap();
    let again = load_llama_classifier_as(dir.path(), 3, 0, WeightDtype::BF16, &device).unwrap();
    assert!(again.fresh.is_empty() && formats(&again.model) == half);
    let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(text.contains("\"torch_dtype\": \"bfloat16\""), "{text}");
}
