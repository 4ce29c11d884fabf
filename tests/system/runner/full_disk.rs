//! A full disk, without being root: the operating system refuses what makes a file longer than it may be, or, where
//! namespaces are allowed, a file system of its own that is too small. What finds no room is told, what is there is kept,
//! training goes on, and the same command goes on from it.
use super::faults::{SIX, copy_all, unfinished};
use super::folders::run_in;
use super::process::{Ended, succeed, text};
use super::promises::{Place, curve_of};
use std::fs;
use std::path::Path;
use std::process::Command;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

fn ended(command: &mut Command) -> Ended {
    let output = command.env_remove("RUST_BACKTRACE").output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the runner with files of at most `bytes`, rounded up to 512. The signal that tells so is ignored, as it is where a
/// disk is full: the write is an error then.
fn runner_limited(bytes: u64, arguments: &[&str]) -> Ended {
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes.div_ceil(512));
    ended(
        Command::new("sh")
            .args(["-c", &script, "sh", RUNNER])
            .args(arguments),
    )
}

fn assert_tells(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(
            ended.stderr.contains(part),
            "`{part}` is not in: {}",
            ended.stderr
        );
    }
    assert!(!ended.stderr.contains("panicked at"), "{}", ended.stderr);
}

#[test]
fn a_checkpoint_that_outgrows_the_disk_leaves_the_older_one_and_training_goes_on() {
    let place = Place::new();
    let (run, whole) = unfinished(&place);
    let ended = runner_limited(512 << 10, &place.arguments(SIX));
    assert_tells(
        &ended,
        &[
            "going on after step 4",
            "no checkpoint of step 6",
            "that of step 4 is kept, and training goes on",
        ],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(curve_of(&run), whole);
    let checkpoints = run.join("checkpoints");
    assert!(checkpoints.join("step-4").is_dir());
    assert!(
        !checkpoints.join("unfinished").exists(),
        "half a checkpoint would fill the disk further"
    );
}

#[test]
fn records_that_find_no_room_end_the_run_at_its_end_and_the_same_command_goes_on() {
    let place = Place::new();
    let (run, whole) = unfinished(&place);
    // Room for the records up to the checkpoint, which are written anew, and for less than one more.
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let until_4: usize = metrics
        .lines()
        .take_while(|line| !line.contains("\"step\":5,\"loss\""))
        .map(|line| line.len() + 1)
        .sum();
    let ended = runner_limited(until_4 as u64, &place.arguments(SIX));
    assert_tells(
        &ended,
        &[
            "metrics.jsonl",
            "Training goes on; its records are kept in memory",
            "no checkpoint of step 6",
        ],
    );
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.stderr);
    assert!(!run.join("result.json").exists());
    assert!(run.join("checkpoints/step-4").is_dir());
    let ended = succeed(place.arguments(SIX));
    assert_tells(&ended, &["going on after step 4"]);
    assert_eq!(curve_of(&run), whole);
}

#[test]
fn a_model_that_finds_no_room_leaves_nothing_half_and_is_made_by_the_same_command() {
    let place = Place::new();
    let words = format!("{SIX} --save-model");
    let (run, whole) = unfinished(&place);
    let ended = runner_limited(512 << 10, &place.arguments(&words));
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.stderr);
    assert_tells(
        &ended,
        &[
            "error: ",
            "model (the newest checkpoint is kept",
            "free room there, and type the same line again",
        ],
    );
    assert!(!run.join("model").exists() && !run.join(".unfinished-model").exists());
    succeed(place.arguments(&words));
    assert!(run.join("model/model.safetensors").is_file());
    assert_eq!(curve_of(&run), whole);
}

/// Whether this user may mount a file system of its own.
fn may_mount() -> bool {
    let mount = "mount -t tmpfs -o size=1m none /tmp";
    Command::new("unshare")
        .args(["-rm", "sh", "-c", mount])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.metadata().unwrap().len()).sum()
}

#[test]
fn a_file_system_with_room_for_one_checkpoint_and_a_half_keeps_the_first() {
    if !may_mount() {
        eprintln!("not tested: file systems of one's own (`unshare -rm`) are not allowed here");
        return;
    }
    let place = Place::new();
    succeed(place.arguments(SIX));
    let run = place.run();
    let whole = curve_of(&run);
    let size = bytes_in(&run.join("checkpoints/step-6")) * 3 / 2;
    fs::remove_dir_all(&run).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let (out, copy) = (place.out.path(), kept.path().join("out"));
    // What is left there is seen in this namespace only, so it is copied.
    let script = format!(
        "mount -t tmpfs -o size={size} none '{}' && {{ \"$@\"; code=$?; cp -r '{}' '{}'; exit $code; }}",
        text(out),
        text(out),
        text(&copy)
    );
    let words = place.arguments(SIX);
    let ended = ended(
        Command::new("unshare")
            .args(["-rm", "sh", "-c", &script, "sh", RUNNER])
            .args(&words),
    );
    assert_tells(
        &ended,
        &[
            "no checkpoint of step 4",
            "No space left on device",
            "that of step 2 is kept, and training goes on",
        ],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let left = run_in(&copy.join("c4"), "adamw-0");
    assert_eq!(curve_of(&left), whole);
    assert!(left.join("checkpoints/step-2").is_dir());
    // From what is left, as if it had been killed before its end.
    fs::remove_file(left.join("result.json")).unwrap();
    copy_all(&left, &run);
    let ended = succeed(place.arguments(SIX));
    assert_tells(&ended, &["going on after step 2"]);
    assert_eq!(curve_of(&run), whole);
}
