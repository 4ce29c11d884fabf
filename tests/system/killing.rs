//! Killing a child at a random moment, in the middle of its saves too.
use std::process::Child;
use std::time::{Duration, Instant};

/// Small numbers that look random; the seed is told when a round fails.
pub struct Random(pub u64);

impl Random {
    /// That of a round, whatever order the rounds are made in.
    pub fn of(seed: u64, round: usize) -> Self {
        let mut random = Self(seed ^ (round as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.below(1);
        random
    }

    /// A number below `end`, or zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

/// Where a kill has fallen.
#[derive(PartialEq)]
pub enum Fallen {
    Nowhere,
    InTraining,
    InASave,
}

/// What is killed, and when.
pub struct Prey<'a> {
    /// The process.
    pub child: Child,
    /// Its kind, for the message when it fails by itself.
    pub name: String,
    /// How long it may be let run.
    pub longest: Duration,
    /// How long a kill may come after its moment.
    pub late: Duration,
    /// Whether a checkpoint or a model is being written.
    pub is_saving: &'a dyn Fn() -> bool,
}

/// Kills it after some time, or in half of all cases while something is being written; or finds it complete.
pub fn kill_once(prey: Prey<'_>, random: &mut Random) -> Fallen {
    let Prey {
        mut child,
        name,
        longest,
        late,
        is_saving,
    } = prey;
    let started = Instant::now();
    let waits_for_a_save = random.below(2) == 0;
    let after = Duration::from_micros(random.below(longest.as_micros() as u64));
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() >= after && (!waits_for_a_save || is_saving()) {
            break;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    std::thread::sleep(Duration::from_micros(random.below(late.as_micros() as u64)));
    let saving = is_saving();
    child.kill().unwrap();
    match child.wait().unwrap().code() {
        Some(code) => {
            assert_eq!(code, 0, "{name} failed by itself");
            Fallen::Nowhere
        }
        None if saving => Fallen::InASave,
        None => Fallen::InTraining,
    }
}
