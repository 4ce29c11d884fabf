//! The evaluations of a run that matter at its end: before training, the last, the best.
use crate::{EvaluationRecord, Objective};
use serde::{Deserialize, Serialize};

/// What a run's evaluations have shown so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Course {
    /// Before training.
    pub untrained: EvaluationRecord,
    /// The last one.
    pub last: EvaluationRecord,
    /// The best one after training began.
    pub best: Option<EvaluationRecord>,
    /// How many evaluations the best one is ago.
    pub since_best: u64,
}

impl Course {
    pub(crate) fn new(untrained: EvaluationRecord) -> Self {
        Self {
            last: untrained.clone(),
            untrained,
            best: None,
            since_best: 0,
        }
    }

    /// The step of the best evaluation.
    pub(crate) fn best_step(&self) -> Option<u64> {
        self.best.as_ref().map(|best| best.step)
    }

    /// Whether the run ends before its last step.
    pub(crate) fn stops_early(&self, stop_after: u64) -> bool {
        stop_after > 0 && self.since_best >= stop_after
    }

    /// Takes the next evaluation; of equal ones the first stays the best.
    pub(crate) fn add<O: Objective>(&mut self, objective: &O, evaluation: EvaluationRecord) {
        let score = |record: &EvaluationRecord| objective.score(&record.evaluation);
        if self
            .best
            .as_ref()
            .is_none_or(|best| score(&evaluation) > score(best))
        {
            self.best = Some(evaluation.clone());
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
        self.last = evaluation;
    }
}
