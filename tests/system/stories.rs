//! A real pretrained model goes the whole way: loaded, fine-tuned by `BlockLLM` through the trainer, saved, loaded.
use crate::training::{Kept, constant, steps};
use crate::weights::values;
use blockllm::data::{LmBatch, Row};
use blockllm::model::hf::{load_pretrained, save_pretrained};
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::train::{LanguageModeling, MemoryMeter, Method, Setup, train};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::path::{Path, PathBuf};

/// The folder of the model, when this checkout has it beside the workspace.
fn stories() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stories260K");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is absent", folder.display());
    None
}

/// Four rows of 50 tokens of a story that llama2.c wrote.
fn batch(folder: &Path) -> LmBatch {
    let text = std::fs::read_to_string(folder.join("golden_greedy.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ids: Vec<i32> = serde_json::from_value(json["greedy_ids_200"].clone()).unwrap();
    let row = |ids: &[i32]| {
        let mut labels = ids[1..].to_vec();
        labels.push(blockllm::data::IGNORE_INDEX);
        Row {
            input_ids: ids.to_vec(),
            labels,
            segment_ids: None,
        }
    };
    LmBatch::from_rows(ids.chunks_exact(50).map(row).collect(), 50)
}

fn logits(model: &LlamaForCausalLM, batch: &LmBatch) -> Vec<f32> {
    let shape = [batch.batch_size, batch.seq_len];
    let ids = TensorData::new(batch.input_ids.clone(), shape);
    values(model.forward(Tensor::<2, Int>::from_data(ids, &Device::flex())))
}

#[test]
fn blockllm_fine_tunes_stories260k_and_the_saved_folder_loads_with_equal_logits() {
    let Some(folder) = stories() else { return };
    let batch = batch(&folder);
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let (model, config) = load_pretrained(&folder, &device).unwrap();
    let before = logits(&model.valid(), &batch);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &Method::parse("blockllm:0.9").unwrap().with_patience(4),
        config: &constant(10, 1e-3),
        validation: std::slice::from_ref(&batch),
        device: &device,
    };
    let mut kept = Kept::default();
    let trained = train(&setup, model, || Ok(batch.clone()), meter, &mut kept).unwrap();
    let losses: Vec<_> = steps(&kept.0).iter().map(|step| step.loss).collect();
    assert_eq!(losses.len(), 10);
    // It is a trained model already, on its own story: only a guess from scratch would be near ln 512 = 6.2.
    assert!(losses[0] < 3.0, "{losses:?}");
    assert!(
        trained.last.evaluation.loss < 0.8 * trained.untrained.evaluation.loss,
        "{losses:?}"
    );

    let saved = tempfile::tempdir().unwrap();
    let tuned = trained.model.valid();
    save_pretrained(&tuned, &config, saved.path()).unwrap();
    let (loaded, read) = load_pretrained(saved.path(), &Device::flex()).unwrap();
    assert_eq!(read, config);
    let expected = logits(&tuned, &batch);
    assert_ne!(expected, before, "training changed nothing");
    assert_eq!(logits(&loaded, &batch), expected);
}
