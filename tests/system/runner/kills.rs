//! Runs of several methods that are killed at random moments, in the middle of saves too, and taken up again: nothing may
//! differ from an undisturbed run. `tests/kill-and-resume.sh ROUNDS` makes as many rounds as it is told.
use super::folders::run_in;
use super::process::succeed;
use super::promises::curve_of;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Rounds of an ordinary test.
const ROUNDS: usize = 20;
/// Kills of a run before it is let through.
const KILLS: usize = 3;
const METHODS: [(&str, &str); 6] = [
    ("blockllm:0.9+state=int8", "blockllm-0.9-state-int8-0"),
    ("adamw", "adamw-0"),
    ("blockllm:0.9", "blockllm-0.9-0"),
    ("lora:2", "lora-2-0"),
    ("galore:4", "galore-4-0"),
    ("badam:1", "badam-1-0"),
];

fn words<'a>(method: &'a str, out: &'a str) -> Vec<&'a str> {
    let words = "glue --tasks MRPC --steps 24 --checkpoint-every 2 --methods";
    words.split(' ').chain([method, "--out", out]).collect()
}

/// Small numbers that look random; the seed is told when a round fails.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What a complete run is remembered by.
#[derive(Debug, PartialEq)]
struct Left {
    curve: Vec<[u64; 3]>,
    weights: Vec<u8>,
    last: serde_json::Value,
}

fn left(run: &Path) -> Left {
    let result: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("result.json")).unwrap()).unwrap();
    Left {
        curve: curve_of(run),
        weights: fs::read(run.join("checkpoints/step-24/model.safetensors")).unwrap(),
        last: result["last"].clone(),
    }
}

fn run_of(out: &Path, name: &str) -> PathBuf {
    run_in(&out.join("glue/MRPC"), name)
}

/// Starts the run and kills it: after some time, or while a checkpoint is being written. False when it was complete first.
fn kill_once(words: &[&str], out: &Path, longest: Duration, random: &mut Random) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_runner-under-test"))
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let in_a_save = random.below(2) == 0;
    let after = Duration::from_millis(random.below(longest.as_millis() as u64 + 1));
    let is_saving = || {
        let runs = fs::read_dir(out.join("glue/MRPC"))
            .into_iter()
            .flatten()
            .flatten();
        runs.map(|run| run.path().join("checkpoints/unfinished"))
            .any(|unfinished| unfinished.exists())
    };
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() >= after && (!in_a_save || is_saving()) {
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_micros(random.below(8000)));
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

#[test]
fn runs_that_are_killed_at_random_moments_end_as_if_they_never_were() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("BLOCKLLM_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let seed = number("BLOCKLLM_KILL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos())
    });
    let mut random = Random(seed);
    let whole = tempfile::tempdir().unwrap();
    let mut undisturbed = Vec::new();
    // How long each method takes by itself: a kill that comes later than that is none.
    let mut durations = Vec::new();
    for (method, name) in METHODS.iter().take(rounds) {
        let started = Instant::now();
        succeed(words(method, whole.path().to_str().unwrap()));
        durations.push(started.elapsed());
        undisturbed.push(left(&run_of(whole.path(), name)));
    }
    let mut killed = 0;
    for round in 0..rounds {
        let (method, name) = METHODS[round % METHODS.len()];
        let out = tempfile::tempdir().unwrap();
        let words = words(method, out.path().to_str().unwrap());
        for _ in 0..KILLS {
            if !kill_once(&words, out.path(), durations[round % METHODS.len()], &mut random) {
                break;
            }
            killed += 1;
        }
        succeed(words.iter().copied());
        assert!(
            left(&run_of(out.path(), name)) == undisturbed[round % METHODS.len()],
            "round {round} of `{method}` differs (BLOCKLLM_KILL_SEED={seed})"
        );
    }
    println!("{rounds} runs, {killed} kills, none differs from an undisturbed run");
    // Kills come at random, so some runs are complete before theirs; a test that kills hardly any shows nothing.
    assert!(
        2 * killed >= rounds,
        "only {killed} kills in {rounds} rounds (BLOCKLLM_KILL_SEED={seed})"
    );
}
