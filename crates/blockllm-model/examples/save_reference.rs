//! Saves a fresh model and its logits, for `tests/fixtures/llama_reference.py check-saved DIR` to compare with
//! transformers: `cargo run --release --example save_reference -- DIR`.

use std::collections::HashMap;
use std::path::PathBuf;

use blockllm_model::hf::{SaveOptions, save_pretrained_with};
use blockllm_model::llama::{LlamaConfig, RopeScaling};
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("name a folder to write into")?);
    let scaling = RopeScaling::Llama3 {
        factor: 4.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 16,
    };
    let config = LlamaConfig::preset("tiny")?
        .with_num_key_value_heads(2)
        .with_rope(5_000.0, scaling);
    let config = LlamaConfig {
        initializer_range: 0.1,
        ..config
    };
    let device = Device::flex();
    let model = config.init(1, &device);
    save_pretrained_with(
        &model,
        &config,
        &dir,
        &SaveOptions {
            max_shard_bytes: 5_000_000,
            ..SaveOptions::default()
        },
    )?;

    let ids: Vec<i32> = (0..64).map(|i| i * i * 31 % 4096).collect();
    let input = Tensor::<2, Int>::from_data(TensorData::new(ids.clone(), [1, 64]), &device);
    let logits: Vec<f32> = model.forward(input).into_data().try_into_vec()?;
    let ids: Vec<u8> = ids.into_iter().flat_map(i32::to_le_bytes).collect();
    let logits: Vec<u8> = logits.into_iter().flat_map(f32::to_le_bytes).collect();
    let views = [
        ("input_ids", TensorView::new(Dtype::I32, vec![1, 64], &ids)?),
        (
            "logits",
            TensorView::new(Dtype::F32, vec![1, 64, config.vocab_size], &logits)?,
        ),
    ];
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(format), &dir.join("ours.safetensors"))?;
    println!(
        "saved {} parameters and logits to {}",
        config.num_parameters(),
        dir.display()
    );
    Ok(())
}
