//! One side of `cargo xtask bench --peer`: times one piece of work and prints what was measured as one JSON line.
//!
//! `peer_step tiny|60m BATCH SEQ STEPS METHOD`, where METHOD is a training method (`adamw`, `blockllm:0.95`, `lora:8`, ...)
//! or a part of a step (`attention`, `loss`, `optimizer`, `selection`). Its counterpart in PyTorch is
//! `benches/peer/step.py`.
mod measured;
mod parts;
mod step;

use anyhow::{Context as _, Result, bail};
use blockllm::model::llama::LlamaConfig;
use blockllm::train::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What is measured, and how often.
struct Work {
    config: LlamaConfig,
    batch_size: usize,
    seq_len: usize,
    /// Timed repetitions; one more comes before them.
    steps: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, batch, seq, steps, method] = arguments.as_slice() else {
        bail!("usage: peer_step tiny|60m BATCH SEQ STEPS METHOD");
    };
    let config = match name.as_str() {
        "tiny" => LlamaConfig::new(2048, 256, 688, 4, 4),
        "60m" => LlamaConfig::preset("60m")?,
        other => bail!("'{other}' is neither tiny nor 60m"),
    };
    let work = Work {
        config: config.with_max_position_embeddings(1024),
        batch_size: count("BATCH", batch)?,
        seq_len: count("SEQ", seq)?,
        steps: count("STEPS", steps)?,
    };
    let measured = match method.as_str() {
        "attention" => parts::attention(&work),
        "loss" => parts::loss(&work),
        "optimizer" => parts::optimizer(&work)?,
        "selection" => parts::selection(&work)?,
        method => step::train(&work, method)?,
    };
    println!("{}", measured.json(name, method));
    Ok(())
}

/// A positive number from the command line.
fn count(name: &str, text: &str) -> Result<usize> {
    let count: usize = text
        .parse()
        .with_context(|| format!("{name} is '{text}', not a number"))?;
    if count == 0 {
        bail!("{name} is 0; give at least 1");
    }
    Ok(count)
}
