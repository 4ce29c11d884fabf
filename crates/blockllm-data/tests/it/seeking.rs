//! A resume opens the shards that it needs and no others; nothing is read before the first batch.

use std::fs;
use std::sync::Arc;

use blockllm_data::{Corpus, Layout, Loader, LoaderConfig};

use crate::fixtures::{texts, tokenizer, write_shard};

const SHARDS: usize = 12;

fn config(layout: Layout) -> LoaderConfig {
    LoaderConfig {
        batch_size: 4,
        seq_len: 16,
        layout,
        shuffle_buffer: 12,
        seed: 5,
        // Reads less far ahead, so that no shard of the next epoch is among those that are needed.
        threads: 1,
        ..LoaderConfig::default()
    }
}

#[test]
fn a_resume_needs_no_shard_that_was_read_before_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let shards: Vec<_> = (0..SHARDS)
        .map(|number| {
            folder
                .path()
                .join(format!("c4-train.{number:05}-of-00012.json.gz"))
        })
        .collect();
    let texts = texts(SHARDS * 30 + 2);
    for (shard, texts) in shards.iter().zip(texts.chunks(30)) {
        write_shard(shard, texts);
    }
    write_shard(
        &folder.path().join("c4-validation.0.json.gz"),
        &texts[SHARDS * 30..],
    );
    let tokenizer = Arc::new(tokenizer());
    for layout in [Layout::TruncateAndPad, Layout::Packed] {
        let corpus = Corpus::from_path(folder.path()).unwrap();
        let mut whole = Loader::new(corpus.clone(), tokenizer.clone(), config(layout)).unwrap();
        // Into the fourth shard of the first epoch; what is behind lies in shards that may still be needed.
        while whole.cursor().next.block_start.shard < 3 {
            whole.next_batch().unwrap();
        }
        let cursor = whole.cursor().clone();
        assert!(serde_json::to_string(&cursor).unwrap().len() < 1000);
        let expected: Vec<_> = (0..6).map(|_| whole.next_batch().unwrap()).collect();
        drop(whole);

        let read: Vec<_> = corpus.hashes().opened().into_iter().collect();
        let unfinished = cursor.unfinished.iter().map(|one| one.document.shard as usize);
        let oldest: Vec<_> = unfinished.map(|shard| &shards[shard]).collect();
        let again = Corpus::from_path(folder.path()).unwrap();
        let kept: Vec<_> = shards.iter().map(|shard| fs::read(shard).unwrap()).collect();
        let mut resumed =
            Loader::resume(again.clone(), tokenizer.clone(), config(layout), cursor.clone()).unwrap();
        for expected in &expected {
            assert_eq!(&resumed.next_batch().unwrap(), expected, "{layout:?}");
        }
        drop(resumed);
        let needed = again.hashes().opened();
        let not_needed: Vec<_> = read.iter().filter(|path| !needed.contains(*path)).collect();
        assert!(
            not_needed.len() >= 2,
            "{layout:?}: {needed:?} of {read:?}, unfinished in {oldest:?}"
        );
        for path in not_needed {
            fs::write(path, "gone").unwrap();
        }
        // The identity was found before the files were spoiled.
        resumed = Loader::resume(again, tokenizer.clone(), config(layout), cursor).unwrap();
        for expected in &expected {
            assert_eq!(&resumed.next_batch().unwrap(), expected, "{layout:?}");
        }
        drop(resumed);
        for (shard, bytes) in shards.iter().zip(kept) {
            fs::write(shard, bytes).unwrap();
        }
    }
}

#[test]
fn a_loader_reads_nothing_before_it_is_asked_and_tells_how_long_it_was_waited_for() {
    let folder = crate::fixtures::c4_folder();
    let corpus = Corpus::from_path(folder.path()).unwrap();
    let mut loader = Loader::new(corpus.clone(), Arc::new(tokenizer()), config(Layout::Packed)).unwrap();
    assert!(corpus.hashes().opened().is_empty() && loader.waited().is_zero());
    loader.next_batch().unwrap();
    assert!(!corpus.hashes().opened().is_empty());
    let waited = loader.waited();
    assert!(!waited.is_zero());
    loader.next_batch().unwrap();
    assert!(loader.waited() >= waited);
}
