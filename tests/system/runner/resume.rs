//! `--resume`: what is complete is not run again, and what is another run is not passed off as this one.
use super::complete_run::{CompleteRun, METHODS, arguments};
use super::process::{refuse, succeed};
use std::fs;
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
fn resuming_a_complete_run_says_so_and_runs_nothing_again() {
    let run = CompleteRun::shared();
    let before = modified(run);
    let ended = succeed(arguments(&run.data, &run.out).into_iter().chain(["--resume"]));
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
fn resuming_with_another_configuration_is_refused_with_the_folder_and_the_mend() {
    let run = CompleteRun::shared();
    let before = modified(run);
    let mut changed = arguments(&run.data, &run.out);
    changed[2] = "11";
    changed.push("--resume");
    refuse(
        &changed,
        &[
            "adamw-0",
            "another configuration (config.json)",
            "choose another --out, or delete it",
        ],
    );
    assert_eq!(modified(run), before, "the other run is left as it was");
}
