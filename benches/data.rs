//! The text pipeline: tokenizing, packing, and a whole batch from the loader's thread.
use blockllm::data::{Corpus, DocumentForm, Layout, Loader, LoaderConfig, Packer, Tokenizer};
use blockllm_benches::{few_samples, texts};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

/// Tokens of a row.
const SEQ_LEN: usize = 256;
/// Rows of a batch.
const BATCH_SIZE: usize = 8;

fn tokenizer(texts: &[String]) -> Tokenizer {
    Tokenizer::train_byte_level_bpe(texts.to_vec(), 2048).expect("2048 has room for all bytes")
}

fn tokenize(criterion: &mut Criterion) {
    let texts = texts(64);
    let tokenizer = tokenizer(&texts);
    let mut group = criterion.benchmark_group("data");
    group.throughput(Throughput::Bytes(
        texts.iter().map(|text| text.len() as u64).sum(),
    ));
    group.bench_function("tokenize", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(tokenizer.encode(text).expect("byte-level BPE encodes every text"));
            }
        });
    });
    group.finish();
}

fn pack(criterion: &mut Criterion) {
    let documents: Vec<Vec<u32>> = (0..200)
        .map(|length| (2..100 + length * 7 % 900).collect())
        .collect();
    let form = DocumentForm {
        before: Vec::new(),
        end: 1,
        pad: 0,
    };
    let mut group = criterion.benchmark_group("data");
    group.throughput(Throughput::Elements(documents.len() as u64));
    for (name, layout) in [
        ("pack/packed", Layout::Packed),
        ("pack/truncate and pad", Layout::TruncateAndPad),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut packer = Packer::new(layout, SEQ_LEN, form.clone());
                let mut rest = documents.iter().cloned();
                while let Some(row) = packer
                    .next_row(|| Ok(rest.next()))
                    .expect("documents in memory never fail")
                {
                    black_box(row);
                }
            });
        });
    }
    group.finish();
}

/// Batches taken as fast as they come: the first pass tokenizes, later ones find the tokens in memory.
fn next_batch(criterion: &mut Criterion) {
    let texts = texts(400);
    let tokenizer = Arc::new(tokenizer(&texts[..64]));
    let mut group = criterion.benchmark_group("data");
    group.throughput(Throughput::Elements((BATCH_SIZE * SEQ_LEN) as u64));
    for (name, cache_tokens) in [
        ("next_batch/tokenizing", 0),
        ("next_batch/from the cache", 1 << 24),
    ] {
        let config = LoaderConfig {
            batch_size: BATCH_SIZE,
            seq_len: SEQ_LEN,
            layout: Layout::Packed,
            cache_tokens,
            ..LoaderConfig::default()
        };
        let corpus = Corpus::from_documents("words", texts.clone(), vec![]);
        let mut loader = Loader::new(corpus, tokenizer.clone(), config).expect("the settings are in range");
        // More than one pass over the corpus, so that whatever can be in the cache is.
        loader.skip(200).expect("documents in memory never fail");
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(loader.next_batch().expect("documents in memory never fail")));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = few_samples(); targets = tokenize, pack, next_batch }
criterion_main!(benches);
