//! Runs of several methods that are killed at random moments, in the middle of saves of checkpoints and models too, and taken
//! up again: nothing may differ from an undisturbed run. `tests/kill-and-resume.sh ROUNDS` makes as many rounds as it is
//! told; `many_kills` kills a smaller thing more often.
use super::folders::run_in;
use super::process::succeed;
use super::promises::curve_of;
use crate::killing::{Fallen, Prey, Random, kill_once};
use crate::training::examples_of_kinds;
use blockllm_train::Method;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Rounds of an ordinary test.
const ROUNDS: usize = 40;
/// Kills of a run before it is let through, at most.
const KILLS: u64 = 3;
/// Runs that may be complete before their first kill, in a round.
const TRIES: usize = 20;

/// What is killed, by its name on the command line and that of its folder: methods of every kind, and moments that are codes.
fn methods() -> Vec<(String, String)> {
    let coded = "blockllm:0.9+state=int8".to_owned();
    let named = |method: String| {
        let folder = Method::parse(&method).unwrap().folder_name(0);
        (method, folder)
    };
    let methods = [coded].into_iter().chain(examples_of_kinds());
    methods.map(named).collect()
}

fn words<'a>(method: &'a str, out: &'a str) -> Vec<&'a str> {
    let words = "glue --tasks MRPC --steps 24 --checkpoint-every 2 --save-model --methods";
    words.split(' ').chain([method, "--out", out]).collect()
}

/// What a complete run is remembered by.
#[derive(Debug, PartialEq)]
struct Left {
    curve: Vec<[u64; 3]>,
    weights: Vec<u8>,
    model: Vec<u8>,
    last: serde_json::Value,
}

fn left(run: &Path) -> Left {
    let result: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("result.json")).unwrap()).unwrap();
    Left {
        curve: curve_of(run),
        weights: fs::read(run.join("checkpoints/step-24/model.safetensors")).unwrap(),
        model: fs::read(run.join("model/model.safetensors")).unwrap(),
        last: result["last"].clone(),
    }
}

fn run_of(out: &Path, name: &str) -> PathBuf {
    run_in(&out.join("glue/MRPC"), name)
}

/// Starts the run and kills it: after some time, or while a checkpoint or the model is being written; or finds it complete.
fn kill_a_run(words: &[&str], out: &Path, longest: Duration, random: &mut Random) -> Fallen {
    let child = Command::new(env!("CARGO_BIN_EXE_runner-under-test"))
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_saving = || {
        let runs = fs::read_dir(out.join("glue/MRPC"))
            .into_iter()
            .flatten()
            .flatten();
        runs.map(|run| run.path())
            .any(|run| run.join("checkpoints/unfinished").exists() || run.join(".unfinished-model").exists())
    };
    let prey = Prey {
        child,
        name: words.join(" "),
        longest,
        late: Duration::from_millis(8),
        is_saving: &is_saving,
    };
    kill_once(prey, random)
}

/// How many kills there were, and how many of them in a save.
#[derive(Default)]
struct Kills {
    all: AtomicUsize,
    in_saves: AtomicUsize,
}

/// Kills one run at least once, lets it through, and gives what it left.
fn round(method: &str, name: &str, longest: Duration, mut random: Random, kills: &Kills) -> Left {
    for _ in 0..TRIES {
        let out = tempfile::tempdir().unwrap();
        let words = words(method, out.path().to_str().unwrap());
        let mut killed = 0;
        for _ in 0..=random.below(KILLS) {
            let fallen = kill_a_run(&words, out.path(), longest, &mut random);
            if fallen == Fallen::Nowhere {
                break;
            }
            killed += 1;
            kills
                .in_saves
                .fetch_add(usize::from(fallen == Fallen::InASave), Ordering::Relaxed);
        }
        // One that was complete before its first kill shows nothing.
        if killed > 0 {
            kills.all.fetch_add(killed, Ordering::Relaxed);
            succeed(words.iter().copied());
            return left(&run_of(out.path(), name));
        }
    }
    panic!("{TRIES} runs of `{method}` were all complete before they could be killed");
}

#[test]
fn runs_that_are_killed_at_random_moments_end_as_if_they_never_were() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("BLOCKLLM_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let seed = number("BLOCKLLM_KILL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos())
    });
    let began = Instant::now();
    let whole = tempfile::tempdir().unwrap();
    let methods = methods();
    let mut undisturbed = Vec::new();
    // How long each method takes by itself: a kill that comes later than that is none.
    let mut durations = Vec::new();
    for (method, name) in methods.iter().take(rounds) {
        let started = Instant::now();
        succeed(words(method, whole.path().to_str().unwrap()));
        durations.push(started.elapsed());
        undisturbed.push(left(&run_of(whole.path(), name)));
    }
    let (next, kills) = (AtomicUsize::new(0), Kills::default());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= rounds {
                break;
            }
            let of = number % methods.len();
            let (method, name) = &methods[of];
            let found = round(method, name, durations[of], Random::of(seed, number), &kills);
            assert!(
                found == undisturbed[of],
                "round {number} of `{method}` differs (BLOCKLLM_KILL_SEED={seed})"
            );
        }
    };
    // Two at a time, so that runs are slower and faster than by themselves.
    std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(work));
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let (all, in_saves) = (kills.all.into_inner(), kills.in_saves.into_inner());
    println!(
        "{rounds} runs, {all} kills, {in_saves} of them in a save, none differs from an undisturbed run, {} s",
        began.elapsed().as_secs()
    );
    assert!(
        all >= rounds,
        "only {all} kills in {rounds} rounds (BLOCKLLM_KILL_SEED={seed})"
    );
}
