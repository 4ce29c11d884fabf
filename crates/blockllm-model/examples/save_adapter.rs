//! Trains LoRA adapters on the `grouped` fixture for a few steps and saves them with the model's logits, for
//! `tests/fixtures/peft_reference.py check-saved DIR` to compare with PEFT:
//! `cargo run --release --example save_adapter -- DIR`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use blockllm_model::LossOptions;
use blockllm_model::hf::{load_pretrained, save_adapter};
use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, GradientsParams, LoraConfig};
use blockllm_policy::All;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("name a folder to write into")?);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/grouped");
    let device = Device::flex().autodiff();
    let (base, _) = load_pretrained(&folder, &device)?;
    let mut model = LoraConfig::new(4)
        .with_targets(["q_proj", "layers.1.mlp"])
        .apply(base)?;

    let ids: Vec<i32> = (0..40).map(|i| i * i * 31 % 96).collect();
    let tokens = |shift: usize| {
        let row = ids[shift..shift + 39].to_vec();
        Tensor::<2, Int>::from_data(TensorData::new(row, [1, 39]), &device)
    };
    let mut optimizer = BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.0), All)?;
    let loss_of = |model: &_| {
        let model: &blockllm_model::llama::LlamaForCausalLM = model;
        model
            .loss(tokens(0), tokens(1), None, &LossOptions::default())
            .loss
    };
    for _ in 0..20 {
        model = optimizer.prepare(model, loss_of)?;
        let loss = loss_of(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(model, gradients, 2e-2)?.model;
        optimizer.observe(loss.into_scalar::<f32>())?;
    }
    save_adapter(&model, Some("grouped"), &dir)?;

    let logits: Vec<f32> = model.forward(tokens(0)).inner().into_data().try_into_vec()?;
    let ids: Vec<u8> = ids[..39].iter().flat_map(|id| id.to_le_bytes()).collect();
    let logits: Vec<u8> = logits.into_iter().flat_map(f32::to_le_bytes).collect();
    let views = [
        ("input_ids", TensorView::new(Dtype::I32, vec![1, 39], &ids)?),
        ("logits", TensorView::new(Dtype::F32, vec![1, 39, 96], &logits)?),
    ];
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(format), &dir.join("ours.safetensors"))?;
    println!(
        "saved {} adapter entries and logits to {}",
        optimizer.trained_entries(),
        dir.display()
    );
    Ok(())
}
