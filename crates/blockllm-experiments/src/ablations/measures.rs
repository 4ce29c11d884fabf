//! By what the ablations judge a run: perplexity or a task's own metrics, and the losses.
use crate::glue;
use crate::outcome::CompleteRun;
use crate::report::format::{loss, perplexity};
use crate::summary::final_training_loss;
use blockllm_data::glue::GlueTask;
use blockllm_train::{Evaluation, Record};

/// A run and all that it told.
#[derive(Debug)]
pub(super) struct MeasuredRun<'a> {
    pub run: &'a CompleteRun,
    pub records: Vec<Record>,
}

/// A figure of a run, at the end of its training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Over the validation text, weighted by tokens.
    Perplexity,
    /// A metric of a task over its validation rows, in hundredths: the higher the better.
    Metric(&'static str),
    /// Over the validation rows.
    ValidationLoss,
    /// Over the last steps.
    TrainingLoss,
}

impl Measure {
    /// Those of a pretraining.
    pub const OF_PRETRAINING: [Self; 2] = [Self::Perplexity, Self::TrainingLoss];

    /// Those of a fine-tuning on `task`, its main metric first.
    pub fn of_task(task: GlueTask) -> Vec<Self> {
        let metrics = task.metrics().iter();
        let metrics = metrics.map(|metric| Self::Metric(metric.name()));
        metrics
            .chain([Self::ValidationLoss, Self::TrainingLoss])
            .collect()
    }

    /// Whether more of it is better.
    pub fn rises(self) -> bool {
        matches!(self, Self::Metric(_))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Perplexity => "validation perplexity",
            Self::Metric(name) => name,
            Self::ValidationLoss => "validation loss",
            Self::TrainingLoss => "training loss",
        }
    }

    /// The title of its column, with the way that it should go.
    pub fn title(self) -> String {
        format!("{} {}", self.name(), if self.rises() { "↑" } else { "↓" })
    }

    /// Its value.
    pub fn of(self, MeasuredRun { run, records }: &MeasuredRun<'_>) -> f64 {
        let evaluation = &run.result.last.evaluation;
        match self {
            Self::TrainingLoss => final_training_loss(records),
            other => other
                .of_evaluation(evaluation)
                .expect("only the training loss is none of an evaluation"),
        }
    }

    /// Its value in one evaluation; `None` where it is none of those.
    pub fn of_evaluation(self, evaluation: &Evaluation) -> Option<f64> {
        match self {
            Self::Perplexity => Some(evaluation.perplexity()),
            Self::Metric(name) => Some(glue::score(evaluation, name)),
            Self::ValidationLoss => Some(evaluation.loss),
            Self::TrainingLoss => None,
        }
    }

    /// A value in print.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Perplexity => perplexity(value),
            Self::Metric(_) => glue::shown_score(value),
            Self::ValidationLoss | Self::TrainingLoss => loss(value),
        }
    }
}
