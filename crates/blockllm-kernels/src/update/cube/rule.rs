//! An update rule inside a GPU kernel: one entry's step, and the numbers and choices that it is made with.

use cubecl::prelude::*;

use super::super::FusedRule;
use crate::dropout::cube::rounded_by_chance;

/// The rule, as the kernel is compiled for it.
#[derive(CubeType, Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Kind {
    AdamW,
    Sgd,
    Lion,
    Sign,
}

impl Kind {
    pub fn of(rule: FusedRule) -> Self {
        match rule {
            FusedRule::AdamW { .. } => Self::AdamW,
            FusedRule::Sgd { .. } => Self::Sgd,
            FusedRule::Lion { .. } => Self::Lion,
            FusedRule::Sign => Self::Sign,
        }
    }

    /// Arrays of state.
    pub fn arrays(self) -> usize {
        match self {
            Self::AdamW => 2,
            Self::Sgd | Self::Lion => 1,
            Self::Sign => 0,
        }
    }
}

/// Of what the kernel has to take notice.
#[allow(
    clippy::struct_excessive_bools,
    reason = "questions that are asked independently of each other"
)]
#[derive(CubeType, Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Form {
    pub marked: bool,
    pub compact: bool,
    pub master: bool,
    pub clipped: bool,
    pub by_chance: bool,
}

#[cube]
pub fn sign(value: f32) -> f32 {
    let mut result = 0.0f32;
    if value > 0.0f32 {
        result = 1.0f32;
    }
    if value < 0.0f32 {
        result = -1.0f32;
    }
    result
}

/// What a rule is computed with.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Numbers {
    keep_1: f32,
    share_1: f32,
    keep_2: f32,
    share_2: f32,
    correction: f32,
    epsilon: f32,
    scale: f32,
    decay: f32,
    first_key: u32,
    second_key: u32,
}

/// An entry's weight in f32 and its state.
#[derive(CubeType, Clone, Copy)]
pub struct Entry {
    pub weight: f32,
    pub first: f32,
    pub second: f32,
}

/// The entry after a step of the rule with gradient `g`.
#[cube]
pub fn stepped(entry: &Entry, g: f32, numbers: &Numbers, #[comptime] kind: Kind) -> Entry {
    let mut first = entry.first;
    let mut second = entry.second;
    let mut direction = sign(g);
    match kind {
        Kind::AdamW => {
            first = first * numbers.keep_1 + g * numbers.share_1;
            second = second * numbers.keep_2 + g * g * numbers.share_2;
            direction = first / (second.sqrt() / numbers.correction + numbers.epsilon);
        }
        Kind::Sgd => {
            first = first * numbers.keep_1 + g;
            direction = first;
        }
        Kind::Lion => {
            direction = sign(first * numbers.keep_1 + g * numbers.share_1);
            first = first * numbers.keep_2 + g * numbers.share_2;
        }
        Kind::Sign => {}
    }
    let weight = entry.weight + (direction * numbers.scale - entry.weight * numbers.decay);
    Entry {
        weight,
        first,
        second,
    }
}

/// `weight`, rounded by chance where that is asked for.
#[cube]
pub fn rounded(weight: f32, place: usize, numbers: &Numbers, #[comptime] by_chance: bool) -> f32 {
    let mut result = weight;
    if comptime!(by_chance) {
        result = rounded_by_chance(weight, place as u32, numbers.first_key, numbers.second_key);
    }
    result
}

/// [`Numbers`] for a kernel that is only compiled.
pub fn no_numbers() -> NumbersCompilationArg {
    NumbersCompilationArg {
        keep_1: (),
        share_1: (),
        keep_2: (),
        share_2: (),
        correction: (),
        epsilon: (),
        scale: (),
        decay: (),
        first_key: (),
        second_key: (),
    }
}
