//! Scores beside lm-evaluation-harness' own: log-likelihoods, accuracies and their errors, perplexities, generated answers.
//!
//! The numbers are made by `tests/fixtures/harness_reference.py` with the harness' own functions on the same small model.
use blockllm::data::tasks::{ContinuationEncoder, EvalTask, PairTokens, RollingText, TaskData, TaskSource};
use blockllm::model::llama::GenerateConfig;
use blockllm::train::scoring::{ItemResult, Metric, Outcome, Perplexity, Scorer, TaskRun, TaskScores};
use blockllm::train::{PretrainedLm, TrainError, WeightType};
use burn::tensor::Device;
use serde_json::Value;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static REFERENCE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../fixtures/harness_reference.json")).unwrap());

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ]
}

fn data(task: EvalTask, folder: &str, shots: usize) -> TaskData {
    let folder = fixtures().join("tasks").join(folder);
    let source = TaskSource {
        data: &folder,
        few_shot: None,
        shots: Some(shots),
        limit: None,
    };
    TaskData::open(task, &source).unwrap()
}

/// Runs a task with the small model.
fn run(data: &TaskData, device: &Device, batch: usize) -> Result<Vec<ItemResult>, TrainError> {
    let pretrained = PretrainedLm::open(&fixtures().join("instruct"), None).unwrap();
    let model = pretrained.load(WeightType::F32, device).unwrap();
    let scorer = Scorer::new(&model, device, batch);
    let encoder = ContinuationEncoder::new(pretrained.tokenizer().clone()).unwrap();
    let run = TaskRun {
        data,
        scorer: &scorer,
        encoder: &encoder,
        max_new_tokens: 40,
        ends: &pretrained.generation().unwrap().eos_token_id,
    };
    let done = Cell::new(0);
    let results = run.run(&|count| done.set(done.get() + count))?;
    assert_eq!(done.get(), run.requests());
    Ok(results)
}

fn close(found: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    let bound = tolerance * expected.abs().max(1.0);
    assert!((found - expected).abs() <= bound, "{found} is not {expected}");
}

/// Log-likelihoods, item by item in the order of `requests`; gives the largest relative difference.
fn compare_likelihoods<'a>(results: impl Iterator<Item = &'a ItemResult>, requests: &Value) -> f64 {
    let mut expected = requests.as_array().unwrap().iter();
    let mut largest = 0.0_f64;
    for result in results {
        let Outcome::Choice(chosen) = &result.outcome else {
            panic!("{} has choices", result.place);
        };
        for found in &chosen.likelihoods {
            let expected = expected.next().unwrap();
            close(found.log_likelihood, &expected["log_likelihood"], 1e-5);
            assert_eq!(found.is_greedy, expected["is_greedy"]);
            let reference = expected["log_likelihood"].as_f64().unwrap();
            largest = largest.max(((found.log_likelihood - reference) / reference).abs());
        }
    }
    assert!(expected.next().is_none());
    largest
}

fn compare_metric(found: &Metric, expected: &Value) {
    assert_eq!(found.count, 12);
    close(found.value, &expected["value"], 1e-12);
    close(found.standard_error.unwrap(), &expected["stderr"], 1e-12);
}

#[test]
fn arc_and_hellaswag_have_the_harness_likelihoods_and_scores_in_any_batch() {
    for device in devices() {
        for (task, folder) in [(EvalTask::ArcEasy, "arc"), (EvalTask::HellaSwag, "hellaswag")] {
            for (shots, batch) in [(0, 1), (0, 7), (2, 4)] {
                let results = run(&data(task, folder, shots), &device, batch).unwrap();
                let expected = &REFERENCE[format!("{task}:{shots}")];
                let largest = compare_likelihoods(results.iter(), &expected["requests"]);
                println!("{task}, {shots} examples, {device:?}: {largest:.1e}");
                let scores = TaskScores::new(task, &results);
                assert!(scores.subjects.is_empty());
                for (metric, name) in scores.overall.iter().zip(["acc", "acc_norm"]) {
                    assert_eq!(metric.name, name);
                    compare_metric(metric, &expected["scores"][format!("{name},none")]);
                }
            }
        }
    }
}

#[test]
fn mmlu_has_the_harness_scores_of_every_subject_and_of_the_group() {
    for shots in [0, 2] {
        let results = run(&data(EvalTask::Mmlu, "mmlu", shots), &Device::flex(), 5).unwrap();
        let expected = &REFERENCE[format!("mmlu:{shots}")];
        let scores = TaskScores::new(EvalTask::Mmlu, &results);
        for (subject, part) in expected["subjects"].as_object().unwrap() {
            let of_subject = results
                .iter()
                .filter(|result| result.subject.as_ref() == Some(subject));
            compare_likelihoods(of_subject, &part["requests"]);
            let [acc] = scores.subjects[subject].as_slice() else {
                panic!("mmlu has one metric");
            };
            close(acc.value, &part["scores"]["acc,none"]["value"], 1e-12);
            close(
                acc.standard_error.unwrap(),
                &part["scores"]["acc,none"]["stderr"],
                1e-12,
            );
        }
        close(scores.overall[0].value, &expected["acc"], 1e-12);
        close(
            scores.overall[0].standard_error.unwrap(),
            &expected["stderr"],
            1e-12,
        );
    }
}

#[test]
fn answers_to_gsm8k_are_generated_and_scored_as_the_harness_does() {
    for (shots, batch) in [(0, 1), (0, 5), (2, 12)] {
        let results = run(&data(EvalTask::Gsm8k, "gsm8k", shots), &Device::flex(), batch).unwrap();
        let expected = &REFERENCE[format!("gsm8k:{shots}")];
        for (result, text) in results.iter().zip(expected["texts"].as_array().unwrap()) {
            let Outcome::Text { generated, .. } = &result.outcome else {
                panic!("{} is answered in words", result.place);
            };
            assert_eq!(generated, text.as_str().unwrap(), "{}", result.place);
        }
        for metric in &TaskScores::new(EvalTask::Gsm8k, &results).overall {
            compare_metric(metric, &expected["scores"][&metric.name]);
        }
    }
}

#[test]
fn a_text_longer_than_the_positions_has_the_harness_perplexities() {
    for device in devices() {
        let pretrained = PretrainedLm::open(&fixtures().join("instruct"), None).unwrap();
        let model = pretrained.load(WeightType::F32, &device).unwrap();
        let scorer = Scorer::new(&model, &device, 3);
        let encoder = ContinuationEncoder::new(pretrained.tokenizer().clone()).unwrap();
        let file = fixtures().join("tasks/text.txt");
        let text = RollingText::of_file(&file, &encoder, scorer.positions()).unwrap();
        let found = Perplexity::measure(&scorer, &text, &|_| {}).unwrap();
        let expected = &REFERENCE["rolling"];
        close(found.log_likelihood, &expected["log_likelihood"], 1e-6);
        close(found.per_token(), &expected["token_perplexity"], 1e-5);
        // An exponent of 28 makes much of the last digits.
        close(found.per_word(), &expected["word_perplexity"], 1e-4);
        close(found.per_byte(), &expected["byte_perplexity"], 1e-5);
        close(found.bits_per_byte(), &expected["bits_per_byte"], 1e-6);
    }
}

#[test]
fn a_continuation_is_greedy_when_each_of_its_tokens_is_the_likeliest() {
    let pretrained = PretrainedLm::open(&fixtures().join("instruct"), None).unwrap();
    let device = Device::flex();
    let model = pretrained.load(WeightType::F32, &device).unwrap();
    let context = pretrained.tokenizer().encode("The harbour").unwrap();
    let text = model.generate(&context, &GenerateConfig::greedy(6)).unwrap();
    let pair = |change: u32| {
        let mut continuation = text[context.len()..].to_vec();
        continuation[2] ^= change;
        PairTokens {
            context: context.clone(),
            continuation,
        }
    };
    let scorer = Scorer::new(&model, &device, 2);
    let found = scorer.score(&[pair(0), pair(1)], &|_| {}).unwrap();
    assert!(found[0].is_greedy && !found[1].is_greedy);
    assert!(found[0].log_likelihood > found[1].log_likelihood);
}

#[test]
fn what_cannot_be_scored_is_told_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.jsonl");
    let long = "word ".repeat(200);
    let item = serde_json::json!({
        "question": "q", "choices": { "text": ["a", long], "label": ["A", "B"] }, "answerKey": "A",
    });
    std::fs::write(&file, item.to_string()).unwrap();
    let source = TaskSource {
        data: &file,
        few_shot: None,
        shots: None,
        limit: None,
    };
    let data = TaskData::open(EvalTask::ArcEasy, &source).unwrap();
    let error = run(&data, &Device::flex(), 2).unwrap_err().to_string();
    assert!(
        error.contains("test.jsonl, line 1, choice 1 cannot be scored") && error.contains("128 positions"),
        "{error}"
    );
}
