//! One batch is learned by heart, from text to weights, by `AdamW` and by `BlockLLM`; that every method learns one, `laws` say.
use crate::training::{Kept, constant, steps, tiny_llama};
use blockllm::data::{Corpus, Layout, Loader, LoaderConfig};
use blockllm::train::{LanguageModeling, MemoryMeter, Method, Setup, train};
use burn::tensor::Device;
use std::sync::Arc;

/// Texts over a small vocabulary of words.
fn corpus() -> Corpus {
    const WORDS: [&str; 6] = ["block", "descent", "gradient", "sparse", "the", "memory"];
    let text = |i: usize| {
        let words = (0..6 + i % 9).map(|j| WORDS[(i * 5 + j * j) % WORDS.len()]);
        format!("{i} {}.", words.collect::<Vec<_>>().join(" "))
    };
    Corpus::from_documents("words", (0..60).map(text).collect(), vec![])
}

/// Losses before the first and before the last of 40 steps on one batch.
fn first_and_last_loss(method: &str) -> (f64, f64) {
    let corpus = corpus();
    let tokenizer = Arc::new(corpus.train_tokenizer(280, 1 << 20).unwrap());
    let config = tiny_llama().with_vocab_size(tokenizer.vocab_size());
    let loader = LoaderConfig {
        batch_size: 2,
        seq_len: 32,
        layout: Layout::Packed,
        ..LoaderConfig::default()
    };
    let batch = Loader::new(corpus, tokenizer, loader)
        .unwrap()
        .next_batch()
        .unwrap();
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let model = config.init(0, &device);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &Method::parse(method).unwrap().with_patience(8),
        config: &constant(40, 1e-2),
        validation: std::slice::from_ref(&batch),
        device: &device,
    };
    let mut kept = Kept::default();
    train(&setup, model, || Ok(batch.clone()), meter, &mut kept).unwrap();
    let steps = steps(&kept.0);
    assert_eq!(steps.len(), 40);
    (steps[0].loss, steps[39].loss)
}

fn assert_learned(method: &str) {
    let (first, last) = first_and_last_loss(method);
    // Half of the way from a guess over the whole vocabulary to certainty.
    assert!(last < 0.5 * first, "{method}: from {first} to {last}");
}

#[test]
fn adamw_learns_a_batch_by_heart() {
    assert_learned("adamw");
}

#[test]
fn blockllm_learns_a_batch_by_heart_with_a_tenth_of_the_entries() {
    assert_learned("blockllm:0.9");
}
