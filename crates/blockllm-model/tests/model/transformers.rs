//! Logits, loss and every gradient against transformers; numbers made by `tests/fixtures/llama_reference.py`.

use std::collections::BTreeMap;

use blockllm_model::LossOptions;
use blockllm_model::hf::load_pretrained;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::common::{devices, fixture, gradients, max_error, read_safetensors, values};

const TOLERANCE: f32 = 1e-4;

type Tensors = BTreeMap<String, (Vec<f32>, Vec<usize>)>;

fn tokens(reference: &Tensors, name: &str, device: &Device) -> Tensor<2, Int> {
    let (values, shape) = &reference[name];
    let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
    Tensor::from_data(TensorData::new(values, shape.clone()), device)
}

fn assert_logits_match(name: &str) {
    let reference = read_safetensors(&fixture(name).join("reference.safetensors"));
    for (backend, device) in devices() {
        let (model, _) = load_pretrained(&fixture(name), &device).unwrap();
        let logits = values(model.forward(tokens(&reference, "input_ids", &device)));
        let error = max_error(&logits, &reference["logits"].0);
        println!("{name} on {backend}: logits max abs error {error:.2e}");
        assert!(error < TOLERANCE);
    }
}

/// Weights of linear layers come back in burn's layout; the reference has PyTorch's.
fn in_burn_layout(key: &str, (values, shape): &(Vec<f32>, Vec<usize>)) -> Vec<f32> {
    match shape.as_slice() {
        [rows, columns] if !key.contains("embed_tokens") => (0..rows * columns)
            .map(|i| values[i % rows * columns + i / rows])
            .collect(),
        _ => values.clone(),
    }
}

fn assert_loss_and_gradients_match(name: &str, chunk_tokens: Option<usize>) {
    let reference = read_safetensors(&fixture(name).join("reference.safetensors"));
    for (backend, device) in devices() {
        let device = device.autodiff();
        let (model, _) = load_pretrained(&fixture(name), &device).unwrap();
        let [ids, labels] = ["input_ids", "labels"].map(|name| tokens(&reference, name, &device));
        let loss = model.loss(ids, labels, None, &LossOptions { chunk_tokens });
        let loss_error = max_error(&values(loss.loss.clone()), &reference["loss"].0);
        let found = gradients(&model, &loss.loss.backward());
        let expected: Vec<&String> = reference.keys().filter(|key| key.starts_with("grad.")).collect();
        assert_eq!(found.len(), expected.len(), "every parameter has a gradient");
        let mut worst = (0.0, "");
        for (key, (grad, _)) in &found {
            let expected = in_burn_layout(key, &reference[&format!("grad.{key}")]);
            let error = max_error(grad, &expected);
            if error >= worst.0 {
                worst = (error, key);
            }
        }
        println!(
            "{name} on {backend}: loss error {loss_error:.2e}, gradients {:.2e} ({})",
            worst.0, worst.1
        );
        assert!(loss_error < TOLERANCE && worst.0 < TOLERANCE);
    }
}

#[test]
fn logits_of_a_grouped_query_model_equal_transformers() {
    assert_logits_match("grouped");
}

#[test]
fn logits_of_a_tied_model_equal_transformers() {
    assert_logits_match("tied");
}

#[test]
fn a_llama_with_llama3_rope_scaling_equals_transformers() {
    assert_logits_match("llama3");
    assert_loss_and_gradients_match("llama3", None);
}

#[test]
fn a_llama_with_linear_rope_scaling_equals_transformers() {
    assert_logits_match("linear");
    assert_loss_and_gradients_match("linear", Some(7));
}

#[test]
fn a_text_beyond_the_original_length_of_longrope_equals_transformers() {
    assert_logits_match("longrope");
    assert_loss_and_gradients_match("longrope", None);
}

#[test]
fn a_text_beyond_all_positions_with_dynamic_rope_scaling_equals_transformers() {
    assert_logits_match("dynamic");
    assert_loss_and_gradients_match("dynamic", None);
}

#[test]
fn a_llama_with_as_many_keys_as_queries_equals_transformers() {
    assert_logits_match("mha");
    assert_loss_and_gradients_match("mha", None);
}

#[test]
fn a_mistral_beyond_its_window_equals_transformers() {
    assert_logits_match("mistral");
    assert_loss_and_gradients_match("mistral", None);
}

#[test]
fn a_qwen2_beyond_the_window_of_its_upper_layer_equals_transformers() {
    assert_logits_match("qwen2_windows");
    assert_loss_and_gradients_match("qwen2_windows", None);
}

#[test]
fn a_tied_qwen2_with_its_biases_in_shards_of_bf16_equals_transformers() {
    assert_logits_match("qwen2");
    assert_loss_and_gradients_match("qwen2", None);
}

#[test]
fn a_llama_with_every_bias_equals_transformers() {
    assert_logits_match("biased");
    assert_loss_and_gradients_match("biased", Some(7));
}

#[test]
fn a_llama_stretched_by_yarn_equals_transformers() {
    assert_logits_match("yarn");
    assert_loss_and_gradients_match("yarn", None);
}

#[test]
fn loss_and_every_gradient_of_a_grouped_query_model_equal_transformers() {
    assert_loss_and_gradients_match("grouped", None);
}

#[test]
fn loss_and_every_gradient_of_a_tied_model_equal_transformers_in_small_chunks() {
    assert_loss_and_gradients_match("tied", Some(7));
}
