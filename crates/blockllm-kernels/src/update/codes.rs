//! 8-bit codes of state arrays: 256 entries share a scale, four codes a 32-bit word.
//!
//! A signed array is coded as the sign and the square root of its magnitude in 127 steps about 128; code 0 is free there,
//! and stands for [`EXCLUDED`](super::EXCLUDED). An array without negative numbers is coded as its fourth root in 255 steps,
//! and what is above zero never becomes zero. Magnitudes are relative to the largest of their block, its scale.

/// Entries that share a scale.
pub const CODE_BLOCK: usize = 256;

/// 32-bit words of a block: word `w` has the codes of its entries `w`, `w + 64`, `w + 128` and `w + 192`, from its lowest
/// byte on, since not every backend has 8-bit integers.
pub const CODE_WORDS: usize = CODE_BLOCK / 4;

/// The least scale: a smaller one would be flushed to zero by some devices, and divide by it.
pub const SMALLEST_SCALE: f32 = 1e-30;

/// Blocks that `len` entries take; the last one is filled up with zeros.
pub const fn code_blocks(len: usize) -> usize {
    len.div_ceil(CODE_BLOCK)
}

/// How an array is coded again after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coding {
    /// Whether it holds no negative number.
    pub non_negative: bool,
    /// Whether some of its entries may be [`EXCLUDED`](super::EXCLUDED).
    pub excluding: bool,
    /// What is added to a magnitude in codes before its fraction is cut off, in `(0, 1)`; one half rounds to the nearest.
    pub offset: f32,
}

impl Coding {
    /// Kept from 0 and 1, so that a quotient that a device makes a little less than one still gets the last code.
    const MARGIN: f64 = 1.0 / 4096.0;

    /// To the nearest code: for values that are stored once.
    pub fn nearest(non_negative: bool) -> Self {
        Self {
            non_negative,
            excluding: false,
            offset: 0.5,
        }
    }

    /// For values that are stored anew at every step. What a moment loses in a step is less than half a code, so
    /// rounded to the nearest it would never fall: the moment of a gradient that has ceased would go on moving its
    /// weight. Offsets that go round evenly with the steps (the golden ratio's multiples) keep the mean exact, cost
    /// nothing, need no random numbers, and a resumed run finds them from its step.
    pub fn of_step(non_negative: bool, step: u64, array: usize) -> Self {
        let golden = (5.0f64.sqrt() - 1.0) / 2.0;
        // Half a turn between arrays: the first moment is not rounded up whenever the second is.
        let turn = (step as f64 * golden + array as f64 * 0.5).fract();
        Self {
            non_negative,
            excluding: false,
            offset: (Self::MARGIN + turn * (1.0 - 2.0 * Self::MARGIN)) as f32,
        }
    }

    /// The same for an array some entries of which may be [`EXCLUDED`](super::EXCLUDED).
    #[must_use]
    pub fn with_excluded(mut self, excluding: bool) -> Self {
        self.excluding = excluding;
        self
    }

    /// Whether its fourth root is coded rather than sign and square root. Where entries may be excluded none is: only a signed array
    /// has a code to spare.
    pub fn is_of_fourth_roots(self) -> bool {
        self.non_negative && !self.excluding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_exclude_entries_and_then_may_not_codes_as_before() {
        for non_negative in [false, true] {
            let coding = Coding::nearest(non_negative);
            let excluding = coding.with_excluded(true);
            assert!(!excluding.is_of_fourth_roots());
            assert_eq!(excluding.with_excluded(false), coding);
            assert_eq!(coding.is_of_fourth_roots(), non_negative);
        }
    }
}
