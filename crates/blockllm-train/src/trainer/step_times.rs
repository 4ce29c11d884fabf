//! The wall times of a run's steps, in a memory that does not grow with them.
use serde::{Deserialize, Serialize};

/// Times that are kept to find the median of.
const KEPT: usize = 4096;

/// How long steps took, in milliseconds: their sum, and every so many of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepTimes {
    steps: u64,
    sum: f64,
    /// One step in so many is kept.
    every: u64,
    kept: Vec<f64>,
}

impl Default for StepTimes {
    fn default() -> Self {
        Self {
            steps: 0,
            sum: 0.0,
            every: 1,
            kept: Vec::new(),
        }
    }
}

impl StepTimes {
    pub fn add(&mut self, ms: f64) {
        self.sum += ms;
        if self.steps.is_multiple_of(self.every) {
            self.kept.push(ms);
        }
        self.steps += 1;
        if self.kept.len() == KEPT {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// The sum of all.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The median of those that were kept, which are evenly spread; 0 before the first step.
    pub fn median(&self) -> f64 {
        let mut kept = self.kept.clone();
        kept.sort_by(f64::total_cmp);
        kept.get(kept.len() / 2).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_exact_and_the_median_near_however_many_steps_there_are() {
        let mut times = StepTimes::default();
        assert!(times.median().abs() < f64::EPSILON);
        for step in 0..1_000_000_u32 {
            times.add(f64::from(step % 1_001));
        }
        assert!((times.sum() - 499_999.0 * 1_001.0 / 1.001).abs() / times.sum() < 1e-3);
        assert!((times.median() - 500.0).abs() < 25.0, "{}", times.median());
        assert!(times.kept.len() < KEPT);
    }

    #[test]
    fn few_steps_are_all_kept() {
        let mut times = StepTimes::default();
        for ms in [9.0, 1.0, 5.0] {
            times.add(ms);
        }
        assert!((times.median() - 5.0).abs() < f64::EPSILON && (times.sum() - 15.0).abs() < f64::EPSILON);
    }
}
