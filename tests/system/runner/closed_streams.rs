//! Stdout that nobody reads ends a command quietly, and a full disk behind it with an error; stderr that nobody reads ends nothing.
use super::folders::run_in;
use super::process::{Ended, closed_pipe, command, text, with_paths};
use std::path::Path;
use std::process::Stdio;

/// Calls of every command that prints what it found.
fn each(stdout: impl Fn() -> Stdio) -> Vec<(String, Ended)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let [model, data, book] = ["instruct", "instruct/examples.jsonl", "tasks/text.txt"]
        .map(|name| text(&fixtures.join(name)).to_owned());
    let out = tempfile::tempdir().unwrap();
    let out = text(out.path());
    let flex = ["--device", "flex"];
    let calls: [Vec<&str>; 4] = [
        vec!["plan", "--model", "60m", "--memory", "1GB"],
        [&["evaluate", "--model", &model, "--perplexity", &book], &flex[..]].concat(),
        [
            &["generate", "--model", &model, "--prompt", "It is ", "--greedy"],
            &flex[..],
        ]
        .concat(),
        [
            &[
                "finetune",
                "--model",
                &model,
                "--data",
                &data,
                "--out",
                out,
                "--max-length",
                "64",
                "--dry-run",
            ],
            &flex[..],
        ]
        .concat(),
    ];
    let ended = |words: &Vec<&str>| {
        (
            words.join(" "),
            command(words.iter().copied())
                .stdout(stdout())
                .output()
                .unwrap()
                .into(),
        )
    };
    calls.iter().map(ended).collect()
}

#[test]
fn a_reader_that_has_gone_ends_every_command_quietly() {
    for (words, ended) in each(closed_pipe) {
        assert_eq!(ended.code, Some(0), "{words}: {}", ended.stderr);
        assert!(
            !ended.stderr.contains("error") && !ended.stderr.contains("panicked"),
            "{words}: {}",
            ended.stderr
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_told_with_the_mend() {
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for (words, ended) in each(full) {
        assert_eq!(ended.code, Some(1), "{words}: {}", ended.stderr);
        assert!(
            ended
                .stderr
                .contains("error: what stdout leads to takes no more: No space"),
            "{words}: {}",
            ended.stderr
        );
        let mends = ended.stderr.matches("; free room there, and").count();
        assert_eq!(mends, 1, "{words}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{words}: {}", ended.stderr);
    }
}

#[test]
fn a_run_goes_on_when_nobody_reads_its_progress() {
    let out = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct");
    let [model, data] = [fixtures.clone(), fixtures.join("examples.jsonl")];
    let paths = [("--model", &*model), ("--data", &*data), ("--out", out.path())];
    let words = "finetune --device flex --max-length 64 --batch 2 --steps 3 --method adamw@1e-3";
    let ended = command(with_paths(words, &paths))
        .stderr(closed_pipe())
        .status()
        .unwrap();
    assert!(ended.success(), "{ended}");
    assert!(
        run_in(&out.path().join("instruct"), "adamw-1e-3-0")
            .join("result.json")
            .is_file()
    );
}
