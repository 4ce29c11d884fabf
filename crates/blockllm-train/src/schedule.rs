//! Learning-rate schedules: linear warmup, then cosine, linear or constant.
use crate::TrainError;
use serde::{Deserialize, Serialize};

/// How the rate goes on after the warmup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Half a cosine down to the final share.
    #[default]
    Cosine,
    /// A line down to the final share, which it would reach one step behind the last.
    Linear,
    /// The peak rate to the end.
    Constant,
}

/// A schedule over a run of known length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// What follows the warmup.
    pub kind: ScheduleKind,
    /// Steps of the run over which the rate rises linearly, as a share of all steps in `[0, 1)`: step `s` of `W` has
    /// `s / W` of the peak. transformers has `(s - 1) / W`, whose first step changes nothing.
    pub warmup: f64,
    /// The rate at the last step as a share of the peak, in `[0, 1]`; not used by `constant`.
    pub final_share: f64,
}

impl Default for Schedule {
    /// `GaLore`'s: 10 % warmup, cosine down to 10 %.
    fn default() -> Self {
        Self {
            kind: ScheduleKind::Cosine,
            warmup: 0.1,
            final_share: 0.1,
        }
    }
}

impl Schedule {
    /// The rate of optimizer step `step` (from 1) of `steps`, as a share of the peak rate.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let warmup = (self.warmup * steps as f64).round();
        let step = step as f64;
        if step <= warmup {
            return step / warmup;
        }
        let rest = (steps as f64 - warmup).max(1.0);
        let progress = (step - warmup) / rest;
        let falling = match self.kind {
            ScheduleKind::Constant => return 1.0,
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            // The line ends one step behind the last, as transformers has it: at a final share of 0 that one trains too.
            ScheduleKind::Linear => 1.0 - progress + 1.0 / rest,
        };
        self.final_share + (1.0 - self.final_share) * falling
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// When a share is outside its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse = |field, value: f64, mend: &str| {
            Err(TrainError::Setting {
                field,
                value: value.to_string(),
                mend: mend.to_owned(),
            })
        };
        if !(0.0..1.0).contains(&self.warmup) {
            return refuse(
                "schedule.warmup",
                self.warmup,
                "use a share of the steps in [0, 1)",
            );
        }
        if !(0.0..=1.0).contains(&self.final_share) {
            return refuse(
                "schedule.final_share",
                self.final_share,
                "use a share of the peak rate in [0, 1]",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule {
            kind,
            ..Schedule::default()
        }
    }

    #[test]
    fn warmup_rises_to_the_peak_and_the_rate_ends_at_the_final_share() {
        for kind in [ScheduleKind::Cosine, ScheduleKind::Linear] {
            let schedule = schedule(kind);
            assert!((schedule.factor(1, 100) - 0.1).abs() < 1e-12);
            assert!((schedule.factor(10, 100) - 1.0).abs() < 1e-12);
        }
        assert!((schedule(ScheduleKind::Cosine).factor(100, 100) - 0.1).abs() < 1e-12);
        assert!((schedule(ScheduleKind::Cosine).factor(55, 100) - 0.55).abs() < 1e-12);
    }

    #[test]
    fn a_line_reaches_the_final_share_one_step_behind_the_last() {
        let linear = schedule(ScheduleKind::Linear);
        assert!((linear.factor(11, 100) - 1.0).abs() < 1e-12);
        assert!((linear.factor(56, 100) - 0.55).abs() < 1e-12);
        assert!((linear.factor(100, 100) - 0.11).abs() < 1e-12);
    }

    #[test]
    fn a_constant_schedule_stays_at_the_peak_after_the_warmup() {
        let schedule = schedule(ScheduleKind::Constant);
        assert!((schedule.factor(11, 100) - 1.0).abs() < 1e-12);
        assert!((schedule.factor(100, 100) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_warmup_the_first_step_is_near_the_peak() {
        let schedule = Schedule {
            warmup: 0.0,
            ..Schedule::default()
        };
        assert!(schedule.factor(1, 1000) > 0.999);
    }
}
