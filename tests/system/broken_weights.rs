//! A safetensors file that lacks a tensor, or holds one of another shape, is refused with its name and the mend.
use crate::training::tiny_llama;
use blockllm::model::hf::{load_pretrained, save_pretrained};
use burn::tensor::Device;
use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize_to_file};
use std::path::Path;

const NAME: &str = "model.layers.1.mlp.up_proj.weight";

/// Saves a model, rewrites its weight file with `change` applied to every tensor, and loads the folder.
fn refusal(change: impl for<'a> Fn(&str, TensorView<'a>) -> Option<TensorView<'a>>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let config = tiny_llama();
    save_pretrained(&config.init(0, &device), &config, folder.path()).unwrap();
    load_pretrained(folder.path(), &device).unwrap();
    rewrite(&folder.path().join("model.safetensors"), change);
    load_pretrained(folder.path(), &device).unwrap_err().to_string()
}

fn rewrite(path: &Path, change: impl for<'a> Fn(&str, TensorView<'a>) -> Option<TensorView<'a>>) {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let tensors = tensors
        .into_iter()
        .filter_map(|(name, view)| change(&name, view).map(|view| (name, view)));
    serialize_to_file(tensors, None, path).unwrap();
}

fn assert_tells(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_weight_file_without_a_tensor_is_refused_with_the_file_the_tensor_and_the_mend() {
    let message = refusal(|name, view| (name != NAME).then_some(view));
    assert_tells(
        &message,
        &[
            "no tensor",
            NAME,
            "check that the configuration (config.json) belongs to these weights",
        ],
    );
}

#[test]
fn a_weight_file_with_a_misshapen_tensor_is_refused_with_both_shapes_and_the_mend() {
    let message = refusal(|name, view| {
        if name != NAME {
            return Some(view);
        }
        let transposed: Vec<_> = view.shape().iter().rev().copied().collect();
        Some(TensorView::new(view.dtype(), transposed, view.data()).unwrap())
    });
    assert_tells(
        &message,
        &[
            "model.safetensors",
            NAME,
            "[32, 40]",
            "[40, 32]",
            "check that the configuration (config.json)",
        ],
    );
}
