//! Which metrics GLUE judges by, and the value of one.
use serde::{Deserialize, Serialize};

/// A metric, as a share of one; Matthews, Pearson and Spearman from -1 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Share of right predictions.
    Accuracy,
    /// Harmonic mean of precision and recall of class 1.
    F1,
    /// Matthews correlation, for any number of classes.
    Matthews,
    /// Correlation of the scores.
    Pearson,
    /// Correlation of the scores' ranks, ties at their mean rank.
    Spearman,
}

/// The value of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Which.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
}

impl Metric {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::F1 => "F1",
            Self::Matthews => "Matthews",
            Self::Pearson => "Pearson",
            Self::Spearman => "Spearman",
        }
    }
}
