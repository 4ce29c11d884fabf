//! Lanes of packed training: each row of a batch goes on where it ended, and resumes there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

use blockllm_data::{
    BatchStream, Corpus, Cursor, DataError, DocumentPlace, DocumentStream, Layout, LmBatch, LoaderConfig,
    Tokenizer, UnfinishedDocument, validation_batches,
};
use proptest::prelude::*;
use proptest::sample::Index;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(crate::fixtures::tokenizer()));

/// Documents of the given numbers of words; each begins with its own number.
fn corpus(words: &[usize]) -> Corpus {
    let text = |(i, &words): (usize, &usize)| match words {
        0 => String::new(),
        _ => format!("{i}{}", " sparse memory".repeat(words)),
    };
    let texts = words.iter().enumerate().map(text).collect();
    Corpus::from_documents("lanes", texts, vec!["held out".to_owned()])
}

fn config(batch_size: usize, seq_len: usize) -> LoaderConfig {
    LoaderConfig {
        batch_size,
        seq_len,
        layout: Layout::Packed,
        shuffle_buffer: 5,
        seed: 3,
        threads: 1,
        ..LoaderConfig::default()
    }
}

fn stream(corpus: &Corpus, config: &LoaderConfig) -> BatchStream {
    BatchStream::new(corpus.clone(), TOKENIZER.clone(), config.clone()).unwrap()
}

fn resume(corpus: &Corpus, config: &LoaderConfig, cursor: Cursor) -> Result<BatchStream, DataError> {
    BatchStream::resume(corpus.clone(), TOKENIZER.clone(), config.clone(), cursor)
}

/// The batches of a stream, and the cursors before and after each, to the end of `epochs` or `most` batches.
fn run(mut stream: BatchStream, epochs: u64, most: usize) -> (Vec<LmBatch>, Vec<Cursor>) {
    let (mut batches, mut cursors) = (Vec::new(), vec![stream.cursor().clone()]);
    while stream.cursor().next.epoch < epochs && batches.len() < most {
        batches.push(stream.next_batch().unwrap());
        cursors.push(stream.cursor().clone());
    }
    (batches, cursors)
}

/// Resumes after batch `at`, through JSON, and compares the next `count` batches and cursors.
fn check_resumed(
    corpus: &Corpus,
    config: &LoaderConfig,
    (batches, cursors): &(Vec<LmBatch>, Vec<Cursor>),
    (at, count): (usize, usize),
) {
    let json = serde_json::to_string(&cursors[at]).unwrap();
    let mut resumed = resume(corpus, config, serde_json::from_str(&json).unwrap()).unwrap();
    assert_eq!(resumed.cursor(), &cursors[at]);
    for (after, expected) in batches.iter().enumerate().skip(at).take(count) {
        assert_eq!(
            &resumed.next_batch().unwrap(),
            expected,
            "resumed after {at} batches, batch {after}"
        );
        assert_eq!(resumed.cursor(), &cursors[after + 1]);
    }
}

/// What each lane of the batches has read, end to end.
fn lanes(batches: &[LmBatch]) -> Vec<Vec<i32>> {
    let mut lanes = vec![Vec::new(); batches[0].batch_size];
    for batch in batches {
        for (lane, row) in lanes.iter_mut().zip(batch.input_ids.chunks(batch.seq_len)) {
            lane.extend_from_slice(row);
        }
    }
    lanes
}

/// The texts that a lane has read, the last of them perhaps not to its end.
fn texts(lane: &[i32]) -> Vec<String> {
    let eos = TOKENIZER.eos_id().unwrap() as i32;
    let documents = lane.split_inclusive(|&id| id == eos);
    let ids = documents.map(|ids| ids.iter().filter(|&&id| id != eos).map(|&id| id as u32));
    ids.map(|ids| TOKENIZER.decode(&ids.collect::<Vec<_>>()).unwrap())
        .collect()
}

/// Numbers of words of up to 24 documents, some of them long or empty, not all of them empty.
fn documents() -> impl Strategy<Value = Vec<usize>> {
    let words = prop_oneof![1 => Just(0), 5 => 1usize..8, 1 => 20usize..60];
    let documents = prop::collection::vec(words, 1..24);
    documents.prop_filter("one has words", |words| words.iter().any(|&words| words > 0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn lanes_are_the_one_stream_of_documents_dealt_to_each_row_as_it_runs_out(
        words in documents(), batch_size in 1usize..6, seq_len in 2usize..24,
    ) {
        let (corpus, config) = (corpus(&words), config(batch_size, seq_len));
        let mut documents = DocumentStream::new(corpus.clone(), config.shuffle_buffer, config.seed);
        let mut expected = vec![VecDeque::new(); batch_size];
        for batch in run(stream(&corpus, &config), 3, 100).0 {
            for (row, lane) in batch.input_ids.chunks(seq_len).zip(&mut expected) {
                while lane.len() < seq_len {
                    let document = documents.next_document().unwrap();
                    if !document.text.is_empty() {
                        lane.extend(TOKENIZER.encode(&document.text).unwrap());
                        lane.push_back(TOKENIZER.eos_id().unwrap());
                    }
                }
                prop_assert!(lane.drain(..seq_len).eq(row.iter().map(|&id| id as u32)));
            }
        }
    }

    #[test]
    fn a_stream_resumed_anywhere_gives_what_a_never_stopped_one_gives(
        words in documents(), batch_size in 1usize..6, seq_len in 2usize..24, at: [Index; 4],
    ) {
        let (corpus, config) = (corpus(&words), config(batch_size, seq_len));
        let whole = run(stream(&corpus, &config), 4, 150);
        for at in at {
            check_resumed(&corpus, &config, &whole, (at.index(whole.1.len()), usize::MAX));
        }
    }
}

#[test]
fn every_epoch_starts_every_document_once_and_every_document_is_read_to_its_end() {
    let words: Vec<usize> = (0..40).map(|i| 1 + i * 7 % 23).collect();
    let corpus = corpus(&words);
    let (batches, cursors) = run(stream(&corpus, &config(4, 16)), 3, usize::MAX);
    let end = cursors.last().unwrap();
    let mut started = BTreeMap::<String, u64>::new();
    let mut unfinished = 0;
    for lane in lanes(&batches) {
        for text in texts(&lane) {
            let (number, rest) = text.split_once(' ').unwrap_or((&text, ""));
            let whole = " sparse memory".repeat(words[number.parse::<usize>().unwrap()]);
            assert!(whole[1..].starts_with(rest));
            unfinished += usize::from(whole[1..] != *rest);
            *started.entry(number.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(started.len(), 40);
    assert!(started.values().all(|times| (3..=4).contains(times)));
    assert_eq!(started.values().sum::<u64>(), 3 * 40 + end.next.document);
    assert!(unfinished <= end.unfinished.len());
}

#[test]
fn a_batch_mixes_as_many_documents_as_it_has_rows_and_each_row_goes_on_in_its_own() {
    let corpus = corpus(&[100; 16]);
    let (batches, cursors) = run(stream(&corpus, &config(8, 16)), 1, 10);
    for cursor in &cursors[1..] {
        let rows: Vec<usize> = cursor
            .unfinished
            .iter()
            .map(|unfinished| unfinished.row)
            .collect();
        assert_eq!(rows, (0..8).collect::<Vec<_>>());
        let documents: BTreeSet<_> = cursor.unfinished.iter().map(|place| place.document).collect();
        assert_eq!(documents.len(), 8);
        assert_eq!(cursor.next.document, 8);
    }
    let first: BTreeSet<String> = lanes(&batches).iter().flat_map(|lane| texts(lane)).collect();
    assert_eq!(first.len(), 8);
}

#[test]
fn every_batch_of_short_and_of_long_documents_can_be_resumed_across_epochs() {
    let mixed: Vec<usize> = (0..30).map(|i| i * 11 % 37).collect();
    let long = [90, 120, 3, 200, 75];
    for (words, batch_size) in [(&mixed[..], 1), (&mixed, 3), (&long, 1), (&long, 4), (&long, 9)] {
        let (corpus, config) = (corpus(words), config(batch_size, 12));
        let whole = run(stream(&corpus, &config), 3, usize::MAX);
        for at in 0..whole.1.len() {
            check_resumed(&corpus, &config, &whole, (at, 4));
        }
    }
}

#[test]
fn a_lane_may_stay_epochs_behind_in_a_giant_document_and_is_resumed_there() {
    let mut words = [1; 12];
    words[4] = 900;
    let (corpus, config) = (corpus(&words), config(3, 8));
    let whole = run(stream(&corpus, &config), 6, usize::MAX);
    let cursors = &whole.1;
    // A row that reads eight tokens of one document a batch is still in it.
    let is_behind = |at: usize, one: &UnfinishedDocument| {
        cursors[..at].iter().enumerate().any(|(before, earlier)| {
            let same = |other: &UnfinishedDocument| {
                (other.row, other.document) == (one.row, one.document)
                    && other.token_offset + 8 * (at - before) as u64 == one.token_offset
            };
            earlier.next.epoch + 2 <= cursors[at].next.epoch && earlier.unfinished.iter().any(same)
        })
    };
    let behind = (0..cursors.len()).filter(|&at| cursors[at].unfinished.iter().any(|one| is_behind(at, one)));
    assert!(behind.count() > 3);
    for at in 0..whole.1.len() {
        check_resumed(&corpus, &config, &whole, (at, 3));
    }
}

#[test]
fn a_cursor_to_a_place_that_the_run_does_not_have_is_refused() {
    let (corpus, config) = (corpus(&[20; 6]), config(2, 8));
    let cursor = run(stream(&corpus, &config), 1, 2).1.pop().unwrap();
    let refused = |change: &dyn Fn(&mut Cursor, &mut UnfinishedDocument), named: &str| {
        let mut changed = cursor.clone();
        let mut unfinished = changed.unfinished[0];
        change(&mut changed, &mut unfinished);
        changed.unfinished[0] = unfinished;
        let error = resume(&corpus, &config, changed).err().unwrap();
        assert!(matches!(error, DataError::CursorPlace { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    };
    refused(&|_, unfinished| unfinished.row = 2, "row 2");
    for offset in [500, u64::MAX] {
        refused(
            &|_, unfinished| unfinished.token_offset = offset,
            &format!("token {offset}"),
        );
    }
    refused(
        &|_, unfinished| unfinished.document.index = 7,
        "document 7 of shard 0",
    );
    refused(&|_, unfinished| unfinished.document.shard = 9, "of shard 9");
    let beyond = DocumentPlace {
        taken: 7,
        ..cursor.next
    };
    refused(
        &|cursor, _| cursor.next = beyond,
        "document 7 of block 0 of epoch 0",
    );
    let json = serde_json::to_string(&cursor).unwrap();
    for place in ["{\"batches\"", "{\"row\"", "{\"epoch\""] {
        let json = json.replacen(place, &place.replace('{', "{\"other\":0,"), 1);
        assert!(serde_json::from_str::<Cursor>(&json).is_err(), "{json}");
    }
}

#[test]
fn packed_validation_rows_are_the_documents_end_to_end_for_every_batch_size() {
    let texts: Vec<String> = (0..9)
        .map(|i| format!("{i}{}", " block descent".repeat(i * 5)))
        .collect();
    let corpus = Corpus::from_documents("validation", vec!["train".to_owned()], texts.clone());
    let mut expected = Vec::new();
    for text in &texts {
        expected.extend(TOKENIZER.encode(text).unwrap().iter().map(|&id| id as i32));
        expected.push(TOKENIZER.eos_id().unwrap() as i32);
    }
    expected.resize(
        expected.len().next_multiple_of(8),
        TOKENIZER.pad_id().unwrap() as i32,
    );
    for batch_size in [1, 3, 100] {
        let batches = validation_batches(&corpus, &TOKENIZER, &config(batch_size, 8), usize::MAX).unwrap();
        let rows: Vec<i32> = batches.iter().flat_map(|batch| batch.input_ids.clone()).collect();
        assert_eq!(rows, expected, "{batch_size} rows a batch");
    }
}
