//! Runs in processes of their own, as every run on a GPU is: software Vulkan counts as one here.
use super::folders::{reports_in, run_in};
use super::process::{end, start, succeed, text, wait_for_records};
use super::promises::curve_of;
use std::path::Path;
use std::process::Command;

fn words<'a>(out: &'a Path, more: &'a str) -> Vec<&'a str> {
    let words =
        "glue --tasks MRPC --device wgpu --checkpoint-every 0 --steps 16 --methods blockllm:0.9,lora:2";
    let given = ["--out", text(out)];
    words
        .split(' ')
        .chain(given)
        .chain(more.split_whitespace())
        .collect()
}

#[test]
fn every_run_has_a_process_of_its_own_and_a_signal_to_the_first_one_stops_them_as_it_stops_one() {
    let whole = tempfile::tempdir().unwrap();
    let ended = succeed(words(whole.path(), ""));
    assert!(ended.stdout.contains("blockllm:0.9") && ended.stdout.contains("lora:2"));
    assert_eq!(reports_in(whole.path(), "glue").len(), 1);
    // Once for the command and once for each of its two runs.
    let started = ended
        .stderr
        .matches("device: ")
        .count()
        .max(ended.stderr.matches("MRPC").count());
    assert!(started >= 3, "{}", ended.stderr);

    let parted = tempfile::tempdir().unwrap();
    let words_of_it = words(parted.path(), "");
    let (child, stderr) = start(&words_of_it);
    let runs = parted.path().join("glue/MRPC");
    wait_for_records(&runs, 4);
    let signal = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(signal.unwrap().success());
    let ended = end(child, &stderr);
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    let told = &ended.stderr;
    assert_eq!(told.matches("to go on, type").count(), 1, "{told}");
    assert_eq!(told.matches("stopping after this step").count(), 1, "{told}");
    assert!(
        told.contains("stopped by SIGTERM") && told.contains("with a checkpoint"),
        "{told}"
    );
    let line = told.trim_end().lines().last().unwrap().trim();
    assert!(!line.contains("--alone"), "{line}");

    succeed(words_of_it);
    for name in ["blockllm-0.9-0", "lora-2-0"] {
        let (found, expected) = (run_in(&runs, name), run_in(&whole.path().join("glue/MRPC"), name));
        assert_eq!(curve_of(&found), curve_of(&expected), "{name}");
    }
    let again = succeed(words(parted.path(), ""));
    assert_eq!(
        again.stderr.matches("complete, not run again").count(),
        2,
        "{}",
        again.stderr
    );
}

#[test]
fn with_fresh_a_process_makes_the_folder_that_it_is_given_and_divergence_and_errors_come_through() {
    let out = tempfile::tempdir().unwrap();
    let one = |more: &str| {
        let words = "glue --tasks MRPC --device wgpu --steps 2";
        let words = words.split(' ').chain(["--out", text(out.path())]);
        super::process::runner(words.chain(more.split(' ')).collect::<Vec<_>>())
    };
    for _ in 0..2 {
        let ended = one("--methods adamw --fresh");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let runs = super::folders::runs_in(&out.path().join("glue/MRPC"), "adamw-0");
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(curve_of(&runs[0]), curve_of(&runs[1]));

    let ended = one("--methods adamw@1e30");
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("diverged"), "{}", ended.stderr);
    assert!(
        run_in(&out.path().join("glue/MRPC"), "adamw-1e30-0")
            .join("diverged.json")
            .is_file()
    );
}
