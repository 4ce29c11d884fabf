//! What an output folder promises: nothing finished is lost, whatever is typed, broken, or stopped.
use super::complete_run::curve;
use super::fixtures::c4_folder;
use super::folders::{run_in, runs_in};
use super::process::{refuse, succeed, text};
use blockllm::train::RunFolder;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A data folder, an output folder, and the options of a small run with both.
pub struct Place {
    /// C4-shaped shards.
    pub data: TempDir,
    /// Where runs and reports go.
    pub out: TempDir,
}

impl Place {
    /// New ones.
    pub fn new() -> Self {
        Self {
            data: c4_folder(),
            out: tempfile::tempdir().unwrap(),
        }
    }

    /// `words` on this data, into this folder.
    pub fn arguments<'a>(&'a self, words: &'a str) -> Vec<&'a str> {
        let given = ["--data", text(self.data.path()), "--out", text(self.out.path())];
        words.split(' ').chain(given).collect()
    }

    /// The folder of its C4 runs.
    pub fn c4(&self) -> PathBuf {
        self.out.path().join("c4")
    }

    /// Its only run of `adamw`.
    pub fn run(&self) -> PathBuf {
        run_in(&self.c4(), "adamw-0")
    }
}

/// Loss and gradient norm of every step, bit for bit.
pub fn curve_of(run: &Path) -> Vec<[u64; 3]> {
    curve(&RunFolder::new(run).records().unwrap())
}

#[test]
fn fresh_trains_anew_beside_the_old_run_and_later_commands_show_the_new_one() {
    let place = Place::new();
    let words = "c4 --methods adamw --steps 2";
    succeed(place.arguments(words));
    let fresh = place.arguments("c4 --methods adamw --steps 2 --fresh");
    succeed(fresh.iter().copied());
    let runs = runs_in(&place.c4(), "adamw-0");
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(curve_of(&runs[0]), curve_of(&runs[1]));
    let ended = succeed(place.arguments(words));
    let complete = format!("{}: complete", text(&runs[1]));
    assert!(ended.stderr.contains(&complete), "{}", ended.stderr);
    assert_eq!(runs_in(&place.c4(), "adamw-0").len(), 2);
}

#[test]
fn a_run_that_another_process_trains_is_left_alone() {
    let place = Place::new();
    let words = "c4 --methods adamw --steps 2";
    succeed(place.arguments(words));
    let run = place.run();
    fs::remove_file(run.join("result.json")).unwrap();
    let held = fs::File::options()
        .write(true)
        .open(run.join("run.lock"))
        .unwrap();
    held.lock().unwrap();
    refuse(
        &place.arguments(words),
        &[text(&run), "being trained by another process"],
    );
    drop(held);
    succeed(place.arguments(words));
    assert!(run.join("result.json").is_file());
}

#[test]
fn the_model_of_a_complete_run_can_be_saved_later_unless_its_weights_were_not_kept() {
    let place = Place::new();
    let words = "c4 --methods blockllm:0.5 --steps 2";
    succeed(place.arguments(words));
    let ended = succeed(place.arguments(&format!("{words} --save-model")));
    assert!(
        ended
            .stderr
            .contains("its model is made from the weights of step 2"),
        "{}",
        ended.stderr
    );
    let later = run_in(&place.c4(), "blockllm-0.5-0").join("model/model.safetensors");

    let at_once = Place::new();
    succeed(at_once.arguments(&format!("{words} --save-model --keep-weights none")));
    let run = run_in(&at_once.c4(), "blockllm-0.5-0");
    let saved = run.join("model/model.safetensors");
    assert_eq!(fs::read(&later).unwrap(), fs::read(&saved).unwrap());
    assert!(!run.join("checkpoints").exists());
    fs::remove_dir_all(run.join("model")).unwrap();
    refuse(
        &at_once.arguments(&format!("{words} --save-model")),
        &["model is missing", "were not kept", "--fresh"],
    );
}

#[test]
fn a_longer_run_goes_on_from_the_end_of_a_shorter_one_and_says_at_which_rates() {
    let place = Place::new();
    succeed(place.arguments("c4 --methods adamw --steps 2"));
    let ended = succeed(place.arguments("c4 --methods adamw --steps 4 --extend"));
    assert!(
        ended.stderr.contains("going on after step 2, the end of")
            && ended.stderr.contains("longer schedule"),
        "{}",
        ended.stderr
    );
    let runs = runs_in(&place.c4(), "adamw-0");
    let steps: Vec<_> = runs.iter().map(|run| curve_of(run).last().unwrap()[0]).collect();
    assert!(steps.contains(&2) && steps.contains(&4), "{steps:?}");
    let ended = succeed(place.arguments("c4 --methods adamw --steps 4"));
    assert!(ended.stderr.contains("`--extend` goes on"), "{}", ended.stderr);
    assert_eq!(
        runs_in(&place.c4(), "adamw-0").len(),
        3,
        "one from the start is another run"
    );
}

#[test]
fn a_diverged_run_is_marked_and_the_other_methods_are_reported() {
    let place = Place::new();
    let words = "c4 --methods adamw@1e30,adamw --steps 4";
    let ended = refuse(
        &place.arguments(words),
        &["1 of the runs diverged", "`adamw@1e30`"],
    );
    assert!(ended.stdout.contains("| adamw "), "{}", ended.stdout);
    let run = run_in(&place.c4(), "adamw-1e30-0");
    let mark: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("diverged.json")).unwrap()).unwrap();
    let steps = curve_of(&run).iter().filter(|point| point[0] > 0).count() as u64;
    assert_eq!(mark["step"], steps + 1, "{mark}");
    let ids = mark["batches"][0]["input_ids"][0].as_array().unwrap();
    assert!(ids.len() > 1 && ids[0].is_u64(), "{mark}");
    // It is known now: not run again, and no error of this call.
    let ended = succeed(place.arguments(words));
    assert!(
        ended.stderr.contains("diverged before, not run again"),
        "{}",
        ended.stderr
    );
}

#[cfg(unix)]
#[test]
fn a_signal_finishes_the_step_saves_and_prints_the_line_that_goes_on() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        let words = place.arguments("c4 --methods adamw,blockllm:0.5 --steps 40 --checkpoint-every 0");
        let (child, stderr) = super::process::start(&words);
        super::process::wait_for_records(&place.c4(), 3);
        let status = std::process::Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        let ended = super::process::end(child, &stderr);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        for part in [
            format!("stopped by SIG{signal}").as_str(),
            "with a checkpoint",
            "to go on, type",
        ] {
            assert!(
                ended.stderr.contains(part),
                "`{part}` is not in: {}",
                ended.stderr
            );
        }
        let line = ended.stderr.trim_end().lines().last().unwrap().trim();
        let status = std::process::Command::new("sh")
            .args(["-c", line])
            .output()
            .unwrap();
        assert!(status.status.success(), "{line}");
        let undisturbed = Place {
            data: place.data,
            out: tempfile::tempdir().unwrap(),
        };
        succeed(undisturbed.arguments("c4 --methods adamw,blockllm:0.5 --steps 40 --checkpoint-every 0"));
        for name in ["adamw-0", "blockllm-0.5-0"] {
            let (found, expected) = (
                run_in(&place.out.path().join("c4"), name),
                run_in(&undisturbed.c4(), name),
            );
            assert_eq!(curve_of(&found), curve_of(&expected), "{name}");
        }
    }
}
