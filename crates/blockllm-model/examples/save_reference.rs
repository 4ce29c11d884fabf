//! Saves a model and its logits, for `tests/fixtures/llama_reference.py check-saved DIR` to compare with transformers:
//! `cargo run --release --example save_reference -- DIR [SOURCE [TOKEN..]]`. The model is a fresh one, or that of SOURCE, a Hugging
//! Face folder or a GGUF file (for `gguf_reference.py check SOURCE DIR`), saved with all that belongs beside its weights.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use blockllm_model::gguf::GgufModel;
use blockllm_model::hf::{SaveOptions, WeightDtype, load_pretrained, save_companions, save_pretrained_with};
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM, RopeScaling};
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("name a folder to write into")?);
    let source = arguments.next().map(PathBuf::from);
    let ids: Vec<i32> = arguments.map(|id| id.parse()).collect::<Result<_, _>>()?;
    let device = Device::flex();
    let gguf = match &source {
        Some(file) if file.is_file() => Some(GgufModel::open(file)?),
        _ => None,
    };
    let (model, config) = match (&gguf, &source) {
        (Some(gguf), _) => (gguf.load(WeightDtype::F32, &device)?, gguf.config().clone()),
        (None, Some(folder)) => load_pretrained(folder, &device)?,
        (None, None) => fresh(&device)?,
    };
    let options = SaveOptions {
        max_shard_bytes: 5_000_000,
        ..SaveOptions::default()
    };
    save_pretrained_with(&model, &config, &dir, &options)?;
    match (&gguf, &source) {
        (Some(gguf), _) => gguf.save_tokenizer(&dir)?,
        (None, Some(folder)) => save_companions(folder, &config, &dir)?,
        (None, None) => {}
    }
    save_logits(&model, &config, ids, &dir)?;
    println!(
        "saved {} parameters and logits to {}",
        config.num_parameters(),
        dir.display()
    );
    Ok(())
}

/// A model with grouped queries and Llama 3's rotary scaling.
fn fresh(device: &Device) -> Result<(LlamaForCausalLM, LlamaConfig), Box<dyn std::error::Error>> {
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
    Ok((config.init(1, device), config))
}

/// Writes a text, an arbitrary one of up to 64 tokens where `ids` is empty, and its logits.
fn save_logits(
    model: &LlamaForCausalLM,
    config: &LlamaConfig,
    mut ids: Vec<i32>,
    dir: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    if ids.is_empty() {
        let (length, vocab) = (config.num_positions().min(64) as i32, config.vocab_size as i32);
        ids = (0..length).map(|i| i * i * 31 % vocab).collect();
    }
    let length = ids.len();
    let device = model.model.embed_tokens.weight.device();
    let input = Tensor::<2, Int>::from_data(TensorData::new(ids.clone(), [1, length]), &device);
    let logits: Vec<f32> = model.forward(input).into_data().try_into_vec()?;
    let ids: Vec<u8> = ids.into_iter().flat_map(i32::to_le_bytes).collect();
    let logits: Vec<u8> = logits.into_iter().flat_map(f32::to_le_bytes).collect();
    let shape = vec![1, length, config.vocab_size];
    let views = [
        ("input_ids", TensorView::new(Dtype::I32, vec![1, length], &ids)?),
        ("logits", TensorView::new(Dtype::F32, shape, &logits)?),
    ];
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(format), &dir.join("ours.safetensors"))?;
    Ok(())
}
