//! Bad documents: an error with file and line, or left out and counted, also over a resumption.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use blockllm_data::{
    BadDocuments, Corpus, DataError, Layout, LmBatch, Loader, LoaderConfig, ReadingConfig, Skipped,
    Tokenizer, validation_batches,
};
use tempfile::TempDir;

use crate::fixtures::{texts, tokenizer, write_shard};

const SKIP: ReadingConfig = ReadingConfig {
    bad_documents: BadDocuments::Skip,
    max_line_bytes: 2000,
};

fn config() -> LoaderConfig {
    LoaderConfig {
        batch_size: 3,
        seq_len: 16,
        layout: Layout::Packed,
        shuffle_buffer: 7,
        ..LoaderConfig::default()
    }
}

fn line(text: &str) -> String {
    serde_json::json!({ "text": text }).to_string()
}

/// A validation shard, and one train shard of these lines.
fn folder(lines: &[String]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.jsonl"), lines.join("\n")).unwrap();
    fs::write(folder.path().join("validation.jsonl"), line("held out")).unwrap();
    folder
}

/// Good documents, and the same with a bad line before every fifth and behind the last.
fn lines() -> (Vec<String>, Vec<String>) {
    let bad = [
        "{\"content\":\"x\"}",
        "[]",
        "{\"text\":\"a\",\"text\":\"b\"}",
        "no json",
        "{\"text\":\"cut",
    ];
    let good: Vec<String> = texts(40).iter().map(|text| line(text)).collect();
    let mut mixed = Vec::new();
    for (index, good) in good.iter().enumerate() {
        if index % 5 == 0 {
            mixed.push(bad[index / 5 % bad.len()].to_owned());
        }
        mixed.push(good.clone());
    }
    mixed.push(line(&"too long ".repeat(400)));
    (good, mixed)
}

fn open(folder: &Path, reading: ReadingConfig) -> Corpus {
    Corpus::from_path(folder).unwrap().with_reading(reading)
}

/// The batches of two epochs, and loaders that were resumed before the first of them and after each.
fn run(corpus: &Corpus, tokenizer: &Arc<Tokenizer>) -> Result<(Vec<LmBatch>, Vec<Loader>), DataError> {
    let mut loader = Loader::new(corpus.clone(), tokenizer.clone(), config())?;
    let resume = |loader: &Loader| {
        Loader::resume(
            corpus.clone(),
            tokenizer.clone(),
            config(),
            loader.cursor().clone(),
        )
    };
    let (mut batches, mut resumed) = (Vec::new(), vec![resume(&loader)?]);
    while loader.cursor().next.epoch < 2 {
        batches.push(loader.next_batch()?);
        resumed.push(resume(&loader)?);
    }
    Ok((batches, resumed))
}

#[test]
fn a_bad_line_ends_the_run_by_default_and_is_named() {
    let (_, mixed) = lines();
    let folder = folder(&mixed[1..]);
    let error = run(
        &open(folder.path(), ReadingConfig::default()),
        &Arc::new(tokenizer()),
    )
    .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("train.jsonl, line 6") && message.contains("`[]`"),
        "{message}"
    );
}

#[test]
fn skipped_documents_leave_the_batches_of_the_good_ones_and_are_counted_also_when_resumed() {
    let (good, mixed) = lines();
    let (good, mixed) = (folder(&good), folder(&mixed));
    let tokenizer = Arc::new(tokenizer());
    let (expected, _) = run(&open(good.path(), ReadingConfig::default()), &tokenizer).unwrap();
    let (found, resumed) = run(&open(mixed.path(), SKIP), &tokenizer).unwrap();
    assert_eq!(found, expected);
    let counts: Vec<Skipped> = resumed.iter().map(Loader::skipped).collect();
    assert!(counts.is_sorted_by_key(|skipped| skipped.documents));
    for (at, mut resumed) in resumed.into_iter().enumerate() {
        for (expected, skipped) in expected.iter().zip(&counts[1..]).skip(at) {
            assert_eq!(&resumed.next_batch().unwrap(), expected);
            assert_eq!(resumed.skipped(), *skipped, "resumed after {at} batches");
        }
    }
    // Nine a pass, and those of the block that the third has begun with.
    let last = counts.last().unwrap();
    assert!(
        (19..=20).contains(&last.documents) && last.shards == 0,
        "{last:?}"
    );
}

#[test]
fn a_text_that_the_tokenizer_refuses_is_a_bad_document_too() {
    let (good, _) = lines();
    let folder = folder(&[&good[..], &[line("a <far> one"), line("another <far> one")]].concat());
    let path = folder.path().join("tokenizer.json");
    tokenizer().save(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut far = json["added_tokens"][0].clone();
    (far["id"], far["content"]) = (280.into(), "<far>".into());
    json["added_tokens"].as_array_mut().unwrap().push(far);
    fs::write(&path, json.to_string()).unwrap();
    let tokenizer = Arc::new(Tokenizer::from_file(&path).unwrap().fitted(280).unwrap());
    let error = run(&open(folder.path(), ReadingConfig::default()), &tokenizer).unwrap_err();
    assert!(error.to_string().contains("`<far>` (id 280)"), "{error}");
    let (_, resumed) = run(&open(folder.path(), SKIP), &tokenizer).unwrap();
    let last = resumed.last().unwrap().skipped().documents;
    assert!((2..=4).contains(&last), "{last}");
}

#[test]
fn an_empty_shard_and_a_torn_one_are_skipped_and_counted_as_shards() {
    let folder = tempfile::tempdir().unwrap();
    for (number, range) in [(0, 0..20), (1, 20..20), (2, 20..60)] {
        let name = format!("c4-train.0000{number}-of-00003.json.gz");
        write_shard(&folder.path().join(name), &texts(60)[range]);
    }
    write_shard(&folder.path().join("c4-validation.0.json.gz"), &texts(2));
    let torn = folder.path().join("c4-train.00002-of-00003.json.gz");
    let bytes = fs::read(&torn).unwrap();
    fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    let mut documents = open(folder.path(), SKIP).documents(blockllm_data::Split::Train);
    let read = documents.by_ref().map(Result::unwrap).count();
    assert!((20..60).contains(&read), "{read}");
    assert_eq!(
        documents.skipped(),
        Skipped {
            documents: 0,
            shards: 2
        }
    );
    let stopped: Result<Vec<_>, _> = open(folder.path(), ReadingConfig::default())
        .train_documents()
        .collect();
    assert!(matches!(stopped, Err(DataError::EmptyShard { .. })));
}

#[test]
fn validation_skips_as_training_does() {
    let (good, mixed) = lines();
    let tokenizer = Arc::new(tokenizer());
    let rows = |lines: &[String], reading| {
        let folder = folder(&good);
        fs::write(folder.path().join("validation.jsonl"), lines.join("\n")).unwrap();
        validation_batches(&open(folder.path(), reading), &tokenizer, &config(), usize::MAX)
    };
    assert_eq!(
        rows(&mixed, SKIP).unwrap(),
        rows(&good, ReadingConfig::default()).unwrap()
    );
    assert!(matches!(
        rows(&mixed, ReadingConfig::default()),
        Err(DataError::NoText { line: 1, .. })
    ));
}
