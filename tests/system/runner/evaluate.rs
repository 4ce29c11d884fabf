//! `evaluate`: tables and lines with the harness' scores; what is wrong is told by name, before weights are read.
#[cfg(target_os = "linux")]
use super::process::{Ended, closed_pipe, command};
#[cfg(unix)]
use super::process::{interrupted, with_paths};
use super::process::{refuse, succeed, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn evaluated(words: &[&str], data: &str) -> super::process::Ended {
    let (model, data) = (fixtures().join("instruct"), fixtures().join(data));
    let common = ["evaluate", "--device", "flex", "--model", text(&model)];
    succeed(common.iter().chain(words).copied().chain([text(&data)]))
}

/// The cells of the row that begins with `first`.
fn row(stdout: &str, first: &[&str]) -> Vec<String> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let mut rows = stdout.lines().map(cells);
    rows.find(|row| row.starts_with(&first.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>()))
        .unwrap_or_else(|| panic!("no row of {first:?} in {stdout}"))
}

#[test]
fn a_task_ends_with_a_table_and_a_line_for_every_item() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("items.jsonl");
    let words = [
        "--task",
        "arc-easy",
        "--batch",
        "3",
        "--out",
        text(&file),
        "--data",
    ];
    let ended = evaluated(&words, "tasks-hub/arc");
    assert!(
        ended.stdout.contains("the harness' arc_easy (version 1.0)"),
        "{}",
        ended.stdout
    );
    assert!(ended.stderr.contains("arc-easy: 48/48"), "{}", ended.stderr);
    let expected = ["arc-easy", "acc", "12", "0.3333", "0.1421"];
    assert_eq!(row(&ended.stdout, &expected[..2]), expected);
    let expected = ["arc-easy", "acc_norm", "12", "0.1667", "0.1124"];
    assert_eq!(row(&ended.stdout, &expected[..2]), expected);
    let lines = std::fs::read_to_string(&file).unwrap();
    let items: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(items.len(), 12);
    assert_eq!(items[0]["place"], "test-00000-of-00001.parquet, row 1");
    let right = items
        .iter()
        .filter(|item| item["predicted"] == item["gold"])
        .count();
    assert_eq!(right, 4);
    assert_eq!(items[0]["likelihoods"].as_array().unwrap().len(), 4);
}

#[test]
fn subjects_answers_and_texts_have_rows_of_their_own() {
    let mmlu = evaluated(&["--task", "mmlu", "--shots", "2", "--data"], "tasks/mmlu");
    assert_eq!(row(&mmlu.stdout, &["astronomy", "acc"])[2], "4");
    assert_eq!(row(&mmlu.stdout, &["mmlu", "acc"])[3..], ["0.3333", "0.1521"]);
    let words = [
        "--task",
        "gsm8k",
        "--shots",
        "2",
        "--limit",
        "2",
        "--max-new-tokens",
        "24",
        "--data",
    ];
    let gsm8k = evaluated(&words, "tasks/gsm8k");
    assert_eq!(
        row(&gsm8k.stdout, &["gsm8k", "exact_match,flexible-extract"])[2],
        "2"
    );
    let text = evaluated(&["--perplexity"], "tasks/text.txt");
    assert!(
        text.stdout.contains("443 tokens, in windows of up to 128 (4)"),
        "{}",
        text.stdout
    );
    assert_eq!(row(&text.stdout, &["bits_per_byte"])[1..], ["519", "8.1579"]);
}

#[test]
fn what_is_missing_or_wrong_is_told_with_what_to_do() {
    let (model, tasks) = (fixtures().join("instruct"), fixtures().join("tasks"));
    let data = |name: &str| tasks.join(name).to_str().unwrap().to_owned();
    let refused = |words: &[&str], parts: &[&str]| {
        let common = ["evaluate", "--device", "flex", "--model", text(&model)];
        refuse(&[&common, words].concat(), parts)
    };
    let ended = refused(
        &["--task", "gsm8k", "--data", &data("gsm8k/test.jsonl")],
        &["--few-shot", "--shots 0"],
    );
    assert!(!ended.stderr.contains("loading"), "{}", ended.stderr);
    refused(
        &["--task", "gsm8k", "--shots", "0", "--data", &data("gsm8k")],
        &["max_new_tokens", "128 positions"],
    );
    refused(
        &["--task", "mmlu", "--data", &data("arc/test.jsonl")],
        &["test.jsonl, line 1, field"],
    );
    refused(
        &["--task", "hellaswag", "--data", &data("arc")],
        &["validation or val", "test.jsonl"],
    );
    refused(
        &[
            "--task",
            "arc-easy",
            "--data",
            &data("arc"),
            "--out",
            "no/such/folder/x.jsonl",
        ],
        &["--out", "no/such/folder"],
    );
    let ended = refused(&["--perplexity", &data("nothing.txt")], &["nothing.txt"]);
    assert_eq!(
        ended.stderr.matches("os error 2").count(),
        1,
        "what the system said is told once: {}",
        ended.stderr
    );
}

#[test]
fn no_file_that_is_read_is_written_and_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [data, examples] = ["test.jsonl", "train.jsonl"].map(|name| {
        let path = folder.path().join(name);
        std::fs::copy(fixtures().join("tasks/gsm8k").join(name), &path).unwrap();
        path
    });
    let before = std::fs::read(&data).unwrap();
    let model = fixtures().join("instruct");
    for (out, part) in [
        (&data, "--data"),
        (&examples, "--few-shot"),
        (&folder.path().to_owned(), "name a file in it"),
    ] {
        let ended = refuse(
            &[
                "evaluate",
                "--device",
                "flex",
                "--model",
                text(&model),
                "--task",
                "gsm8k",
                "--shots",
                "2",
                "--data",
                text(&data),
                "--few-shot",
                text(&examples),
                "--out",
                text(out),
            ],
            &["--out", part],
        );
        assert!(!ended.stderr.contains("loading"), "{}", ended.stderr);
    }
    assert_eq!(std::fs::read(&data).unwrap(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn the_scores_are_printed_where_the_file_finds_no_room() {
    use std::os::unix::fs::FileTypeExt;
    let ended: Ended = onto_a_full_disk().output().unwrap().into();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_told_to_free_room(&ended);
    assert_eq!(row(&ended.stdout, &["arc-easy", "acc"])[2], "2");
    let full = std::fs::metadata("/dev/full").unwrap().file_type();
    assert!(full.is_char_device(), "it is still the device");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_finds_no_room_is_told_though_nobody_reads_the_scores() {
    let ended = onto_a_full_disk().stdout(closed_pipe()).output().unwrap();
    let ended = Ended::from(ended);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_told_to_free_room(&ended);
}

/// Two items whose file is always full.
#[cfg(target_os = "linux")]
fn onto_a_full_disk() -> std::process::Command {
    let (model, data) = (fixtures().join("instruct"), fixtures().join("tasks-hub/arc"));
    let paths = [
        ("--model", &*model),
        ("--data", &*data),
        ("--out", Path::new("/dev/full")),
    ];
    let words = "evaluate --device flex --task arc-easy --limit 2";
    command(with_paths(words, &paths))
}

#[cfg(target_os = "linux")]
fn assert_told_to_free_room(ended: &Ended) {
    let told = &ended.stderr;
    assert!(told.contains("/dev/full") && told.contains("No space"), "{told}");
    assert_eq!(told.matches("free room there").count(), 1, "{told}");
}

#[cfg(unix)]
#[test]
fn a_signal_keeps_the_items_that_are_scored_and_tells_where() {
    let folder = tempfile::tempdir().unwrap();
    let [data, out, part] =
        ["test.jsonl", "items.jsonl", "items.jsonl.partial"].map(|name| folder.path().join(name));
    let items = std::fs::read_to_string(fixtures().join("tasks/arc/test.jsonl")).unwrap();
    std::fs::write(&data, items.repeat(2000)).unwrap();
    let model = fixtures().join("instruct");
    let words = "evaluate --device flex --task arc-easy --batch 1";
    let paths = [("--model", &*model), ("--data", &*data), ("--out", &*out)];
    let ended = interrupted(&with_paths(words, &paths), &part);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let kept = std::fs::read_to_string(&part).unwrap();
    let all = 2000 * items.lines().count();
    for told in [
        &format!("{} of {all} items are in", kept.lines().count()),
        "items.jsonl.partial",
        "stopped by SIGINT",
    ] {
        assert!(
            ended.stderr.contains(told),
            "`{told}` is not in: {}",
            ended.stderr
        );
    }
    assert!(
        kept.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    assert!(!out.exists());
}
