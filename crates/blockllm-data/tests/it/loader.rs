//! Loaders: resumed, cached, dropped, failing.

use std::sync::Arc;

use blockllm_data::{
    BadDocuments, Corpus, Cursor, DataError, IGNORE_INDEX, Layout, LmBatch, Loader, LoaderConfig,
    ReadingConfig, validation_batches,
};

use crate::fixtures::{c4_folder, texts, tokenizer, write_shard};

fn config(layout: Layout) -> LoaderConfig {
    LoaderConfig {
        batch_size: 4,
        seq_len: 16,
        layout,
        shuffle_buffer: 12,
        seed: 5,
        prefetch: 2,
        cache_tokens: 1 << 20,
        threads: 2,
    }
}

fn batches(loader: &mut Loader, count: usize) -> Vec<LmBatch> {
    (0..count).map(|_| loader.next_batch().unwrap()).collect()
}

#[test]
fn a_loader_resumed_at_any_batch_gives_what_a_never_stopped_one_gives() {
    let folder = c4_folder();
    let tokenizer = Arc::new(tokenizer());
    for layout in [Layout::TruncateAndPad, Layout::Packed] {
        let open = || Corpus::from_path(folder.path()).unwrap();
        let mut whole = Loader::new(open(), tokenizer.clone(), config(layout)).unwrap();
        let mut cursors = vec![whole.cursor().clone()];
        let mut all = Vec::new();
        while whole.cursor().next.epoch < 3 {
            all.push(whole.next_batch().unwrap());
            cursors.push(whole.cursor().clone());
        }
        all.extend(batches(&mut whole, 3));
        for (at, cursor) in cursors.iter().enumerate() {
            let json = serde_json::to_string(cursor).unwrap();
            let cursor: Cursor = serde_json::from_str(&json).unwrap();
            assert_eq!(cursor.batches, at as u64);
            let mut resumed = Loader::resume(open(), tokenizer.clone(), config(layout), cursor).unwrap();
            assert_eq!(
                batches(&mut resumed, 3),
                all[at..at + 3],
                "{layout:?} resumed after {at} batches"
            );
        }
        let mut skipped = Loader::new(open(), tokenizer.clone(), config(layout)).unwrap();
        skipped.skip(7).unwrap();
        assert_eq!(skipped.cursor(), &cursors[7]);
        assert_eq!(batches(&mut skipped, 3), all[7..10]);
    }
}

#[test]
fn neither_cache_nor_prefetch_nor_threads_change_a_batch_and_the_seed_does() {
    let folder = c4_folder();
    let tokenizer = Arc::new(tokenizer());
    let run = |config: LoaderConfig| {
        let corpus = Corpus::from_path(folder.path()).unwrap();
        batches(&mut Loader::new(corpus, tokenizer.clone(), config).unwrap(), 60)
    };
    let cached = run(config(Layout::Packed));
    assert_eq!(
        cached,
        run(LoaderConfig {
            cache_tokens: 0,
            prefetch: 9,
            threads: 1,
            ..config(Layout::Packed)
        })
    );
    assert_eq!(
        cached,
        run(LoaderConfig {
            cache_tokens: 1000,
            threads: 5,
            ..config(Layout::Packed)
        })
    );
    assert_ne!(
        cached,
        run(LoaderConfig {
            seed: 6,
            ..config(Layout::Packed)
        })
    );
}

#[test]
fn an_epoch_of_padded_rows_is_every_train_document_once() {
    let folder = c4_folder();
    let corpus = Corpus::from_path(folder.path()).unwrap();
    let tokenizer = Arc::new(tokenizer());
    let config = LoaderConfig {
        batch_size: 60,
        ..config(Layout::TruncateAndPad)
    };
    let mut loader = Loader::new(corpus, tokenizer.clone(), config).unwrap();
    for _epoch in 0..2 {
        let batch = loader.next_batch().unwrap();
        let mut rows: Vec<&[i32]> = batch.input_ids.chunks(16).map(|row| &row[..2]).collect();
        rows.sort_unstable();
        let mut expected: Vec<Vec<i32>> = Vec::new();
        for text in &texts(60) {
            expected.push(
                tokenizer.encode(text).unwrap()[..2]
                    .iter()
                    .map(|&id| id as i32)
                    .collect(),
            );
        }
        expected.sort_unstable();
        assert_eq!(rows, expected);
    }
}

#[test]
fn all_threads_are_done_when_their_loader_is_dropped() {
    let tokenizer = Arc::new(tokenizer());
    let corpus = Corpus::from_documents("test", texts(60), vec![]);
    let mut loader = Loader::new(corpus, tokenizer.clone(), config(Layout::Packed)).unwrap();
    loader.next_batch().unwrap();
    assert!(Arc::strong_count(&tokenizer) > 1);
    drop(loader);
    // Its threads owned the other references; drop has waited for them.
    assert_eq!(Arc::strong_count(&tokenizer), 1);
}

#[test]
fn an_error_of_the_thread_comes_out_of_next_batch_and_then_the_loader_is_stopped() {
    let folder = c4_folder();
    let shard = folder.path().join("en/c4-train.00001-of-00002.json.gz");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let corpus = Corpus::from_path(folder.path()).unwrap();
    let mut loader = Loader::new(corpus, Arc::new(tokenizer()), config(Layout::Packed)).unwrap();
    let error = (0..100).find_map(|_| loader.next_batch().err()).unwrap();
    assert!(matches!(error, DataError::TruncatedShard { .. }), "{error}");
    assert!(matches!(
        loader.next_batch(),
        Err(DataError::LoaderStopped { .. })
    ));
}

#[test]
fn a_shard_that_vanishes_meanwhile_is_named_and_back_again_the_loader_goes_on_as_if_it_had_stayed() {
    let folder = c4_folder();
    let tokenizer = Arc::new(tokenizer());
    let open = || Corpus::from_path(folder.path()).unwrap();
    let config = LoaderConfig {
        prefetch: 1,
        cache_tokens: 0,
        shuffle_buffer: 4,
        ..config(Layout::TruncateAndPad)
    };
    let mut whole = Loader::new(open(), tokenizer.clone(), config.clone()).unwrap();
    let expected = batches(&mut whole, 30);

    let shards = folder.path().join("en");
    let away = folder.path().join("away");
    let mut loader = Loader::new(open(), tokenizer.clone(), config.clone()).unwrap();
    let mut found = batches(&mut loader, 2);
    std::fs::rename(&shards, &away).unwrap();
    let error = loop {
        match loader.next_batch() {
            Ok(batch) => found.push(batch),
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        error.contains("c4-train.0000") && error.contains("No such file"),
        "{error}"
    );
    assert!(
        found.len() < expected.len(),
        "all was read before the shards were gone"
    );
    std::fs::rename(&away, &shards).unwrap();
    let mut resumed =
        Loader::resume(open(), tokenizer.clone(), config.clone(), loader.cursor().clone()).unwrap();
    found.extend(batches(&mut resumed, expected.len() - found.len()));
    assert_eq!(found, expected);

    // A shard that is another one meanwhile makes another corpus.
    write_shard(&shards.join("c4-train.00001-of-00002.json.gz"), &texts(20));
    let other = Loader::resume(open(), tokenizer, config, loader.cursor().clone());
    assert!(matches!(other, Err(DataError::CursorMismatch { .. })));
}

/// With every document an error of its own where it is not skipped, whatever the mode: nothing of it may be taken for another.
#[test]
fn a_shard_that_becomes_another_one_meanwhile_is_named_and_never_trained_on() {
    let tokenizer = Arc::new(tokenizer());
    for bad_documents in [BadDocuments::Stop, BadDocuments::Skip] {
        let folder = c4_folder();
        let reading = ReadingConfig {
            bad_documents,
            ..ReadingConfig::default()
        };
        let corpus = Corpus::from_path(folder.path()).unwrap().with_reading(reading);
        let config = LoaderConfig {
            prefetch: 1,
            cache_tokens: 0,
            shuffle_buffer: 4,
            ..config(Layout::TruncateAndPad)
        };
        let mut loader = Loader::new(corpus, tokenizer.clone(), config).unwrap();
        batches(&mut loader, 2);
        let shard = |number: u32| {
            folder
                .path()
                .join(format!("en/c4-train.0000{number}-of-00002.json.gz"))
        };
        for number in [0, 1] {
            write_shard(&shard(number), &texts(20));
        }
        // An epoch has fewer batches than this.
        let error = (0..1000).find_map(|_| loader.next_batch().err()).unwrap();
        assert!(matches!(error, DataError::ChangedShard { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("c4-train.0000") && message.contains("Put back"),
            "{message}"
        );
    }
}

#[test]
fn a_cursor_of_other_settings_and_settings_out_of_range_are_refused() {
    let corpus = Corpus::from_documents("test", texts(60), vec![]);
    let tokenizer = Arc::new(tokenizer());
    let cursor = Cursor::start("0000000000000000".to_owned());
    let resumed = Loader::resume(corpus.clone(), tokenizer.clone(), config(Layout::Packed), cursor);
    assert!(matches!(resumed, Err(DataError::CursorMismatch { .. })));
    let config = LoaderConfig {
        batch_size: 0,
        ..config(Layout::Packed)
    };
    assert!(matches!(
        Loader::new(corpus, tokenizer, config),
        Err(DataError::Config {
            field: "batch_size",
            ..
        })
    ));
}

#[test]
fn documents_that_give_no_token_end_in_an_error() {
    let corpus = Corpus::from_documents("blank", vec![String::new(); 100], vec!["x".to_owned()]);
    let mut loader = Loader::new(corpus, Arc::new(tokenizer()), config(Layout::Packed)).unwrap();
    assert!(matches!(loader.next_batch(), Err(DataError::EmptySplit { .. })));
}

#[test]
fn validation_rows_are_the_same_for_every_batch_size_and_stop_at_the_bound() {
    let folder = c4_folder();
    let corpus = Corpus::from_path(folder.path()).unwrap();
    let tokenizer = Arc::new(tokenizer());
    let pass = |batch_size, max_tokens| {
        let config = LoaderConfig {
            batch_size,
            ..config(Layout::TruncateAndPad)
        };
        validation_batches(&corpus, &tokenizer, &config, max_tokens).unwrap()
    };
    let rows = |batches: &[LmBatch]| {
        batches
            .iter()
            .flat_map(|batch| batch.input_ids.clone())
            .collect::<Vec<_>>()
    };
    let (by_four, by_three) = (pass(4, usize::MAX), pass(3, usize::MAX));
    assert_eq!(
        by_four.iter().map(|batch| batch.batch_size).collect::<Vec<_>>(),
        [4, 4, 2]
    );
    assert_eq!(rows(&by_four), rows(&by_three));
    assert_eq!(
        rows(&pass(4, 20)),
        rows(&by_four)[..pass(4, 20).iter().map(|b| b.batch_size).sum::<usize>() * 16]
    );
    assert!(pass(4, 20).iter().map(LmBatch::label_tokens).sum::<usize>() >= 20);
    for batch in &by_four {
        for (inputs, labels) in batch.input_ids.chunks(16).zip(batch.labels.chunks(16)) {
            assert_eq!(labels[15], IGNORE_INDEX);
            assert!((0..15).all(|t| labels[t] == IGNORE_INDEX || labels[t] == inputs[t + 1]));
        }
    }
}

#[test]
fn a_corpus_too_small_to_hold_documents_out_says_so() {
    let corpus = Corpus::from_documents("tiny", vec!["a text".to_owned()], vec![]);
    let error =
        validation_batches(&corpus, &Arc::new(tokenizer()), &config(Layout::Packed), 100).unwrap_err();
    assert!(
        error.to_string().contains("validation documents of tiny"),
        "{error}"
    );
}
