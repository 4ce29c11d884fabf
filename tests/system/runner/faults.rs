//! What kills and power losses leave behind: torn lines, empty and truncated files, a missing rename, checkpoints that find
//! no place. Each is told, and gone on with to the curve of an undisturbed run.
use super::folders::runs_in;
use super::process::{refuse, runner, start, succeed};
use super::promises::{Place, curve_of};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The words of a run of six steps.
pub const SIX: &str = "c4 --methods adamw --steps 6 --checkpoint-every 2";

/// Leaves a run of six steps with its checkpoints of steps 2 and 4, as if killed after the fifth; and gives the curve of
/// an undisturbed one.
pub fn unfinished(place: &Place) -> (PathBuf, Vec<[u64; 3]>) {
    let words = place.arguments(SIX);
    succeed(words.iter().copied());
    let run = place.run();
    let whole = curve_of(&run);
    fs::remove_dir_all(&run).unwrap();
    let (mut child, _) = start(&words);
    let metrics = |run: &PathBuf| fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    while child.try_wait().unwrap().is_none() {
        let runs = runs_in(&place.c4(), "adamw-0");
        if runs
            .first()
            .is_some_and(|run| metrics(run).contains("\"step\":5,\"loss\""))
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run.join("checkpoints/step-4").is_dir() && !run.join("result.json").exists());
    (run, whole)
}

/// Copies a file or a folder with all that is in it.
pub fn copy_all(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Does `fault` to a file of the run.
fn edit(run: &Path, file: &str, fault: impl FnOnce(&mut Vec<u8>)) {
    let path = run.join(file);
    let mut bytes = fs::read(&path).unwrap();
    fault(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_a_power_loss_leaves_is_told_and_gone_on_with() {
    type Fault = fn(&Path);
    const FAULTS: [(Fault, &str); 8] = [
        (
            |run| {
                edit(run, "metrics.jsonl", |text| {
                    text.extend(b"{\"kind\":\"step\",\"st");
                });
            },
            "was not finished and is dropped",
        ),
        (
            |run| edit(run, "metrics.jsonl", |text| text[..9].fill(0)),
            "lines [1] of its metrics.jsonl are no records",
        ),
        (
            |run| edit(run, "config.json", Vec::clear),
            "config.json is damaged and is written again",
        ),
        (
            |run| {
                edit(run, "checkpoints/step-4/model.safetensors", |bytes| {
                    bytes.truncate(bytes.len() / 2);
                });
            },
            "the checkpoint of step 4 is damaged",
        ),
        (
            |run| edit(run, "checkpoints/step-4/manifest.json", Vec::clear),
            "the checkpoint of step 4 is damaged",
        ),
        (
            |run| {
                edit(run, "checkpoints/step-4/optimizer.safetensors", |bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                });
            },
            "optimizer.safetensors is not what was written",
        ),
        (
            |run| {
                let folder = run.join("checkpoints");
                fs::rename(folder.join("step-4"), folder.join("unfinished")).unwrap();
            },
            "going on after step 2",
        ),
        (
            |run| fs::remove_file(run.join("metrics.jsonl")).unwrap(),
            "metrics.jsonl is missing",
        ),
    ];
    let place = Place::new();
    let (run, whole) = unfinished(&place);
    let keep = tempfile::tempdir().unwrap();
    let copy = keep.path().join("run");
    copy_all(&run, &copy);
    for (fault, told) in FAULTS {
        fault(&run);
        let ended = succeed(place.arguments(SIX));
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
        // The curve begins where records are left: behind the damaged line, or at the checkpoint.
        let lost = match told {
            "metrics.jsonl is missing" => 5,
            "lines [1] of its metrics.jsonl are no records" => 1,
            _ => 0,
        };
        assert_eq!(curve_of(&run), whole[lost..], "{told}");
        fs::remove_dir_all(&run).unwrap();
        copy_all(&copy, &run);
    }
}

#[test]
fn a_damaged_result_is_made_again_from_the_last_checkpoint() {
    let place = Place::new();
    succeed(place.arguments(SIX));
    let run = place.run();
    let result = |run: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(run.join("result.json")).unwrap()).unwrap()
    };
    let before = result(&run);
    fs::write(run.join("result.json"), "{\"method\": \"ad").unwrap();
    let ended = succeed(place.arguments(SIX));
    assert!(
        ended.stderr.contains("result.json is damaged"),
        "{}",
        ended.stderr
    );
    let after = result(&run);
    for field in ["last", "best", "untrained", "tokens_seen", "selections"] {
        assert_eq!(before[field], after[field], "{field}");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told_and_training_goes_on() {
    let place = Place::new();
    succeed(place.arguments(SIX));
    let run = place.run();
    let whole = curve_of(&run);
    fs::remove_dir_all(&run).unwrap();
    fs::create_dir_all(&run).unwrap();
    // A file where the folder should be: no checkpoint finds a place.
    fs::write(run.join("checkpoints"), "").unwrap();
    let ended = runner(place.arguments(SIX));
    assert!(
        ended.stderr.contains("no checkpoint of step 2"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("training goes on"), "{}", ended.stderr);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(curve_of(&run), whole);
}

#[test]
fn a_data_file_that_vanishes_is_told_and_loses_nothing() {
    let place = Place::new();
    let (run, whole) = unfinished(&place);
    let aside = tempfile::tempdir().unwrap();
    let shards: Vec<PathBuf> = fs::read_dir(place.data.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("c4-train"))
        .collect();
    for shard in &shards {
        copy_all(shard, &aside.path().join(shard.file_name().unwrap()));
        fs::remove_file(shard).unwrap();
    }
    refuse(&place.arguments(SIX), &["c4-train.*.json.gz"]);
    for shard in &shards {
        copy_all(&aside.path().join(shard.file_name().unwrap()), shard);
    }
    let ended = succeed(place.arguments(SIX));
    assert!(ended.stderr.contains("going on after step 4"), "{}", ended.stderr);
    assert_eq!(curve_of(&run), whole);
}
