//! Documents that cannot be read: the run stops, or leaves them out and counts them, in its records and in the report.
use super::complete_run::curve;
use super::fixtures::{FIRST_SHARD, lines, save_tokenizer, texts, write_gzip};
use super::folders::{report_in, runs_in};
use super::process::{refuse, succeed, text};
use super::promises::Place;
use blockllm::train::{Record, RunFolder, RunResult};
use std::fs;

const WORDS: &str = "c4 --methods adamw --steps 2";

/// A place whose first shard has three bad lines, whose second one ends in its middle, and whose validation shard has a bad
/// line; and one with the documents that are left.
fn bad_and_good() -> (Place, Place) {
    let (bad, good) = (Place::new(), Place::new());
    let texts = texts(330);
    let bad_lines = "not json\n{\"content\": \"x\"}\n[]\n";
    let of = |range: std::ops::Range<usize>| lines(&texts[range]);
    let mixed = format!("{}{bad_lines}{}", of(0..70), of(70..150));
    write_gzip(&bad.data.path().join(FIRST_SHARD), &mixed);
    let second = "c4-train.00001-of-00002.json.gz";
    let torn = fs::read(bad.data.path().join(second)).unwrap();
    fs::write(bad.data.path().join(second), &torn[..torn.len() / 2]).unwrap();
    let validation = "c4-validation.00000-of-00001.json.gz";
    write_gzip(
        &bad.data.path().join(validation),
        &format!("{{}}\n{}", of(300..330)),
    );
    // What can be read of the torn shard: whole lines, as many as there are.
    let read = blockllm::data::Corpus::from_path(bad.data.path())
        .unwrap()
        .with_reading(blockllm::data::ReadingConfig {
            bad_documents: blockllm::data::BadDocuments::Skip,
            ..blockllm::data::ReadingConfig::default()
        })
        .train_documents()
        .count();
    assert!((151..300).contains(&read), "{read}");
    write_gzip(&good.data.path().join(second), &of(150..read));
    (bad, good)
}

#[test]
fn bad_documents_are_left_out_where_that_is_asked_for_and_counted_in_records_and_report() {
    let (bad, good) = bad_and_good();
    let tokenizers = tempfile::tempdir().unwrap();
    let tokenizer = save_tokenizer(tokenizers.path());
    let words = |place: &Place, words: &str| -> Vec<String> {
        let given = place.arguments(words).into_iter().map(str::to_owned);
        given
            .chain(["--tokenizer".to_owned(), text(&tokenizer).to_owned()])
            .collect()
    };
    let stop = words(&bad, WORDS);
    let stop: Vec<&str> = stop.iter().map(String::as_str).collect();
    refuse(&stop, &["c4-validation", "line 1"]);

    let skip = words(&bad, &format!("{WORDS} --bad-documents skip"));
    let ended = succeed(skip.iter().map(String::as_str));
    for part in [
        "1 document and 0 shards left out of the validation documents",
        "3 documents and 1 shard left out, being broken",
    ] {
        assert!(ended.stderr.contains(part), "`{part}`: {}", ended.stderr);
    }
    let run = bad.run();
    let result: RunResult =
        serde_json::from_str(&fs::read_to_string(run.join("result.json")).unwrap()).unwrap();
    assert_eq!((result.left_out.documents, result.left_out.shards), (3, 1));
    let records = RunFolder::new(&run).records().unwrap();
    let told: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::LeftOut(left_out) => Some((left_out.step, left_out.documents, left_out.shards)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(1, 3, 1)]);
    let report = report_in(bad.out.path(), "c4");
    for file in ["report.md", "report.html"] {
        let page = fs::read_to_string(report.join(file)).unwrap();
        for part in [
            "Bad documents were left out",
            "3 documents and 1 shard in the run",
            "1 document and 0 shards among the validation documents",
        ] {
            assert!(page.contains(part), "`{part}` is not in {file}: {page}");
        }
    }

    // The same batches as where they never were, and nothing told there.
    let good_words = words(&good, WORDS);
    let ended = succeed(good_words.iter().map(String::as_str));
    assert!(!ended.stderr.contains("left out"), "{}", ended.stderr);
    let expected = RunFolder::new(good.run()).records().unwrap();
    assert_eq!(curve(&records), curve(&expected));
    let page = fs::read_to_string(report_in(good.out.path(), "c4").join("report.md")).unwrap();
    assert!(!page.contains("left out"), "{page}");
}

#[test]
fn a_run_that_a_bad_document_has_stopped_goes_on_in_its_folder_and_is_told_ever_after() {
    let place = Place::new();
    let tokenizers = tempfile::tempdir().unwrap();
    let tokenizer = save_tokenizer(tokenizers.path());
    let mixed = format!("{}[]\n", lines(&texts(150)));
    write_gzip(&place.data.path().join(FIRST_SHARD), &mixed);
    let mut words = place.arguments(WORDS);
    words.extend(["--tokenizer", text(&tokenizer)]);
    refuse(&words, &["line 151"]);
    let stopped = runs_in(&place.c4(), "adamw-0");
    assert_eq!(stopped.len(), 1);
    let skip: Vec<&str> = words.iter().copied().chain(["--bad-documents", "skip"]).collect();
    succeed(skip);
    assert_eq!(runs_in(&place.c4(), "adamw-0"), stopped, "it is the same run");
    let ended = succeed(words);
    assert!(
        ended.stderr.contains("complete, not run again")
            && ended.stderr.contains("1 document and 0 shards left out"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_answer_that_is_none_and_experiments_without_documents_are_refused() {
    refuse(
        &["c4", "--bad-documents", "ignore"],
        &["--bad-documents", "neither stop nor skip"],
    );
    refuse(&["glue", "--bad-documents", "skip"], &["over all rows"]);
    refuse(&["memory", "--bad-documents", "skip"], &["reads no documents"]);
}
