//! Pairs as token ids and batches of them; the hub's parquet files; the generated stand-in.
use blockllm_data::Tokenizer;
use blockllm_data::glue::{
    ClassificationBatch, EncodedExample, EncodedExamples, EpochBatches, EpochConfig, GlueData, GlueExample,
    GlueLabel, GlueTask, PairEncoder, evaluation_batches,
};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

fn tokenizer() -> Tokenizer {
    let text = "the sailors rode the breeze clear of the rocks ".repeat(20);
    Tokenizer::train_byte_level_bpe([text], 300)
        .unwrap()
        .with_separators()
        .unwrap()
}

fn pair(sentence: &str, pair: &str) -> GlueExample {
    GlueExample {
        sentence: sentence.into(),
        pair: Some(pair.into()),
        label: Some(GlueLabel::Class(1)),
        index: 0,
    }
}

/// An example of `length` tokens, the first of which is `number`.
fn numbered(number: i32, length: usize) -> EncodedExample {
    EncodedExample {
        input_ids: std::iter::once(number)
            .chain(std::iter::repeat_n(7, length - 1))
            .collect(),
        token_type_ids: vec![0; length],
        label: Some(GlueLabel::Class(0)),
    }
}

fn set() -> Arc<EncodedExamples> {
    Arc::new(EncodedExamples::new(
        (0..23)
            .map(|number| numbered(number, 1 + (number as usize * 7) % 13))
            .collect(),
    ))
}

fn config(shuffle: bool, bucketing: bool) -> EpochConfig {
    EpochConfig {
        batch_size: 4,
        shuffle,
        bucketing,
        seed: 3,
        pad_id: 0,
    }
}

/// The cases of `fixtures/pair_encoding_reference.py`.
#[derive(Deserialize)]
struct Encoded {
    tokenizer: String,
    max_length: usize,
    sentence: String,
    pair: Option<String>,
    input_ids: Vec<i32>,
    token_type_ids: Vec<i32>,
}

#[test]
fn sentences_and_pairs_are_put_and_cut_as_transformers_does_for_bert_and_roberta() {
    let cases: Vec<Encoded> =
        serde_json::from_str(include_str!("../fixtures/pair_encoding_reference.json")).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for case in cases {
        let encoder = PairEncoder::from_file(&folder.join(&case.tokenizer), case.max_length).unwrap();
        let example = GlueExample {
            sentence: case.sentence,
            pair: case.pair,
            label: None,
            index: 0,
        };
        let found = encoder.encode(&example).unwrap();
        assert_eq!(
            (found.input_ids, found.token_type_ids),
            (case.input_ids, case.token_type_ids),
            "{} at {}: {example:?}",
            case.tokenizer,
            case.max_length
        );
    }
}

#[test]
fn a_pair_has_separators_and_two_types() {
    let tokenizer = tokenizer();
    let end = tokenizer.eos_id().unwrap() as i32;
    let encoder = PairEncoder::new(tokenizer.clone(), 64).unwrap();
    let encoded = encoder.encode(&pair("the rocks", "the breeze")).unwrap();
    let (first, second) = (
        tokenizer.encode("the rocks").unwrap().len(),
        tokenizer.encode("the breeze").unwrap().len(),
    );
    assert_eq!(encoded.input_ids.len(), first + second + 3);
    let ends: Vec<_> = (0..encoded.input_ids.len())
        .filter(|place| encoded.input_ids[*place] == end)
        .collect();
    assert_eq!(ends, [0, first + 1, first + second + 2]);
    let types: Vec<_> = [vec![0; first + 2], vec![1; second + 1]].concat();
    assert_eq!(encoded.token_type_ids, types);
}

#[test]
fn saving_and_reading_a_tokenizer_keeps_its_form() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    tokenizer().save(&path).unwrap();
    let read = PairEncoder::from_file(&path, 64).unwrap();
    let example = pair("the rocks", "the breeze");
    let made = PairEncoder::new(tokenizer(), 64).unwrap();
    assert_eq!(read.encode(&example).unwrap(), made.encode(&example).unwrap());
}

#[test]
fn the_longer_of_a_pair_is_cut_first() {
    let encoder = PairEncoder::new(tokenizer(), 12).unwrap();
    let long = "the sailors rode the breeze clear of the rocks ".repeat(4);
    let encoded = encoder.encode(&pair(&long, "the rocks")).unwrap();
    let whole = PairEncoder::new(tokenizer(), 64)
        .unwrap()
        .encode(&pair("", "the rocks"))
        .unwrap();
    assert_eq!(encoded.input_ids.len(), 12);
    let tail = whole.input_ids.len() - 1;
    assert_eq!(
        encoded.input_ids[12 - tail..],
        whole.input_ids[1..],
        "the short one stays whole"
    );
}

#[test]
fn a_length_without_room_is_refused() {
    let error = PairEncoder::new(tokenizer(), 4).unwrap_err().to_string();
    assert!(error.contains("max_length") && error.contains('4'), "{error}");
}

#[test]
fn rows_are_padded_to_the_longest_of_their_batch() {
    let examples = [numbered(5, 2), numbered(6, 4)];
    let batch = ClassificationBatch::of(&examples, &[0, 1], 9);
    assert_eq!((batch.batch_size, batch.seq_len), (2, 4));
    assert_eq!(batch.input_ids, [5, 7, 9, 9, 6, 7, 7, 7]);
    assert_eq!(batch.attention_mask, [1, 1, 0, 0, 1, 1, 1, 1]);
    assert_eq!((batch.tokens(), batch.labels.len()), (6, 2));
}

#[test]
fn every_epoch_gives_every_row_once_in_an_order_of_its_own() {
    for bucketing in [false, true] {
        let mut batches = EpochBatches::new(set(), config(true, bucketing)).unwrap();
        assert_eq!(batches.batches_per_epoch(), 6);
        let mut epoch = || -> Vec<usize> { (0..6).flat_map(|_| batches.next_batch().rows).collect() };
        let (first, second) = (epoch(), epoch());
        assert_ne!(first, second);
        for mut rows in [first, second] {
            rows.sort_unstable();
            assert_eq!(rows, (0..23).collect::<Vec<_>>());
        }
    }
}

#[test]
fn without_shuffling_rows_come_as_they_stand() {
    let mut batches = EpochBatches::new(set(), config(false, false)).unwrap();
    assert_eq!(batches.next_batch().rows, [0, 1, 2, 3]);
}

#[test]
fn bucketing_pads_less() {
    let padded = |bucketing| {
        let mut batches = EpochBatches::new(set(), config(true, bucketing)).unwrap();
        (0..6)
            .map(|_| batches.next_batch())
            .map(|batch| (batch.batch_size * batch.seq_len) as u64 - batch.tokens())
            .sum::<u64>()
    };
    assert!(
        2 * padded(true) < padded(false),
        "{} {}",
        padded(true),
        padded(false)
    );
}

#[test]
fn a_cursor_goes_on_where_it_was_and_fits_nothing_else() {
    for taken in [0, 5, 6, 7, 12] {
        let mut whole = EpochBatches::new(set(), config(true, true)).unwrap();
        for _ in 0..taken {
            whole.next_batch();
        }
        let mut resumed = EpochBatches::resume(set(), config(true, true), whole.cursor()).unwrap();
        for _ in 0..9 {
            assert_eq!(whole.next_batch(), resumed.next_batch(), "{taken}");
        }
        assert!(EpochBatches::resume(set(), config(true, false), whole.cursor()).is_err());
    }
}

#[test]
fn evaluation_takes_every_row_once() {
    let mut rows: Vec<usize> = evaluation_batches(&set(), 5, 0)
        .iter()
        .flat_map(|batch| batch.rows.clone())
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..23).collect::<Vec<_>>());
}

#[test]
fn the_stand_in_has_the_form_of_its_task() {
    for task in GlueTask::ALL {
        let data = GlueData::generated(task, 0);
        assert_eq!(data, GlueData::generated(task, 0), "the same for the same seed");
        for example in data.train.iter().chain(&data.validation) {
            assert_eq!(example.pair.is_some(), task.is_pair());
            match example.label.unwrap() {
                GlueLabel::Class(class) => assert!(class < task.labels().len()),
                GlueLabel::Score(score) => assert!(task.is_regression() && (0.0..=5.0).contains(&score)),
            }
        }
        assert!(
            data.test(false)
                .unwrap()
                .iter()
                .all(|example| example.label.is_none())
        );
    }
}

/// Writes `texts` (two columns) and labels as the hub does.
fn write_parquet(path: &Path, columns: [&str; 2], texts: &[[&str; 2]], labels: Labels) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let kind = match labels {
        Labels::Classes(_) => "int64",
        Labels::Scores(_) => "float",
    };
    let schema = format!(
        "message schema {{ optional binary {} (UTF8); optional binary {} (UTF8); required {kind} label; }}",
        columns[0], columns[1]
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let present = vec![1; texts.len()];
    for column in 0..2 {
        let values: Vec<ByteArray> = texts.iter().map(|row| row[column].into()).collect();
        let mut out = group.next_column().unwrap().unwrap();
        out.typed::<ByteArrayType>()
            .write_batch(&values, Some(&present), None)
            .unwrap();
        out.close().unwrap();
    }
    let mut out = group.next_column().unwrap().unwrap();
    match labels {
        Labels::Classes(classes) => out.typed::<Int64Type>().write_batch(classes, None, None),
        Labels::Scores(scores) => out.typed::<FloatType>().write_batch(scores, None, None),
    }
    .unwrap();
    out.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[derive(Clone, Copy)]
enum Labels<'a> {
    Classes(&'a [i64]),
    Scores(&'a [f32]),
}

#[test]
fn the_hubs_parquet_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let texts = [["A \"quote.", "B"], ["C", "D\tE"]];
    let columns = ["premise", "hypothesis"];
    for split in ["train", "validation_matched", "validation_mismatched"] {
        let path = file(&format!("mnli/{split}-00000-of-00001.parquet"));
        write_parquet(&path, columns, &texts, Labels::Classes(&[2, 0]));
    }
    write_parquet(
        &file("mnli/test_matched-00000-of-00001.parquet"),
        columns,
        &texts,
        Labels::Classes(&[-1, -1]),
    );
    assert_eq!(GlueData::available(dir.path()), [GlueTask::Mnli]);
    let data = GlueData::open(dir.path(), GlueTask::Mnli).unwrap();
    assert_eq!(data.train[0].label, Some(GlueLabel::Class(2)));
    assert_eq!(data.train[1].pair.as_deref(), Some("D\tE"));
    let test = data.test(false).unwrap();
    assert_eq!((data.validation_mismatched.len(), test.len()), (2, 2));
    assert_eq!(test[0].label, None);

    for split in ["train", "validation"] {
        let path = file(&format!("stsb/{split}-00000-of-00001.parquet"));
        write_parquet(
            &path,
            ["sentence1", "sentence2"],
            &texts,
            Labels::Scores(&[2.5, 5.0]),
        );
    }
    let data = GlueData::open(dir.path(), GlueTask::StsB).unwrap();
    assert_eq!(data.validation[0].label, Some(GlueLabel::Score(2.5)));
}

#[test]
fn broken_parquet_files_are_told_with_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let texts = [["A", "B"]];
    let train = dir.path().join("rte/train-00000-of-00001.parquet");
    let validation = dir.path().join("rte/validation-00000-of-00001.parquet");
    let refusal = || GlueData::open(dir.path(), GlueTask::Rte).unwrap_err().to_string();

    write_parquet(&train, ["sentence1", "sentence2"], &texts, Labels::Classes(&[2]));
    let error = refusal();
    for part in ["train-00000-of-00001.parquet", "line 1", "entailment", "found 2"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    write_parquet(&train, ["sentence1", "other"], &texts, Labels::Classes(&[1]));
    let error = refusal();
    assert!(
        error.contains("`sentence2`") && error.contains("other"),
        "{error}"
    );

    write_parquet(&train, ["sentence1", "sentence2"], &texts, Labels::Classes(&[1]));
    std::fs::write(&validation, "no parquet").unwrap();
    let error = refusal();
    assert!(error.contains("validation-00000-of-00001.parquet"), "{error}");
}
