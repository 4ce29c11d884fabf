//! The record of the data that the runs have read: which files, with the hash of each.
use anyhow::{Context, Result};
use blockllm_data::atomic_file::write_atomically;
use blockllm_data::{Corpus, DataManifest, HashProgress};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two lines about the progress.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hashes of earlier runs into `out`, so that a shard is hashed once while it does not change.
fn memory(out: &Path) -> PathBuf {
    out.join("c4").join("hashes.json")
}

/// Takes up what is known of the shards, before they are read.
pub(super) fn remember(corpus: &Corpus, out: &Path) -> Result<()> {
    Ok(corpus.hashes().remember(&memory(out))?)
}

/// Writes `c4/data.json`: `manifest` with the hashes of all shards of `corpus` that were read. They were hashed while they were
/// read; only the rest of a shard that was not read to its end is read here.
pub(super) fn record(manifest: &DataManifest, corpus: &Corpus, out: &Path) -> Result<()> {
    let mut told = Instant::now();
    let mut progress = |HashProgress {
                            done_bytes,
                            total_bytes,
                        }: HashProgress| {
        if told.elapsed() > PATIENCE {
            told = Instant::now();
            let mib = |bytes: u64| bytes >> 20;
            eprintln!(
                "hashing the data that was read: {} of {} MiB",
                mib(done_bytes),
                mib(total_bytes)
            );
        }
    };
    let manifest = manifest
        .clone()
        .hashed(corpus, Some(&memory(out)), &mut progress)?;
    let json = serde_json::to_vec_pretty(&manifest).context("the manifest as JSON")?;
    Ok(write_atomically(&out.join("c4").join("data.json"), &json)?)
}
