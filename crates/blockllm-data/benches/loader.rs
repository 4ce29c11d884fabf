//! Useful tokens a second of the whole loader: shards to batches, truncated and padded, nothing from the cache.
//!
//! `cargo bench -p blockllm-data -- DATA TOKENIZER.json [BATCHES]`; beside it `loader_peer.py` does the same with the
//! Python package `tokenizers`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use blockllm_data::{Corpus, Layout, Loader, LoaderConfig, Tokenizer};

/// The published rows of C4.
const ROWS: usize = 512;
const SEQ_LEN: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [data, tokenizer, rest @ ..] = arguments.as_slice() else {
        println!("skipped: give DATA TOKENIZER.json [BATCHES]");
        return Ok(());
    };
    let batches: usize = rest.first().map_or(Ok(10), |count| count.parse())?;
    let tokenizer = Arc::new(Tokenizer::from_file(Path::new(tokenizer))?);
    let corpus = Corpus::from_path(Path::new(data))?;
    let config = LoaderConfig {
        batch_size: ROWS,
        seq_len: SEQ_LEN,
        layout: Layout::TruncateAndPad,
        cache_tokens: 0,
        ..LoaderConfig::default()
    };
    let started = Instant::now();
    let mut loader = Loader::new(corpus, tokenizer, config)?;
    let mut useful = 0;
    for _ in 0..batches {
        useful += loader.next_batch()?.input_tokens();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{useful} useful tokens in {seconds:.2} s: {:.0} a second",
        useful as f64 / seconds
    );
    Ok(())
}
