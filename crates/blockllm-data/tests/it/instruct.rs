//! Instruction data from files to batches: weights, resuming, what is cut, skipped or refused, and what hostile files do.

use std::fs;
use std::sync::{Arc, LazyLock};

use blockllm_data::instruct::{
    ChatTemplate, DataFile, DataFiles, EncodedData, EncodingConfig, FixedDate, InstructBatchConfig,
    InstructBatches, InstructCursor, InstructData, InstructEncoder, LossOn, TooLong,
    instruct_validation_batches,
};
use blockllm_data::{BadDocuments, DataError, FileRole, IGNORE_INDEX, Layout, ReadingConfig};
use blockllm_fuzz::{Damage, cases, odd_value, replace_one};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::{texts, tokenizer, workspace};

fn line(i: usize, text: &str) -> String {
    match i % 4 {
        0 => json!({ "instruction": format!("Say {i}."), "input": "", "output": text }),
        1 => json!({ "conversations": [{ "from": "human", "value": "Say." }, { "from": "gpt", "value": text }] }),
        2 => json!({ "messages": [{ "role": "user", "content": "Say." }, { "role": "assistant", "content": text }] }),
        _ => json!({ "prompt": "Say: ", "completion": text }),
    }
    .to_string()
}

fn lines(count: usize) -> Vec<String> {
    texts(count)
        .iter()
        .enumerate()
        .map(|(i, text)| line(i, text))
        .collect()
}

const SKIP: ReadingConfig = ReadingConfig {
    bad_documents: BadDocuments::Skip,
    max_line_bytes: 4000,
};

static ENCODER: LazyLock<InstructEncoder> =
    LazyLock::new(|| InstructEncoder::new(Arc::new(tokenizer()), ChatTemplate::alpaca()).unwrap());

fn encoding(max_tokens: usize) -> EncodingConfig {
    EncodingConfig {
        max_tokens,
        ..EncodingConfig::default()
    }
}

/// Two train files, one an array, and a validation file.
fn folder() -> (TempDir, Vec<DataFile>) {
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(60);
    let write = |name: &str, text: String, weight| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        DataFile { path, weight }
    };
    let files = vec![
        write("a-train.jsonl", lines[..40].join("\n"), Some(1.0)),
        write("b.json", format!("[{}]", lines[40..50].join(",\n")), Some(3.0)),
        write("valid.jsonl", lines[50..].join("\n"), None),
    ];
    (folder, files)
}

fn encoded(files: &[DataFile], config: EncodingConfig) -> (InstructData, Arc<EncodedData>) {
    let files = DataFiles::sorted(files).unwrap();
    let data = InstructData::from_files(&files, ReadingConfig::default()).unwrap();
    let encoded = EncodedData::new(&data, FileRole::Train, &ENCODER, config).unwrap();
    (data, Arc::new(encoded))
}

#[test]
fn batches_learn_answers_within_segments_and_continue_from_every_place() {
    let (_folder, files) = folder();
    let (data, encoded) = encoded(&files, encoding(160));
    assert_eq!((encoded.counts.used, encoded.sources.len()), (50, 2));
    for layout in [Layout::Packed, Layout::TruncateAndPad] {
        let config = InstructBatchConfig {
            batch_size: 64,
            layout,
            seed: 5,
        };
        let mut run = InstructBatches::new(encoded.clone(), config).unwrap();
        let mut resumed =
            vec![InstructBatches::resume(encoded.clone(), config, run.cursor().clone()).unwrap()];
        for _ in 0..40 {
            let batch = run.next_batch();
            for other in &mut resumed {
                assert_eq!(other.next_batch(), batch);
            }
            let json = serde_json::to_string(run.cursor()).unwrap();
            let cursor: InstructCursor = serde_json::from_str(&json).unwrap();
            resumed.push(InstructBatches::resume(encoded.clone(), config, cursor).unwrap());
            let segments = batch.segment_ids.as_ref().unwrap();
            for (at, &label) in batch
                .labels
                .iter()
                .enumerate()
                .filter(|(_, label)| **label != IGNORE_INDEX)
            {
                assert_eq!((label, segments[at]), (batch.input_ids[at + 1], segments[at + 1]));
            }
            assert!(batch.label_tokens() > 0 && batch.label_tokens() < batch.input_tokens());
        }
        assert!(run.cursor().block > 0, "the test goes over the end of a block");
        let taken = run.taken();
        assert!(
            taken[1].abs_diff(3 * taken[0]) <= 8,
            "the weights are 1 and 3: {taken:?}"
        );
    }
    let validation = EncodedData::new(&data, FileRole::Validation, &ENCODER, encoding(160)).unwrap();
    let config = InstructBatchConfig::default();
    let batches = instruct_validation_batches(&validation, &config, None);
    let reseeded = InstructBatchConfig { seed: 9, ..config };
    assert_eq!(batches, instruct_validation_batches(&validation, &reseeded, None));
    let single = InstructBatchConfig {
        batch_size: 1,
        ..config
    };
    let rows = |most| instruct_validation_batches(&validation, &single, most);
    let all = rows(None);
    assert!(all.len() > 3, "the rows: {}", all.len());
    // Evenly spaced, the first among them; more than there are is all.
    assert_eq!(rows(Some(2)), [all[0].clone(), all[all.len() / 2].clone()]);
    assert_eq!(rows(Some(all.len() + 1)), all);
    assert_eq!(validation.counts.used, 10);
}

#[test]
fn other_data_weights_or_settings_are_another_order_of_batches() {
    let (_folder, mut files) = folder();
    let config = InstructBatchConfig::default();
    let start = |data: &Arc<EncodedData>, config| {
        InstructBatches::new(data.clone(), config)
            .unwrap()
            .cursor()
            .clone()
    };
    let (_, data) = encoded(&files, encoding(160));
    let cursor = start(&data, config);
    let seeded = start(&data, InstructBatchConfig { seed: 1, ..config });
    let (_, all) = encoded(
        &files,
        EncodingConfig {
            loss_on: LossOn::All,
            ..encoding(160)
        },
    );
    files[0].weight = Some(2.0);
    let (_, weighted) = encoded(&files, encoding(160));
    for other in [seeded, start(&all, config), start(&weighted, config)] {
        let refused = InstructBatches::resume(data.clone(), config, other);
        assert!(matches!(refused, Err(DataError::CursorMismatch { .. })));
    }
    assert!(InstructBatches::resume(data, config, cursor).is_ok());
}

#[test]
fn without_a_validation_file_examples_are_held_out_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    fs::write(&path, lines(300).join("\n")).unwrap();
    let data = InstructData::from_files(&DataFiles::sorted(&[DataFile::new(path)]).unwrap(), SKIP).unwrap();
    let (train, held_out) = (data.train[0].examples.len(), data.validation[0].examples.len());
    assert!(data.holds_out && (4..40).contains(&held_out), "{held_out}");
    assert_eq!(train + held_out, 300);
}

#[test]
fn of_few_examples_one_is_held_out_and_of_equal_ones_none_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("few.jsonl");
    let data = |lines: &[String]| {
        fs::write(&path, lines.join("\n")).unwrap();
        InstructData::from_files(&DataFiles::sorted(&[DataFile::new(&path)]).unwrap(), SKIP).unwrap()
    };
    for count in 2..20 {
        let data = data(&lines(count));
        let [train, held_out] = [&data.train, &data.validation]
            .map(|part| part.iter().map(|source| source.examples.len()).sum::<usize>());
        assert!(held_out > 0 && train > 0, "{count}: {train} {held_out}");
        assert_eq!(train + held_out, count);
    }
    let equal = vec![lines(1)[0].clone(); 5];
    let data = data(&equal);
    assert!(data.validation.is_empty() && data.train[0].examples.len() == 5);
}

#[test]
fn a_bad_record_is_named_or_skipped_and_counted_and_so_is_what_a_template_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.jsonl");
    let odd = json!({ "messages": [{ "role": "critic", "content": "?" }, { "role": "assistant", "content": "x" }] }).to_string();
    let mut all = lines(9);
    all.insert(4, "{\"question\": 1}".to_owned());
    all.insert(7, odd);
    fs::write(&path, all.join("\n")).unwrap();
    let files = DataFiles {
        train: vec![DataFile::new(&path)],
        validation: vec![DataFile::new(&path)],
        test: vec![],
    };
    let message = InstructData::from_files(&files, ReadingConfig::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("train.jsonl, line 5") && message.contains("question"),
        "{message}"
    );
    let mut data = InstructData::from_files(&files, SKIP).unwrap();
    assert_eq!((data.train[0].examples.len(), data.skipped.documents), (10, 2));
    let strict = "{% for m in messages %}{% if m.role == 'critic' %}{{ raise_exception('no critics') }}{% endif %}{{ m.content }}{% endfor %}";
    let template = ChatTemplate::new("strict", strict, FixedDate::default()).unwrap();
    let encoder = InstructEncoder::new(Arc::new(tokenizer()), template).unwrap();
    let encode = |data: &InstructData| EncodedData::new(data, FileRole::Train, &encoder, encoding(200));
    let encoded = encode(&data).unwrap();
    assert_eq!((encoded.counts.used, encoded.skipped.documents), (9, 1));
    data.reading = ReadingConfig::default();
    let message = encode(&data).unwrap_err().to_string();
    assert!(
        message.contains("line 8") && message.contains("no critics"),
        "{message}"
    );
}

#[test]
fn long_examples_are_counted_and_a_set_of_nothing_else_is_an_error() {
    let (_folder, files) = folder();
    let count = |max_tokens, too_long| {
        encoded(
            &files,
            EncodingConfig {
                too_long,
                ..encoding(max_tokens)
            },
        )
        .1
        .counts
    };
    let whole = count(1000, TooLong::Cut);
    assert_eq!((whole.used, whole.cut), (50, 0));
    let (cut, dropped) = (count(60, TooLong::Cut), count(60, TooLong::Drop));
    assert_eq!(cut.used + cut.without_answer, 50);
    assert_eq!(dropped.used + dropped.too_long, 50);
    assert!(
        cut.cut > 0 && cut.cut + cut.without_answer == dropped.too_long,
        "{cut} {dropped}"
    );
    let refused = |files: &[DataFile]| {
        let data = InstructData::from_files(&DataFiles::sorted(files).unwrap(), ReadingConfig::default());
        EncodedData::new(&data.unwrap(), FileRole::Train, &ENCODER, encoding(2)).unwrap_err()
    };
    // A file whose share was asked for by name is missed.
    let weighted = refused(&files).to_string();
    assert!(
        weighted.contains("weight") && weighted.contains("max_tokens"),
        "{weighted}"
    );
    let unweighted = files.iter().map(|file| DataFile {
        weight: None,
        ..file.clone()
    });
    let refused = refused(&unweighted.collect::<Vec<_>>());
    assert!(matches!(refused, DataError::EmptySplit { .. }), "{refused}");
}

#[test]
fn the_embedded_default_is_made_of_the_locked_dependencies_and_says_so() {
    let config = blockllm_data::DependencyDocsConfig {
        max_bytes: 200_000,
        ..blockllm_data::DependencyDocsConfig::default()
    };
    let data = InstructData::embedded(&workspace(), &config).unwrap();
    assert!(
        data.description
            .contains("generated from the documentation of the locked dependencies")
    );
    assert!(data.train[0].examples.len() > 50 && !data.validation.is_empty());
    let again = InstructData::embedded(&workspace(), &config).unwrap();
    assert_eq!(data.identity(), again.identity());
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_damaged_file_gives_examples_or_an_error_and_ends(damage in Damage::any(), is_array: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let lines = lines(12);
        let text = if is_array { format!("[{}]", lines.join(",")) } else { lines.join("\n") };
        fs::write(&path, damage.of(text.as_bytes())).unwrap();
        for reading in [SKIP, ReadingConfig::default()] {
            let files = DataFiles { train: vec![DataFile::new(&path)], ..DataFiles::default() };
            if let Ok(data) = InstructData::from_files(&files, reading) {
                let encoded = EncodedData::new(&data, FileRole::Train, &ENCODER, encoding(64));
                if let Ok(encoded) = encoded {
                    let mut batches = InstructBatches::new(Arc::new(encoded), InstructBatchConfig::default()).unwrap();
                    prop_assert_eq!(batches.next_batch().batch_size, 8);
                }
            }
        }
    }

    #[test]
    fn a_cursor_of_anything_is_refused_or_goes_on(at: Index, odd in odd_value(), numbers in prop::collection::vec(any::<u64>(), 3)) {
        let texts = ["a", "b", "c"].map(|text| json!({ "text": text }).to_string());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.jsonl");
        fs::write(&path, texts.join("\n")).unwrap();
        let files = DataFiles { train: vec![DataFile::new(&path)], validation: vec![DataFile::new(&path)], test: vec![] };
        let data = InstructData::from_files(&files, SKIP).unwrap();
        let encoded = Arc::new(EncodedData::new(&data, FileRole::Train, &ENCODER, encoding(64)).unwrap());
        let config = InstructBatchConfig::default();
        let start = InstructBatches::new(encoded.clone(), config).unwrap().cursor().clone();
        let hostile = InstructCursor { batches: numbers[0], block: numbers[1], rows: numbers[2], taken: vec![numbers[1].wrapping_mul(2048)], ..start.clone() };
        let mut json = serde_json::to_value(&start).unwrap();
        replace_one(&mut json, at, &odd);
        for cursor in [Some(hostile), serde_json::from_value(json).ok()].into_iter().flatten() {
            if let Ok(mut batches) = InstructBatches::resume(encoded.clone(), config, cursor) {
                prop_assert_eq!(batches.next_batch().batch_size, 8);
            }
        }
    }
}
