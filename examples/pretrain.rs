//! Pretrain a Llama with the library's trainer, save it for transformers, and let it speak:
//! `cargo run --release --example pretrain -- [C4-FOLDER] [OUT-FOLDER]`.
use anyhow::Result;
use blockllm::data::{Corpus, Layout, Loader, LoaderConfig, validation_batches};
use blockllm::model::hf::save_pretrained;
use blockllm::model::llama::{GenerateConfig, LlamaConfig};
use blockllm::train::{CountingAllocator, LanguageModeling, MemoryMeter, Method, Setup, TrainConfig, train};
use blockllm::train::{Progress, TrainError};
use burn::module::Module;
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (data, out) = (
        arguments.next(),
        arguments.next().unwrap_or_else(|| "out/pretrained".into()),
    );

    let corpus = Corpus::open(
        data.as_deref(),
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")),
    )?;
    let tokenizer = Arc::new(corpus.train_tokenizer(2048, 64 << 20)?);
    let loader = LoaderConfig {
        batch_size: 8,
        seq_len: 128,
        layout: Layout::Packed,
        ..LoaderConfig::default()
    };
    let validation = validation_batches(&corpus, &tokenizer, &loader, 16_384)?;
    let mut batches = Loader::new(corpus, tokenizer.clone(), loader)?;

    let device = Device::flex().autodiff();
    let config = LlamaConfig::preset("tiny")?.with_vocab_size(tokenizer.vocab_size());
    let meter = MemoryMeter::start(&device);
    let model = config.init(0, &device);

    let setup = Setup {
        objective: &LanguageModeling::default(),
        // Another policy is another word: random:0.9, cyclic:0.9, importance:0.9, ...
        method: &Method::parse("blockllm:0.9@3e-3")?.with_patience(50),
        config: &TrainConfig {
            steps: 300,
            ..TrainConfig::default()
        },
        validation: &validation,
        device: &device,
    };
    let next = || batches.next_batch().map_err(TrainError::from);
    let trained = train(&setup, model, next, meter, &mut Progress::new("pretrain", 300))?;
    println!("{:#?}", trained.memory);

    save_pretrained(&trained.model.valid(), &config, &out)?;
    tokenizer.save(&out.join("tokenizer.json"))?;
    println!("saved to {}", out.display());
    let prompt = tokenizer.encode("The")?;
    let tokens = trained
        .model
        .valid()
        .generate(&prompt, &GenerateConfig::sampling(40, 0.8, 0))?;
    println!("{}", tokenizer.decode(&tokens)?);
    Ok(())
}
