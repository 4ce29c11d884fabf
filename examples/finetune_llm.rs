//! Tunes a language model on instructions in a program of your own: `cargo run --release --example finetune_llm -- MODEL DATA OUT`.
//!
//! Without words it takes a small random Llama and sixty conversations, and is done in seconds.
use blockllm::data::instruct::{
    ChatTemplate, DataFile, EncodedData, EncodingConfig, InstructBatchConfig, InstructBatches, InstructData,
    InstructEncoder, instruct_validation_batches,
};
use blockllm::data::{FileRole, ReadingConfig};
use blockllm::train::{
    LanguageModeling, MemoryMeter, Method, PretrainedLm, Progress, Setup, TrainConfig, WeightType, train,
};
use burn::module::Module;
use burn::tensor::Device;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    tune(&words)
}

/// Tunes the model that the first of `words` names on the data of the second; the third is where it is saved.
fn tune(words: &[String]) -> Result<(), Box<dyn Error>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/instruct");
    let path = words.first().map_or_else(|| own.clone(), PathBuf::from);
    let file = words
        .get(1)
        .map_or_else(|| own.join("examples.jsonl"), PathBuf::from);

    // The model with its tokenizer and chat template, and the data as tokens of which answers are learned.
    let pretrained = PretrainedLm::open(&path, None)?;
    let template = pretrained
        .template()
        .cloned()
        .unwrap_or_else(ChatTemplate::alpaca);
    let encoder = InstructEncoder::new(pretrained.tokenizer().clone(), template)?;
    let data = InstructData::open(&[DataFile::new(file)], Path::new("."), ReadingConfig::default())?;
    let encoding = EncodingConfig {
        max_tokens: 128,
        ..EncodingConfig::default()
    };
    let rows = InstructBatchConfig {
        batch_size: 4,
        ..InstructBatchConfig::default()
    };
    let validation = EncodedData::new(&data, FileRole::Validation, &encoder, encoding)?;
    let examples = EncodedData::new(&data, FileRole::Train, &encoder, encoding)?;
    let mut batches = InstructBatches::new(Arc::new(examples), rows)?;

    // BlockLLM at sparsity 0.95; any method of the trainer is one word.
    let config = TrainConfig {
        steps: 30,
        learning_rate: 3e-3,
        evaluate_every: 10,
        ..TrainConfig::default()
    };
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &Method::parse("blockllm:0.95+patience=5")?,
        config: &config,
        validation: &instruct_validation_batches(&validation, &rows, None),
        device: &device,
    };
    let model = pretrained.load(WeightType::F32, &device)?;
    let mut progress = Progress::new("finetune", config.steps);
    let trained = train(&setup, model, || Ok(batches.next_batch()), meter, &mut progress)?;
    println!(
        "validation loss {:.4} before, {:.4} after",
        trained.untrained.evaluation.loss, trained.last.evaluation.loss
    );

    // A folder that transformers loads, with tokenizer and chat template.
    if let Some(out) = words.get(2) {
        pretrained.save(&trained.model.valid(), WeightType::F32, Path::new(out))?;
        println!("saved in {out}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_llama_is_tuned_and_tuned_further_from_what_was_saved() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/instruct");
        let folder = std::env::temp_dir().join(format!("blockllm-finetune-llm-{}", std::process::id()));
        let data = own.join("examples.jsonl");
        let word = |path: &Path| path.to_str().unwrap().to_owned();
        tune(&[word(&own), word(&data), word(&folder)]).unwrap();
        tune(&[word(&folder), word(&data)]).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }
}
