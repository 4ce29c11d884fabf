//! Tasks of lm-evaluation-harness: its very requests and tokens, from JSON lines and from the hub's parquet files.
//!
//! What the harness makes of the items is written by `tests/fixtures/harness_reference.py` in the workspace's root.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use blockllm_data::tasks::{
    Answer, AnswerFilter, ContinuationEncoder, EvalTask, RollingText, TaskData, TaskSource, before_stops,
};
use blockllm_data::{DataError, Tokenizer};
use blockllm_fuzz::{Damage, cases, odd_value, replace_one};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

static REFERENCE: LazyLock<Value> = LazyLock::new(|| {
    let text = fs::read_to_string(fixtures().join("harness_reference.json")).unwrap();
    serde_json::from_str(&text).unwrap()
});

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

fn encoder(tokenizer: &Path) -> ContinuationEncoder {
    ContinuationEncoder::new(Arc::new(Tokenizer::from_file(tokenizer).unwrap())).unwrap()
}

fn own_encoder() -> ContinuationEncoder {
    encoder(&fixtures().join("instruct/tokenizer.json"))
}

fn source(data: &Path) -> TaskSource<'_> {
    TaskSource {
        data,
        few_shot: None,
        shots: Some(0),
        limit: None,
    }
}

fn open(task: EvalTask, folder: &str, shots: usize) -> TaskData {
    let folder = fixtures().join("tasks").join(folder);
    let source = TaskSource {
        shots: Some(shots),
        ..source(&folder)
    };
    TaskData::open(task, &source).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The requests for `items` are the harness' `requests`, texts and tokens.
fn compare(data: &TaskData, items: &[usize], requests: &Value, encoder: &ContinuationEncoder) {
    let mut expected = requests.as_array().unwrap().iter();
    for &item in items {
        let found = data.request(item);
        for continuation in &found.continuations {
            let expected = expected.next().unwrap();
            assert_eq!(found.context, expected["context"], "item {item}");
            assert_eq!(*continuation, expected["continuation"], "item {item}");
            let pair = encoder.encode_pair(&found.context, continuation).unwrap();
            assert_eq!(pair.context, ids(&expected["context_ids"]), "item {item}");
            assert_eq!(
                pair.continuation,
                ids(&expected["continuation_ids"]),
                "item {item}"
            );
        }
    }
    assert!(expected.next().is_none());
}

#[test]
fn arc_and_hellaswag_are_asked_in_the_harness_words_and_tokens() {
    let encoder = own_encoder();
    let everything: Vec<usize> = (0..12).collect();
    for (task, folder) in [(EvalTask::ArcEasy, "arc"), (EvalTask::HellaSwag, "hellaswag")] {
        for shots in [0, 2] {
            let data = open(task, folder, shots);
            assert_eq!(data.items.len(), 12);
            let expected = &REFERENCE[format!("{task}:{shots}")];
            compare(&data, &everything, &expected["requests"], &encoder);
        }
    }
}

#[test]
fn mmlu_is_asked_by_subject_with_its_own_examples() {
    let encoder = own_encoder();
    for shots in [0, 2] {
        let data = open(EvalTask::Mmlu, "mmlu", shots);
        let expected = &REFERENCE[format!("mmlu:{shots}")]["subjects"];
        for (subject, part) in expected.as_object().unwrap() {
            let is_of = |item: &usize| data.items[*item].subject.as_ref() == Some(subject);
            let items: Vec<usize> = (0..data.items.len()).filter(is_of).collect();
            assert_eq!(items.len(), 4);
            compare(&data, &items, &part["requests"], &encoder);
        }
    }
}

#[test]
fn gsm8k_is_asked_and_its_answers_are_read_as_the_harness_does() {
    for shots in [0, 2] {
        let data = open(EvalTask::Gsm8k, "gsm8k", shots);
        let expected = &REFERENCE[format!("gsm8k:{shots}")];
        for index in 0..data.items.len() {
            assert_eq!(data.request(index).context, expected["contexts"][index]);
            let answer = expected["answers"][index].as_str().unwrap();
            let cut = before_stops(answer, &["<|im_end|>".to_owned()]);
            assert_eq!(cut, expected["cut"][index]);
            for filter in AnswerFilter::ALL {
                assert_eq!(filter.extract(cut), expected["filtered"][index][filter.name()]);
                let scores = &expected["answer_scores"][format!("exact_match,{}", filter.name())];
                let is_right = scores["values"][index].as_f64().unwrap() > 0.5;
                let gold = data.items[index].answer_text();
                assert_eq!(filter.is_right(cut, gold), is_right, "{cut}");
            }
        }
    }
}

#[test]
fn pairs_are_parted_as_the_harness_does_with_and_without_a_token_that_begins_texts() {
    let llama = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama_2_tokenizer.json");
    let with_bos = encoder(&llama);
    assert_eq!(with_bos.prefix().unwrap(), REFERENCE["prefix_with_bos"]);
    for (encoder, pairs) in [(own_encoder(), "pairs"), (with_bos, "pairs_with_bos")] {
        for expected in REFERENCE[pairs].as_array().unwrap() {
            let text = |name: &str| expected[name].as_str().unwrap();
            let pair = encoder
                .encode_pair(text("context"), text("continuation"))
                .unwrap();
            assert_eq!(pair.context, ids(&expected["ids"][0]), "{expected}");
            assert_eq!(pair.continuation, ids(&expected["ids"][1]), "{expected}");
        }
        let alone = encoder.encode_pair("", "A word").unwrap();
        assert_eq!(alone.context, [encoder.prefix().unwrap()]);
        assert!(!encoder.encode_pair("  ", "A").unwrap().context.is_empty());
    }
}

#[test]
fn a_text_is_parted_into_the_harness_windows() {
    let expected = &REFERENCE["rolling"];
    let text = RollingText::of_file(&fixtures().join("tasks/text.txt"), &own_encoder(), 128).unwrap();
    for (name, found) in [
        ("tokens", text.tokens),
        ("words", text.words),
        ("bytes", text.bytes),
    ] {
        assert_eq!(found, expected[name], "{name}");
    }
    let windows: Vec<[Vec<u32>; 2]> = serde_json::from_value(expected["windows"].clone()).unwrap();
    assert_eq!(text.windows.len(), windows.len());
    for (found, [context, continuation]) in text.windows.iter().zip(windows) {
        assert_eq!((&found.context, &found.continuation), (&context, &continuation));
    }
}

#[test]
fn the_hub_s_parquet_files_hold_the_same_items() {
    for (task, folder) in [
        (EvalTask::ArcEasy, "arc"),
        (EvalTask::HellaSwag, "hellaswag"),
        (EvalTask::Mmlu, "mmlu"),
        (EvalTask::Gsm8k, "gsm8k"),
    ] {
        let hub = fixtures().join("tasks-hub").join(folder);
        let hub = TaskData::open(task, &source(&hub)).unwrap();
        assert!(hub.files[0].ends_with(hub.files[0].file_name().unwrap()));
        let lines = open(task, folder, 0);
        assert_eq!(hub.items.len(), lines.items.len());
        for (index, (a, b)) in hub.items.iter().zip(&lines.items).enumerate() {
            assert_eq!((&a.subject, &a.text, &a.answer), (&b.subject, &b.text, &b.answer));
            let row = index + 1;
            assert!(a.place.ends_with(&format!(".parquet, row {row}")), "{}", a.place);
            assert!(b.place.ends_with(&format!(".jsonl, line {row}")), "{}", b.place);
        }
    }
}

#[test]
fn a_limit_counts_by_subject_and_examples_never_show_their_own_answer() {
    let folder = fixtures().join("tasks/mmlu");
    let first = TaskSource {
        limit: Some(1),
        ..source(&folder)
    };
    let subjects: Vec<Option<String>> = TaskData::open(EvalTask::Mmlu, &first)
        .unwrap()
        .items
        .into_iter()
        .map(|item| item.subject)
        .collect();
    assert_eq!(subjects.len(), 3);
    let file = fixtures().join("tasks/gsm8k/test.jsonl");
    let same = TaskSource {
        data: &file,
        few_shot: Some(&file),
        shots: Some(3),
        limit: Some(2),
    };
    let data = TaskData::open(EvalTask::Gsm8k, &same).unwrap();
    for (index, item) in data.items.iter().enumerate() {
        let context = data.request(index).context;
        assert_eq!(context.matches("Question:").count(), 4);
        assert_eq!(context.matches(&item.text).count(), 1);
        assert!(!context.contains(item.answer_text()));
    }
}

#[test]
fn examples_that_are_not_there_are_asked_for() {
    let message = |task, data: PathBuf, shots| {
        let source = TaskSource {
            shots,
            ..source(&data)
        };
        TaskData::open(task, &source).unwrap_err().to_string()
    };
    let file = fixtures().join("tasks/gsm8k/test.jsonl");
    let error = message(EvalTask::Gsm8k, file, None);
    assert!(
        error.contains("--few-shot") && error.contains("--shots 0"),
        "{error}"
    );
    let error = message(EvalTask::Mmlu, fixtures().join("tasks/mmlu"), Some(5));
    assert!(
        error.contains("5 solved examples of the subject") && error.contains("found 2"),
        "{error}"
    );
}

#[test]
fn a_bad_item_is_told_by_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.jsonl");
    let good = r#"{"question":"q","choices":{"text":["a","b"],"label":["A","B"]},"answerKey":"B"}"#;
    for (task, bad, told) in [
        (
            EvalTask::ArcEasy,
            good.replace(r#":"B"}"#, r#":"E"}"#),
            "field `answerKey`: expected one of the labels A, B",
        ),
        (
            EvalTask::ArcEasy,
            good.replace(r#"["a","b"]"#, r#"["a",7]"#),
            "field `choices.text`: expected a list",
        ),
        (
            EvalTask::ArcEasy,
            good.replace("question", "prompt"),
            "field `question`: expected a text, found nothing",
        ),
        (EvalTask::HellaSwag, good.to_owned(), "field `ctx_a`"),
        (
            EvalTask::Mmlu,
            good.to_owned(),
            "field `choices`: expected a list of at least 4 texts",
        ),
        (
            EvalTask::Gsm8k,
            r#"{"question":"q","answer":4}"#.to_owned(),
            "field `answer`: expected a text, found 4",
        ),
    ] {
        let first = if task == EvalTask::ArcEasy { good } else { "" };
        fs::write(&path, format!("{first}\n{bad}\n")).unwrap();
        let error = TaskData::open(task, &source(&path)).unwrap_err().to_string();
        assert!(
            error.contains("test.jsonl, line 2, ") && error.contains(told),
            "{error}"
        );
    }
    fs::write(&path, "\n").unwrap();
    let error = TaskData::open(EvalTask::Gsm8k, &source(&path))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            r#"test.jsonl: expected items of gsm8k, such as {"question": .., "answer": ..}, found none"#
        ),
        "{error}"
    );
    fs::write(&path, b"\xff\xfe").unwrap();
    let error = RollingText::of_file(&path, &own_encoder(), 8)
        .unwrap_err()
        .to_string();
    assert!(error.contains("text in UTF-8, found other bytes at 0"), "{error}");
}

/// Reads a file and asks about every item.
fn use_task(task: EvalTask, path: &Path) -> Result<(), DataError> {
    let data = TaskData::open(task, &source(path))?;
    for (index, item) in data.items.iter().enumerate() {
        let request = data.request(index);
        assert!(request.context.ends_with(&item.text));
        if let Answer::Choice { choices, gold } = &item.answer {
            assert!(*gold < choices.len() && choices.len() == request.continuations.len());
        }
    }
    Ok(())
}

const FILES: [(EvalTask, &str, &str); 4] = [
    (
        EvalTask::ArcChallenge,
        "arc/test.jsonl",
        "arc/ARC-Easy/test-00000-of-00001.parquet",
    ),
    (
        EvalTask::HellaSwag,
        "hellaswag/validation.jsonl",
        "hellaswag/data/validation-00000-of-00001.parquet",
    ),
    (
        EvalTask::Mmlu,
        "mmlu/test.jsonl",
        "mmlu/all/test-00000-of-00001.parquet",
    ),
    (
        EvalTask::Gsm8k,
        "gsm8k/test.jsonl",
        "gsm8k/main/test-00000-of-00001.parquet",
    ),
];

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_damaged_file_of_a_task_is_read_or_refused_by_its_name(
        which in 0..FILES.len(), is_parquet: bool, damage in Damage::any(),
    ) {
        let (task, lines, parquet) = FILES[which];
        let whole = if is_parquet { format!("tasks-hub/{parquet}") } else { format!("tasks/{lines}") };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if is_parquet { "test.parquet" } else { "test.jsonl" });
        fs::write(&path, damage.of(&fs::read(fixtures().join(whole)).unwrap())).unwrap();
        if let Err(error) = use_task(task, &path) {
            prop_assert!(error.to_string().contains("test."), "{}", error);
        }
    }

    #[test]
    fn an_item_with_anything_in_place_of_a_value_is_asked_or_refused(
        which in 0..FILES.len(), at: Index, odd in odd_value(),
    ) {
        let (task, lines, _) = FILES[which];
        let text = fs::read_to_string(fixtures().join("tasks").join(lines)).unwrap();
        let mut item: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        replace_one(&mut item, at, &odd);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.json");
        fs::write(&path, format!("[{item}]")).unwrap();
        if let Err(error) = use_task(task, &path) {
            prop_assert!(error.to_string().contains("test.json, "), "{}", error);
        }
    }

    #[test]
    fn any_text_is_compared_and_parted(text in any::<String>(), context in any::<String>(), positions in 1usize..40) {
        for filter in AnswerFilter::ALL {
            filter.is_right(&text, &context);
        }
        prop_assert!(before_stops(&text, &[]).len() <= text.len());
        let encoder = own_encoder();
        let pair = encoder.encode_pair(&context, &text).unwrap();
        prop_assert!(!pair.context.is_empty());
        let rolling = RollingText::new(&text, &encoder, positions).unwrap();
        let predicted: usize = rolling.windows.iter().map(|window| window.continuation.len()).sum();
        prop_assert_eq!(predicted, rolling.tokens);
        prop_assert!(rolling.windows.iter().all(|window| window.context.len() + window.continuation.len() <= positions + 1));
    }
}
