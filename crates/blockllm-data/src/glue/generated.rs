//! A generated stand-in for a task: small, learnable, and good for nothing but showing that everything runs.
use super::data::Tests;
use super::{GlueData, GlueExample, GlueLabel, GlueTask};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Rows of the generated splits.
const TRAIN: usize = 768;
const VALIDATION: usize = 192;
const TEST: usize = 64;

/// Words that say nothing about the label.
const FILLER: [&str; 12] = [
    "the", "a", "table", "river", "walked", "slowly", "under", "seven", "stones", "and", "over", "green",
];
/// Words of each class; a score counts the words of the first.
const TELLING: [[&str; 4]; 3] = [
    ["bright", "kind", "warm", "clear"],
    ["dull", "cruel", "cold", "murky"],
    ["maybe", "perhaps", "unsure", "either"],
];
const WORDS: usize = 10;

impl GlueData {
    /// A stand-in with the form of `task` (one sentence or two, its labels), drawn from `seed`.
    ///
    /// What it measures is not GLUE: every word of the last sentence that is no filler tells the label. Whoever shows
    /// a figure of it must say so.
    pub fn generated(task: GlueTask, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut split = |rows, labelled| {
            (0..rows)
                .map(|index| example(task, index, labelled, &mut random))
                .collect::<Vec<_>>()
        };
        let is_mnli = task == GlueTask::Mnli;
        let has_train = task != GlueTask::Ax;
        Self {
            task,
            train: split(if has_train { TRAIN } else { 0 }, true),
            validation: split(if has_train { VALIDATION } else { 0 }, true),
            validation_mismatched: split(if is_mnli { VALIDATION } else { 0 }, true),
            left_out: 0,
            tests: Tests::Rows([split(TEST, false), split(if is_mnli { TEST } else { 0 }, false)]),
        }
    }
}

fn example(task: GlueTask, index: usize, labelled: bool, random: &mut ChaCha8Rng) -> GlueExample {
    let (class, telling) = if task.is_regression() {
        (0, below(random, 6))
    } else {
        (below(random, task.num_labels()), 2 + below(random, 3))
    };
    let label = if task.is_regression() {
        GlueLabel::Score(f32::from(u8::try_from(telling).unwrap_or(0)))
    } else {
        GlueLabel::Class(class)
    };
    let last = sentence(&TELLING[class], telling, random);
    let (sentence, pair) = if task.is_pair() {
        (sentence(&FILLER[..4], 3, random), Some(last))
    } else {
        (last, None)
    };
    GlueExample {
        sentence,
        pair,
        label: labelled.then_some(label),
        index,
    }
}

/// `telling` of `words` among filler, in any order.
fn sentence(words: &[&str], telling: usize, random: &mut ChaCha8Rng) -> String {
    let mut sentence: Vec<&str> = (0..WORDS)
        .map(|place| {
            let from = if place < telling { words } else { &FILLER };
            from[below(random, from.len())]
        })
        .collect();
    for last in (1..WORDS).rev() {
        sentence.swap(last, below(random, last + 1));
    }
    sentence.join(" ")
}

fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    let bound = bound as u64;
    usize::try_from(random.next_u64() % bound).expect("it is below a usize")
}
