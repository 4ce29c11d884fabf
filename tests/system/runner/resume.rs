//! The same command again: what is complete is not run again, and another run has a folder of its own.
use super::complete_run::{CompleteRun, METHODS, arguments};
use super::folders::{reports_in, run_in, runs_in};
use super::process::{succeed, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn modified(run: &CompleteRun) -> Vec<SystemTime> {
    let files = METHODS.iter().flat_map(|(_, name)| {
        ["config.json", "manifest.json", "metrics.jsonl", "result.json"]
            .map(|file| run.folder(name).join(file))
    });
    files
        .map(|file| fs::metadata(file).unwrap().modified().unwrap())
        .collect()
}

#[test]
fn the_same_command_again_says_that_all_is_complete_and_runs_nothing() {
    let run = CompleteRun::shared();
    let before = modified(run);
    let ended = succeed(arguments(&run.data, &run.out));
    assert_eq!(
        ended.stderr.matches("complete, not run again").count(),
        METHODS.len(),
        "{}",
        ended.stderr
    );
    assert_eq!(modified(run), before);
    assert!(
        ended.stdout.contains("| adamw"),
        "the report is still written: {}",
        ended.stdout
    );
}

#[test]
fn another_configuration_has_a_folder_and_a_report_of_its_own_and_the_old_run_stays_as_it_was() {
    let data = &CompleteRun::shared().data;
    let out = tempfile::tempdir().unwrap();
    let run = |steps: &str| {
        let words = ["c4", "--methods", "lora:2", "--steps", steps];
        succeed(
            words
                .into_iter()
                .chain(["--data", text(data), "--out", text(out.path())]),
        );
    };
    run("3");
    let first = run_in(&out.path().join("c4"), "lora-2-0");
    let before = contents(out.path());
    run("4");
    assert_eq!(runs_in(&out.path().join("c4"), "lora-2-0").len(), 2);
    assert_eq!(reports_in(out.path(), "c4").len(), 2, "and each has a report");
    let after = contents(out.path());
    for (path, bytes) in before
        .iter()
        .filter(|(path, _)| path.file_stem().is_none_or(|name| name != "index"))
    {
        assert!(after.get(path) == Some(bytes), "{}", path.display());
    }
    assert!(first.join("result.json").is_file());
    let index = fs::read_to_string(out.path().join("index.md")).unwrap();
    assert_eq!(index.matches("[C4 pretraining").count(), 2, "{index}");
}

/// Every file below `folder` by its relative path.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).unwrap().to_owned();
                files.insert(relative, fs::read(&path).unwrap());
            }
        }
    }
    files
}
