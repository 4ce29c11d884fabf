//! Hostile and odd files: whatever their bytes, they are read or refused, in bounded time and memory, without a panic.
//!
//! Lines and TSV rows have such tests beside their parsers.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use blockllm_data::glue::{GlueData, GlueExample, GlueTask, PairEncoder};
use blockllm_data::reading::shard_reader::ShardReader;
use blockllm_data::{
    BatchStream, Corpus, Cursor, DataError, Layout, LoaderConfig, ShardSet, Tokenizer, UnfinishedDocument,
};
use blockllm_fuzz::{Damage, cases, odd_value, replace_one};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::fixtures::{texts, write_shard};
use crate::parquet_columns::{Column, write};

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_damaged_shard_gives_documents_and_then_perhaps_an_error(damage in Damage::any(), is_gzip: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if is_gzip { "s.json.gz" } else { "s.jsonl" });
        write_shard(&path, &texts(20));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, damage.of(&whole)).unwrap();
        // One result a line at most, and one for the file.
        let found: Vec<_> = ShardReader::new(path.clone()).take(10_000).collect();
        prop_assert!(found.len() < 10_000);
        let mut reader = ShardReader::new(path);
        let passed = reader.pass_over(u64::MAX);
        if found.iter().all(Result::is_ok) {
            prop_assert_eq!(passed.unwrap() as usize, found.len());
        }
    }

    #[test]
    fn any_bytes_are_a_shard_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..500), is_gzip: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if is_gzip { "s.json.gz" } else { "s.jsonl" });
        fs::write(&path, bytes).unwrap();
        prop_assert!(ShardReader::new(path).take(1000).count() < 1000);
    }
}

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(crate::fixtures::tokenizer()));

fn corpus() -> (Corpus, LoaderConfig) {
    let config = LoaderConfig {
        batch_size: 3,
        seq_len: 12,
        layout: Layout::Packed,
        shuffle_buffer: 5,
        threads: 1,
        ..LoaderConfig::default()
    };
    (
        Corpus::from_documents("hostile", texts(30), vec!["held out".to_owned()]),
        config,
    )
}

/// Small numbers that may be right, and numbers that cannot be.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..40, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_cursor_of_any_numbers_is_refused_or_goes_on(
        numbers in prop::collection::vec(number(), 8),
        lanes in prop::collection::vec((0usize..4, 0u32..2, number(), number()), 0..4),
    ) {
        let (corpus, config) = corpus();
        let start = BatchStream::new(corpus.clone(), TOKENIZER.clone(), config.clone()).unwrap();
        let mut cursor: Cursor = start.cursor().clone();
        cursor.batches = numbers[0];
        cursor.skipped.documents = numbers[1];
        cursor.next.epoch = numbers[2];
        cursor.next.document = numbers[3];
        cursor.next.block = numbers[4];
        cursor.next.taken = numbers[5];
        cursor.next.block_start.shard = numbers[6] % 3;
        cursor.next.block_start.document = numbers[7];
        let lanes = lanes.into_iter().map(|(row, shard, index, token_offset)| UnfinishedDocument {
            row, document: blockllm_data::DocumentId { shard, index }, token_offset,
        });
        cursor.unfinished = lanes.collect();
        match BatchStream::resume(corpus, TOKENIZER.clone(), config, cursor) {
            Ok(mut stream) => for _ in 0..3 {
                prop_assert_eq!(stream.next_batch().unwrap().batch_size, 3);
            },
            Err(error) => prop_assert!(matches!(error, DataError::CursorPlace { .. }), "{}", error),
        }
    }

    #[test]
    fn a_cursor_with_anything_in_place_of_a_value_is_refused_or_goes_on(at: Index, odd in odd_value()) {
        let (corpus, config) = corpus();
        let mut stream = BatchStream::new(corpus.clone(), TOKENIZER.clone(), config.clone()).unwrap();
        stream.next_batch().unwrap();
        let mut json = serde_json::to_value(stream.cursor()).unwrap();
        replace_one(&mut json, at, &odd);
        if let Ok(cursor) = serde_json::from_value(json)
            && let Ok(mut stream) = BatchStream::resume(corpus, TOKENIZER.clone(), config, cursor)
        {
            stream.next_batch().unwrap();
        }
    }
}

/// Reads a tokenizer, and uses what was read.
fn use_tokenizer(path: &Path) -> Result<(), DataError> {
    let tokenizer = Tokenizer::from_file(path)?;
    let text = "The sailors rode the breeze clear of the rocks. ".repeat(12);
    let ids = tokenizer.encode_beginning(&text, 20)?;
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
    tokenizer.decode(&ids)?;
    let form = tokenizer.document_form();
    form.and_then(|form| form.room(16))
        .map(drop)
        .or_else(|error| match error {
            DataError::NoEndToken { .. } | DataError::Config { .. } => Ok(()),
            error => Err(error),
        })?;
    let vocab_size = tokenizer.vocab_size();
    let encoder = PairEncoder::new(tokenizer, 24)?.fitted(vocab_size)?;
    let example = GlueExample {
        sentence: text.clone(),
        pair: Some(text),
        label: None,
        index: 0,
    };
    assert!(encoder.encode(&example)?.input_ids.len() <= 24);
    Ok(())
}

const TOKENIZERS: [&str; 3] = [
    "bert_tokenizer.json",
    "t5_tokenizer.json",
    "llama_3_tokenizer.json",
];

fn fixture(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name),
    )
    .unwrap()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_damaged_tokenizer_is_refused_or_works(
        name in prop::sample::select(TOKENIZERS.to_vec()), damage in Damage::any(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, damage.of(&fixture(name))).unwrap();
        let _ = use_tokenizer(&path);
    }

    #[test]
    fn a_tokenizer_with_anything_in_place_of_a_value_is_refused_or_works(
        name in prop::sample::select(TOKENIZERS.to_vec()), at: Index, odd in odd_value(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let mut json: Value = serde_json::from_slice(&fixture(name)).unwrap();
        replace_one(&mut json, at, &odd);
        fs::write(&path, json.to_string()).unwrap();
        let _ = use_tokenizer(&path);
    }

    #[test]
    fn settings_beside_a_tokenizer_may_say_anything(
        file in prop::sample::select(vec!["tokenizer_config.json", "special_tokens_map.json", "config.json"]),
        key in prop::sample::select(vec!["bos_token", "eos_token", "pad_token_id", "eos_token_id", "add_bos_token"]),
        odd in odd_value(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, fixture("t5_tokenizer.json")).unwrap();
        fs::write(folder.path().join(file), json!({ key: odd }).to_string()).unwrap();
        use_tokenizer(&path).unwrap();
    }

    #[test]
    fn any_file_beside_a_tokenizer_is_read_or_named(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, fixture("t5_tokenizer.json")).unwrap();
        fs::write(folder.path().join("config.json"), bytes).unwrap();
        if let Err(error) = use_tokenizer(&path) {
            prop_assert!(error.to_string().contains("config.json"), "{}", error);
        }
    }

    #[test]
    fn a_damaged_parquet_file_is_refused_or_read(damage in Damage::any()) {
        let folder = tempfile::tempdir().unwrap();
        let columns = [
            ("sentence1", Column::Texts(&["A", "B", "C"])),
            ("sentence2", Column::Texts(&["D", "E", "F"])),
            ("label", Column::Longs(&[0, 1, 1])),
        ];
        for split in ["train", "validation"] {
            write(&folder.path().join(format!("rte/{split}.parquet")), &columns, "");
        }
        let path = folder.path().join("rte/train.parquet");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, damage.of(&whole)).unwrap();
        if let Err(error) = GlueData::open(folder.path(), GlueTask::Rte) {
            prop_assert!(error.to_string().contains("train.parquet"), "{}", error);
        }
    }

    #[test]
    fn files_of_any_name_are_sorted_into_train_validation_and_test(
        names in prop::collection::vec("[a-zA-Z0-9._-]{0,12}(train|test|val|dev|validation|)?\\.(jsonl|json\\.gz|txt)", 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for name in &names {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        if let Ok(shards) = ShardSet::find(folder.path()) {
            let all = shards.all().chain(&shards.left_out).count();
            prop_assert!(!shards.train.is_empty() && all <= names.len());
        }
    }
}
