//! The record of the data that the runs have read: which files, with the hash of each.
use anyhow::{Context, Result};
use blockllm_data::atomic_file::write_atomically;
use blockllm_data::{Corpus, DataManifest, HashProgress};
use blockllm_train::tell_line;
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
            tell_line!(
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What the warning after the runs tells; they keep their results and get their report.
    #[test]
    fn a_shard_that_has_gone_since_it_was_read_is_named_and_no_record_is_written() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shard = data.path().join("train.jsonl");
        let line = |i| format!("{{\"text\": \"document {i} of a small shard\"}}\n");
        let lines = (0..80).map(line).collect::<Vec<_>>().concat();
        fs::write(&shard, &lines).unwrap();
        let corpus = Corpus::open(Some(data.path()), Path::new(".")).unwrap();
        let tokenizer = corpus.train_tokenizer(300, 1 << 20).unwrap();
        let manifest = DataManifest::of(&corpus, &tokenizer).unwrap();
        fs::create_dir_all(out.path().join("c4")).unwrap();
        fs::remove_file(&shard).unwrap();
        let error = record(&manifest, &corpus, out.path()).unwrap_err();
        assert!(format!("{error:#}").contains("train.jsonl"), "{error:#}");
        let written = out.path().join("c4/data.json");
        assert!(!written.exists());
        fs::write(&shard, &lines).unwrap();
        record(&manifest, &corpus, out.path()).unwrap();
        assert!(fs::read_to_string(written).unwrap().contains("train.jsonl"));
    }
}
