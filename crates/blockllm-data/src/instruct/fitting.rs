//! Examples as long as a row at most, and the count of those that were not.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::encoder::{EncodedInstruction, EncodingConfig, LossOn, TooLong};

/// What became of examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FittingCounts {
    /// Examples that are used, cut ones among them.
    pub used: u64,
    /// Examples that were cut to the length of a row.
    pub cut: u64,
    /// Examples that were left out for their length.
    pub too_long: u64,
    /// Examples that were left out since they have nothing to learn, be it for a cut.
    pub without_answer: u64,
}

impl AddAssign for FittingCounts {
    fn add_assign(&mut self, other: Self) {
        self.used += other.used;
        self.cut += other.cut;
        self.too_long += other.too_long;
        self.without_answer += other.without_answer;
    }
}

impl fmt::Display for FittingCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            used,
            cut,
            too_long,
            without_answer,
        } = self;
        write!(
            formatter,
            "{used} examples, {cut} of them cut; left out: {too_long} too long, {without_answer} without an answer"
        )
    }
}

/// The example as `config` wants it, or `None` where it is left out; counted.
pub fn fitted(
    mut example: EncodedInstruction,
    config: &EncodingConfig,
    counts: &mut FittingCounts,
) -> Option<EncodedInstruction> {
    if config.loss_on == LossOn::All {
        example.learned.fill(true);
    }
    let is_long = example.input_ids.len() > config.max_tokens;
    if is_long && config.too_long == TooLong::Drop {
        counts.too_long += 1;
        return None;
    }
    example.input_ids.truncate(config.max_tokens);
    example.learned.truncate(config.max_tokens);
    if !example.teaches() {
        counts.without_answer += 1;
        return None;
    }
    counts.used += 1;
    counts.cut += u64::from(is_long);
    Some(example)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts_of(
        example: &EncodedInstruction,
        max_tokens: usize,
        too_long: TooLong,
        loss_on: LossOn,
    ) -> (Option<usize>, [u64; 4]) {
        let mut counts = FittingCounts::default();
        let config = EncodingConfig {
            max_tokens,
            too_long,
            loss_on,
        };
        let kept = fitted(example.clone(), &config, &mut counts).map(|kept| kept.input_ids.len());
        (
            kept,
            [counts.used, counts.cut, counts.too_long, counts.without_answer],
        )
    }

    #[test]
    fn long_examples_are_cut_or_dropped_and_every_one_is_counted_once() {
        let example = EncodedInstruction {
            input_ids: vec![1, 2, 3, 4, 5],
            learned: vec![false, false, false, true, true],
        };
        assert_eq!(example.labels().collect::<Vec<_>>(), [-100, -100, 4, 5, -100]);
        let of = |max, too_long| counts_of(&example, max, too_long, LossOn::Answers);
        assert_eq!(of(5, TooLong::Drop), (Some(5), [1, 0, 0, 0]));
        assert_eq!(of(4, TooLong::Cut), (Some(4), [1, 1, 0, 0]));
        assert_eq!(of(4, TooLong::Drop), (None, [0, 0, 1, 0]));
        assert_eq!(of(3, TooLong::Cut), (None, [0, 0, 0, 1]));
        assert_eq!(
            counts_of(&example, 3, TooLong::Cut, LossOn::All),
            (Some(3), [1, 1, 0, 0])
        );
        assert_eq!(
            counts_of(&example, 0, TooLong::Cut, LossOn::All),
            (None, [0, 0, 0, 1])
        );
    }
}
