//! A folder of 1 GB of weights goes to the device and back to the disk with little of it on the host a second time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use blockllm_model::hf::{SaveOptions, WeightDtype, load_pretrained_as, save_pretrained_with};
use blockllm_model::llama::LlamaConfig;
use blockllm_train::CountingAllocator;
use burn::tensor::Device;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use std::collections::BTreeMap;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// 1.08 GB in bf16; the largest tensors are the embedding and the head, 131 MB each.
fn config() -> LlamaConfig {
    LlamaConfig::new(32_000, 2_048, 5_632, 8, 16)
}

/// Writes random-looking numbers, of which every tensor has its own window, as bf16.
fn write_folder(dir: &Path) -> u64 {
    let config = config();
    let shapes: BTreeMap<String, Vec<usize>> = config
        .parameter_shapes()
        .into_iter()
        .map(|parameter| (parameter.path.clone(), on_disk(&parameter.path, &parameter.shape)))
        .collect();
    let largest = shapes
        .values()
        .map(|shape| shape.iter().product::<usize>())
        .max()
        .unwrap();
    let numbers: Vec<u8> = (0..2 * (largest + shapes.len()) as u32)
        // Below 1 in magnitude, whatever the other bits are.
        .map(|i| {
            if i % 2 == 1 {
                0x3c
            } else {
                (i.wrapping_mul(2_654_435_761) >> 24) as u8
            }
        })
        .collect();
    let views = shapes.iter().enumerate().map(|(place, (name, shape))| {
        let (start, length) = (2 * place, 2 * shape.iter().product::<usize>());
        let view = TensorView::new(Dtype::BF16, shape.clone(), &numbers[start..start + length]).unwrap();
        (name.clone(), view)
    });
    serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
    let text = serde_json::json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "rms_norm_eps": config.rms_norm_eps,
        "max_position_embeddings": 131_072,
        "torch_dtype": "bfloat16",
    });
    std::fs::write(dir.join("config.json"), text.to_string()).unwrap();
    2 * largest as u64
}

/// `PyTorch` keeps a linear weight as `[out, in]`.
fn on_disk(path: &str, shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if path.contains("proj") || path.contains("lm_head") {
        shape.reverse();
    }
    shape
}

#[test]
fn a_folder_of_a_gigabyte_is_loaded_and_saved_within_a_fifth_above_its_largest_tensor() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let largest = write_folder(source.path());
    let weights = 2 * config().num_parameters();
    assert!(weights > 1_000_000_000, "{weights}");
    let bound = largest + largest / 5;

    let before = CountingAllocator::live_bytes();
    CountingAllocator::reset_peak();
    let (model, config) = load_pretrained_as(source.path(), WeightDtype::BF16, &Device::flex()).unwrap();
    let above = CountingAllocator::peak_bytes() - before - weights;
    println!("loading: {above} bytes above a model of {weights}, its largest tensor {largest}");
    assert!(above < bound, "{above} of {bound}");
    let live = CountingAllocator::live_bytes() - before;
    assert!(live < weights + (16 << 20), "{live} for {weights}");

    let before = CountingAllocator::live_bytes();
    CountingAllocator::reset_peak();
    let options = SaveOptions::of(WeightDtype::BF16);
    save_pretrained_with(&model, &config, target.path(), &options).unwrap();
    let above = CountingAllocator::peak_bytes() - before;
    println!("saving: {above} bytes");
    assert!(above < bound, "{above} of {bound}");

    drop(model);
    let read = |dir: &Path| {
        let file = blockllm_tensors::TensorFile::open(&dir.join("model.safetensors")).unwrap();
        file.into_tensors()
    };
    let (there, back) = (read(source.path()), read(target.path()));
    assert!(there.keys().eq(back.keys()));
    for (name, tensor) in &there {
        let digest = |tensor: &blockllm_tensors::StoredTensor| {
            blockllm_tensors::digest(name, &tensor.clone().into()).unwrap()
        };
        assert_eq!(digest(&back[name]), digest(tensor), "{name}");
    }
}
