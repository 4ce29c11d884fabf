//! `generate` and `chat`: texts that go on, answers in the chat template, one at a time and in batches; wrong input is told.
use super::process::{refuse, runner, runner_hearing, succeed, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A small random Llama with a tokenizer and a chat template.
pub fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct")
}

/// The same in a folder of its own, without the file `left_out`.
pub fn model_without(left_out: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != left_out {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    folder
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

/// The words that begin a conversation, with answers of the likeliest tokens.
fn chat<'a>(model: &'a Path, max_new_tokens: &'a str) -> [&'a str; 8] {
    [
        "chat",
        "--model",
        text(model),
        "--device",
        "flex",
        "--greedy",
        "--max-new-tokens",
        max_new_tokens,
    ]
}

#[test]
fn a_conversation_has_an_answer_to_every_line_and_may_begin_anew() {
    let own = model();
    let words = chat(&own, "8");
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
    let foreign = folder.path().join("latin1.txt");
    fs::write(&foreign, b"one\nfa\xe7ade\n").unwrap();
    let long = "owl ".repeat(400);
    for (words, parts) in [
        (vec!["--model", own], vec!["--prompt TEXT"]),
        (
            vec!["--model", "/no/model", "--prompt", "a"],
            vec!["/no/model", ".gguf"],
        ),
        (
            vec!["--model", own, "--prompts", text(&broken)],
            vec!["broken.jsonl, line 2, column 11: missing field"],
        ),
        (
            vec!["--model", own, "--prompts", text(&foreign)],
            vec!["latin1.txt, line 2", "UTF-8"],
        ),
        (
            vec!["--model", own, "--prompt", "a", "--prompt", ""],
            vec!["prompt 2", "empty"],
        ),
        (
            vec!["--model", own, "--prompt", "a", "--system", "Be brief."],
            vec!["--system", "add --chat"],
        ),
        (
            vec!["--model", own, "--prompt", "a", "--max-new-tokens", "200"],
            vec!["prompt 1", "--max-new-tokens 200", "ask for at most"],
        ),
        (vec!["--model", own, "--prompt", &long], vec!["128", "shorten it"]),
        (
            vec!["--model", own, "--prompt", "a", "--temperature", "-1"],
            vec!["--temperature: `temperature` is -1, expected a finite number of 0 or more"],
        ),
        (
            vec!["--model", own, "--prompt", "a", "--top-p", "2"],
            vec!["--top-p: `top_p` is 2, expected more than 0, at most 1"],
        ),
        (
            vec!["--model", own, "--prompt", "a", "--min-p", "-0.5"],
            vec!["--min-p: `min_p` is -0.5, expected at least 0"],
        ),
        (
            vec!["--model", own, "--prompt", "a", "--repetition-penalty", "1e-300"],
            vec!["--repetition-penalty: `repetition_penalty` is 1e-300, expected more than 0, in f32 too"],
        ),
        (
            vec!["--model", own, "--prompts", text(folder.path())],
            vec!["It is a folder", "in it lie broken.jsonl, latin1.txt"],
        ),
        (
            vec![
                "--model",
                own,
                "--prompt",
                "a",
                "--tokenizer",
                text(folder.path()),
            ],
            vec!["It is a folder"],
        ),
        (
            vec!["--model", "/dev/null", "--prompt", "a"],
            vec!["is no folder and no GGUF file"],
        ),
    ] {
        refuse(&[&["generate", "--device", "flex"], &words[..]].concat(), &parts);
    }
}

#[test]
fn a_prompt_that_is_too_long_is_told_before_the_first_one_is_answered() {
    let own = model();
    let folder = tempfile::tempdir().unwrap();
    let [prompts, out] = ["prompts.txt", "answers.jsonl"].map(|name| folder.path().join(name));
    let lines = "What is 3 + 4?\n".repeat(5);
    fs::write(&prompts, format!("{lines}{}\n", "owl ".repeat(400))).unwrap();
    let ended = refuse(
        &[
            "generate",
            "--model",
            text(&own),
            "--device",
            "flex",
            "--prompts",
            text(&prompts),
            "--out",
            text(&out),
        ],
        &["prompts.txt, line 6", "128 positions", "shorten it"],
    );
    assert!(!ended.stderr.contains("loading"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn without_a_number_of_tokens_an_answer_ends_with_the_positions() {
    let own = model();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answers.jsonl");
    // With 128 tokens more, the first would need more than the model's 128 positions.
    let long = "owl ".repeat(20);
    let words = ["--prompt", &long, "--prompt", "a", "--batch", "2"];
    let common = ["generate", "--model", text(&own), "--device", "flex", "--greedy"];
    succeed(common.iter().chain(&words).copied().chain(["--out", text(&out)]));
    let lines = fs::read_to_string(&out).unwrap();
    let tokens: Vec<u64> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["tokens"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert!(
        tokens.len() == 2 && tokens.iter().all(|tokens| (1..=128).contains(tokens)),
        "{tokens:?}"
    );
}

#[test]
fn no_file_that_is_read_is_written_and_a_link_stays_a_link() {
    let own = model();
    let folder = tempfile::tempdir().unwrap();
    let prompts = folder.path().join("prompts.txt");
    fs::write(&prompts, "What is 1 + 1?\n").unwrap();
    let base = ["generate", "--model", text(&own), "--device", "flex", "--greedy"];
    let more = ["--max-new-tokens", "3", "--prompts", text(&prompts), "--out"];
    let words = |out| [&base[..], &more[..], &[out]].concat();
    refuse(&words(text(&prompts)), &["--out", "--prompts", "another file"]);
    refuse(&words(text(folder.path())), &["--out", "name a file in it"]);
    assert_eq!(fs::read_to_string(&prompts).unwrap(), "What is 1 + 1?\n");
    let copied = model_without("");
    let weights = copied.path().join("model.safetensors");
    let before = fs::read(&weights).unwrap();
    for out in [&weights, &copied.path().join("new/answers.jsonl")] {
        let words = ["generate", "--prompt", "a", "--model", text(copied.path())];
        let parts = ["--out", "the folder that --model names", "outside of it"];
        refuse(&[&words[..], &["--out", text(out)]].concat(), &parts);
    }
    assert!(fs::read(&weights).unwrap() == before && !copied.path().join("new").exists());
    #[cfg(unix)]
    {
        let [link, target] = ["link", "target"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("target", &link).unwrap();
        succeed(words(text(&link)));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap().lines().count(), 1);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_keeps_what_is_answered_and_tells_where() {
    use super::process::interrupted;
    let own = model();
    let folder = tempfile::tempdir().unwrap();
    let [prompts, out, part] =
        ["prompts.txt", "answers.jsonl", "answers.jsonl.partial"].map(|name| folder.path().join(name));
    fs::write(&prompts, "What is 3 + 4?\n".repeat(20_000)).unwrap();
    let words = [
        "generate",
        "--model",
        text(&own),
        "--device",
        "flex",
        "--temperature",
        "1",
    ];
    let more = ["--prompts", text(&prompts), "--out", text(&out)];
    let ended = interrupted(&[&words[..], &more].concat(), &part);
    let answers = fs::read_to_string(&part).unwrap().lines().count();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let told = format!("{answers} of 20000 prompts were answered");
    for part in [told.as_str(), "answers.jsonl.partial", "stopped by SIGINT"] {
        assert!(
            ended.stderr.contains(part),
            "`{part}` is not in: {}",
            ended.stderr
        );
    }
    let lines = fs::read_to_string(&part).unwrap();
    assert!(
        lines
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    assert!(!out.exists());
}

#[test]
fn a_turn_that_is_too_long_or_no_text_is_left_out_and_the_conversation_goes_on() {
    let own = model();
    let words = chat(&own, "6");
    let said = |between: &[u8]| {
        let lines = [&b"What is 1 + 1?\n"[..], between, b"And 2?\n"].concat();
        let ended = runner_hearing(words, lines);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended
    };
    let undisturbed = said(b"");
    let long = "owl ".repeat(400) + "\n";
    for (between, told) in [
        (long.as_bytes(), "128 positions: it is left out"),
        (&b"fa\xe7ade\n"[..], "line 2 is not UTF-8"),
    ] {
        let ended = said(between);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert_eq!(ended.stdout, undisturbed.stdout);
    }
}

#[test]
fn conversations_in_a_form_that_nobody_has_chosen_are_told() {
    let plain = model_without("chat_template.jinja");
    let words = [
        "--model",
        text(plain.path()),
        "--device",
        "flex",
        "--max-new-tokens",
        "2",
    ];
    let generate = |more: &[&str]| {
        let ended = runner(
            ["generate", "--prompt", "a"]
                .iter()
                .chain(&words)
                .chain(more)
                .copied(),
        );
        ended.stderr.contains("no chat template")
    };
    assert!(generate(&["--chat"]));
    assert!(!generate(&[]));
    assert!(!generate(&["--chat", "--chat-template", "alpaca"]));
    let ended = runner_hearing(["chat"].into_iter().chain(words), "a\n");
    assert!(ended.stderr.contains("no chat template"), "{}", ended.stderr);
}

#[test]
fn a_cut_of_0_is_none_and_a_model_is_named_by_its_folder() {
    let own = model();
    let common = [
        "generate",
        "--device",
        "flex",
        "--max-new-tokens",
        "3",
        "--prompt",
        "a",
    ];
    let with = |more: &[&'static str]| [&common[..], more, &["--model"]].concat();
    succeed([&with(&["--top-k", "0"])[..], &[text(&own)]].concat());
    let file = own.join("config.json");
    let parts = ["name its folder: ", text(&own)];
    refuse(&[&with(&[])[..], &[text(&file)]].concat(), &parts);
    let bare = model_without("tokenizer.json");
    let parts = [
        "no tokenizer.json",
        "--tokenizer FILE",
        "AutoTokenizer.from_pretrained",
    ];
    refuse(&[&with(&[])[..], &[text(bare.path())]].concat(), &parts);
}
