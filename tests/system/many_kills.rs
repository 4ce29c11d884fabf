//! Hundreds of kills: a trainer so small that a run of it takes a moment, killed at random moments, in the middle of its
//! saves too, and taken up again, ends as one that was never disturbed.
use crate::killing::{Fallen, Prey, Random, kill_once};
use crate::resumption::{KINDS, STEPS, model_of, run, told};
use blockllm::model::hf::{SaveOptions, save_pretrained_with};
use blockllm_experiments::recorded_run::write_whole;
use burn::module::Module;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells a child which run it is to make: the number of its kind, a space, its folder.
const CHILD: &str = "BLOCKLLM_KILLED_CHILD";
/// Kills of the whole test.
const KILLS: usize = 240;
/// Kills of a run before it is let through.
const KILLS_OF_A_RUN: usize = 5;
/// The kinds of state that differ most; `resumption` resumes all of them.
const KILLED: usize = 8;

/// What is killed: this very test, started anew with a folder to train in.
#[test]
fn a_child_that_is_to_be_killed_trains_and_saves_its_model_in_shards() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (kind, folder) = told.split_once(' ').unwrap();
    let (kind, folder) = (&KINDS[kind.parse::<usize>().unwrap()], Path::new(folder));
    let trained = run(folder, kind, 2, STEPS).unwrap();
    write_whole(&folder.join("model"), |dir| {
        let options = SaveOptions {
            max_shard_bytes: 16 << 10,
            ..SaveOptions::default()
        };
        save_pretrained_with(&trained.model.valid(), &model_of(kind), dir, &options)?;
        Ok(())
    })
    .unwrap();
}

fn start(kind: usize, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "many_kills::a_child_that_is_to_be_killed_trains_and_saves_its_model_in_shards",
        ])
        .env(CHILD, format!("{kind} {}", folder.to_str().unwrap()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// All that a complete run leaves: its curve, and every file of its last checkpoint and its model.
fn left(folder: &Path) -> (Vec<String>, BTreeMap<String, Vec<u8>>) {
    let mut files = BTreeMap::new();
    for parent in [
        folder.join("model"),
        folder.join(format!("checkpoints/step-{STEPS}")),
    ] {
        for entry in fs::read_dir(&parent).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // Of the state, clocks differ, and with it what the manifest says of it.
            if !["state.json", "manifest.json"].contains(&name) {
                files.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    (told(folder), files)
}

/// Kills a run after some time, or while a checkpoint or the model is being written; or finds it complete.
fn kill_a_run(kind: usize, folder: &Path, longest: Duration, random: &mut Random) -> Fallen {
    let is_saving =
        || folder.join("checkpoints/unfinished").exists() || folder.join(".unfinished-model").exists();
    let prey = Prey {
        child: start(kind, folder),
        name: format!("{:?}", KINDS[kind]),
        longest,
        late: Duration::from_millis(2),
        is_saving: &is_saving,
    };
    kill_once(prey, random)
}

#[test]
fn hundreds_of_kills_change_no_bit_of_what_is_trained() {
    let began = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = u64::from(now.subsec_nanos());
    let mut random = Random(seed);
    let undisturbed: Vec<_> = (0..KILLED)
        .map(|kind| {
            let folder = tempfile::tempdir().unwrap();
            let started = Instant::now();
            assert!(
                start(kind, folder.path()).wait().unwrap().success(),
                "{:?}",
                KINDS[kind]
            );
            (left(folder.path()), started.elapsed())
        })
        .collect();
    let shards = undisturbed[0].0.1.keys().filter(|name| name.contains("-of-"));
    assert!(shards.count() > 2, "the model is saved in several shards");
    let (mut kills, mut in_saves, mut runs) = (0, 0, 0);
    while kills < KILLS && runs < 4 * KILLS {
        let kind = runs % KILLED;
        let (expected, duration) = &undisturbed[kind];
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..KILLS_OF_A_RUN {
            let fallen = kill_a_run(kind, folder.path(), *duration, &mut random);
            if fallen == Fallen::Nowhere {
                break;
            }
            kills += 1;
            in_saves += usize::from(fallen == Fallen::InASave);
        }
        assert!(start(kind, folder.path()).wait().unwrap().success());
        let found = left(folder.path());
        let method = &KINDS[kind].method;
        assert_eq!(found.0, expected.0, "run {runs} of `{method}` (seed {seed})");
        assert!(found.1 == expected.1, "run {runs} of `{method}` (seed {seed})");
        runs += 1;
    }
    println!(
        "{kills} kills of {runs} runs, {in_saves} of them in a save, in {} s",
        began.elapsed().as_secs()
    );
    assert!(
        kills >= KILLS && in_saves >= KILLS / 8,
        "{kills} kills, {in_saves} in saves"
    );
}
