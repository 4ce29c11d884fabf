//! Hostile and odd run folders: whatever stands in a file, the run goes on or is refused, without a panic; also where a
//! checkpoint's manifest has the hashes of what was edited.
use crate::resumption::{Kind, STEPS, plain, run};
use blockllm::data::hashing::sha256_file;
use blockllm::train::{Checkpoints, Method, Methods, RunFolder};
use blockllm_fuzz::{Damage, cases, odd_value, with_one_replaced};
use proptest::prelude::*;
use proptest::sample::Index;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

/// Chosen: every optimizer, and policies that keep something.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let methods = [
        "blockllm:0.8",
        "importance:0.8",
        "epsilon-greedy:0.8",
        "cyclic:0.8",
        "galore:4",
        "apollo-mini",
        "blockllm:0.8+moments=carried-over+refresh=each-step",
    ];
    methods.map(plain).to_vec()
});

/// Where the runs stop.
const STOP: u64 = 5;

/// A run of every kind, stopped by its data, with a checkpoint after the fourth step.
static STOPPED: LazyLock<Vec<TempDir>> = LazyLock::new(|| {
    let stopped = |kind: &Kind| {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), kind, 4, STOP).unwrap_err();
        folder
    };
    KINDS.iter().map(stopped).collect()
});

/// A run that is complete.
static COMPLETE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &KINDS[0], 4, STEPS).unwrap();
    folder
});

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Writes the hash that `file` has now into the manifest of its checkpoint.
fn seal(checkpoint: &Path, file: &str) {
    let path = checkpoint.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let (bytes, sha256) = sha256_file(&checkpoint.join(file)).unwrap();
    manifest["files"][file] = serde_json::json!({ "bytes": bytes, "sha256": sha256 });
    fs::write(&path, manifest.to_string()).unwrap();
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_checkpoint_with_anything_in_its_files_is_gone_on_from_or_refused(
        kind in 0..KINDS.len(),
        file in prop::sample::select(vec![
            "state.json", "state.json", "base.json", "manifest.json", "model.safetensors", "optimizer.safetensors",
        ]),
        damage in Damage::any(),
        at: Index,
        odd in odd_value(),
        is_sealed: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        copy(STOPPED[kind].path(), folder.path());
        let checkpoint = folder.path().join("checkpoints/step-4");
        let path = checkpoint.join(file);
        let whole = fs::read(&path).unwrap();
        let bytes = match std::str::from_utf8(&whole) {
            Ok(text) if Path::new(file).extension().is_some_and(|end| end == "json") => {
                with_one_replaced(text, at, &odd).into_bytes()
            }
            _ => damage.of(&whole),
        };
        fs::write(&path, bytes).unwrap();
        if is_sealed && file != "manifest.json" {
            seal(&checkpoint, file);
        }
        // A damaged one is set aside here, where the words about it are none of `run`'s.
        if Checkpoints::new(folder.path(), 4).newest_whole(&mut |_| {}).is_ok() {
            let _ = run(folder.path(), &KINDS[kind], 4, STOP + 1);
        }
    }

    #[test]
    fn records_with_anything_in_them_are_read_or_left_out(
        file in prop::sample::select(vec![
            "metrics.jsonl", "config.json", "manifest.json",
        ]),
        damage in Damage::any(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        copy(COMPLETE.path(), folder.path());
        let path = folder.path().join(file);
        fs::write(&path, damage.of(&fs::read(&path).unwrap())).unwrap();
        let mut run_folder = RunFolder::new(folder.path());
        let _ = run_folder.records();
        let _ = run_folder.divergence();
        let _ = run_folder.finished(&"a configuration", &"no files", &mut |_| {});
        let _ = run_folder.resume(&"a configuration", &"no files", 4, &mut |_| {});
    }

    #[test]
    fn marks_and_results_of_any_bytes_are_read_or_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["result.json", "diverged.json", "sessions.json", "metrics.jsonl"] {
            fs::write(folder.path().join(name), &bytes).unwrap();
        }
        let mut run_folder = RunFolder::new(folder.path());
        let _ = run_folder.records();
        let _ = run_folder.divergence();
        let _ = run_folder.finished(&"a configuration", &"no files", &mut |_| {});
        let _ = run_folder.start(&"a configuration", &"no files");
    }

    #[test]
    fn a_method_of_any_name_is_known_or_refused(text in "[a-z0-9:+@=./,-]{0,40}", free: String) {
        let _ = Method::parse(&free);
        let _ = Method::parse(&text);
        for name in Methods::built_in().names() {
            let _ = Method::parse(&format!("{name}{text}"));
            let _ = Method::parse(&format!("{name}:0.9+{text}"));
            let _ = Method::parse(&format!("{name}:8@{text}"));
        }
    }
}
