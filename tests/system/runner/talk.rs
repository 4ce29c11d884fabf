//! `generate` and `chat`: texts that go on, answers in the chat template, one at a time and in batches; wrong input is told.
use super::process::{refuse, runner_hearing, succeed, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A small random Llama with a tokenizer and a chat template.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct")
}

#[test]
fn answers_of_a_file_of_questions_are_the_same_one_by_one_and_together() {
    let folder = tempfile::tempdir().unwrap();
    let questions = folder.path().join("questions.txt");
    fs::write(&questions, "What is 3 + 4?\n\nAnd the owl?\nWhy?\n").unwrap();
    let answers = |batch: &str| -> Vec<Value> {
        let out = folder.path().join(format!("{batch}.jsonl"));
        let own = model();
        succeed([
            "generate",
            "--model",
            text(&own),
            "--prompts",
            text(&questions),
            "--chat",
            "--greedy",
            "--max-new-tokens",
            "12",
            "--device",
            "flex",
            "--batch",
            batch,
            "--out",
            text(&out),
        ]);
        let lines = fs::read_to_string(out).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let (alone, together) = (answers("1"), answers("3"));
    assert_eq!(alone.len(), 3);
    assert_eq!(alone, together);
    assert_eq!(alone[1]["prompt"], "And the owl?");
    assert!(alone.iter().all(|answer| answer["tokens"].as_u64().unwrap() > 0));
}

#[test]
fn a_text_goes_on_by_a_seed_and_the_prompt_stands_before_it() {
    let own = model();
    let said = |seed: &str| {
        let words = [
            "generate",
            "--model",
            text(&own),
            "--prompt",
            "It is ",
            "--temperature",
            "1.5",
            "--max-new-tokens",
            "10",
            "--device",
            "flex",
            "--seed",
            seed,
        ];
        succeed(words).stdout
    };
    assert!(said("1").starts_with("It is "));
    assert_eq!(said("1"), said("1"));
    assert_ne!(said("1"), said("2"));
}

#[test]
fn a_conversation_has_an_answer_to_every_line_and_may_begin_anew() {
    let own = model();
    let words = [
        "chat",
        "--model",
        text(&own),
        "--device",
        "flex",
        "--greedy",
        "--max-new-tokens",
        "8",
    ];
    let ended = runner_hearing(
        words,
        "What is 1 + 1?\n\nAnd 2?\n/clear\nWhat is 1 + 1?\n/what\n/exit\nnever\n",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("tokens/s)").count(), 3, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("there are /clear and /exit"),
        "{}",
        ended.stderr
    );
    let answers: Vec<&str> = ended.stdout.split('\n').collect();
    assert_eq!(
        answers.first(),
        answers.get(2),
        "after /clear it is the first answer again"
    );
}

#[test]
fn wrong_prompts_and_settings_are_told_with_what_to_do() {
    let own = model();
    let own = text(&own);
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.jsonl");
    fs::write(&broken, "{\"prompt\": \"a\"}\n{\"text\": 1}\n").unwrap();
    let long = "owl ".repeat(400);
    for (words, parts) in [
        (vec!["--model", own], vec!["--prompt TEXT"]),
        (
            vec!["--model", "/no/model", "--prompt", "a"],
            vec!["/no/model", ".gguf"],
        ),
        (
            vec!["--model", own, "--prompts", text(&broken)],
            vec!["broken.jsonl, line 2"],
        ),
        (vec!["--model", own, "--prompt", &long], vec!["128", "shorten it"]),
        (
            vec!["--model", own, "--prompt", "a", "--temperature=-1"],
            vec!["temperature"],
        ),
        (
            vec!["--model", own, "--prompt", "a", "--top-p", "2"],
            vec!["top_p"],
        ),
    ] {
        refuse(&[&["generate", "--device", "flex"], &words[..]].concat(), &parts);
    }
}
