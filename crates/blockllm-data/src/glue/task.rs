//! The tasks: names, labels, columns and metrics, as GLUE defines them.
use super::Metric;
use crate::DataError;
use serde::{Deserialize, Serialize};

/// A task of GLUE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are GLUE's own")]
pub enum GlueTask {
    Cola,
    Sst2,
    Mrpc,
    StsB,
    Qqp,
    Mnli,
    Qnli,
    Rte,
    Wnli,
    /// The diagnostic set: no training data, judged by a model of MNLI.
    Ax,
}

const ENTAILMENT: [&str; 2] = ["entailment", "not_entailment"];
const BINARY: [&str; 2] = ["0", "1"];
const INFERENCE: [&str; 3] = ["entailment", "neutral", "contradiction"];

impl GlueTask {
    /// All of them, in GLUE's order.
    pub const ALL: [Self; 10] = [
        Self::Cola,
        Self::Sst2,
        Self::Mrpc,
        Self::StsB,
        Self::Qqp,
        Self::Mnli,
        Self::Qnli,
        Self::Rte,
        Self::Wnli,
        Self::Ax,
    ];

    /// GLUE's name, which is also its folder's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cola => "CoLA",
            Self::Sst2 => "SST-2",
            Self::Mrpc => "MRPC",
            Self::StsB => "STS-B",
            Self::Qqp => "QQP",
            Self::Mnli => "MNLI",
            Self::Qnli => "QNLI",
            Self::Rte => "RTE",
            Self::Wnli => "WNLI",
            Self::Ax => "AX",
        }
    }

    /// The task of that name, whatever its case and with or without hyphens.
    ///
    /// # Errors
    /// When there is none; the error lists the names.
    pub fn from_name(name: &str) -> Result<Self, DataError> {
        let plain = |name: &str| name.replace(['-', '_'], "").to_lowercase();
        let found = Self::ALL
            .into_iter()
            .find(|task| plain(task.name()) == plain(name));
        found.ok_or_else(|| DataError::UnknownTask {
            found: name.to_owned(),
            expected: Self::ALL.map(Self::name).join(", "),
        })
    }

    /// The labels in the order of their classes; none where a score is predicted.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Cola | Self::Sst2 | Self::Mrpc | Self::Qqp | Self::Wnli => &BINARY,
            Self::Qnli | Self::Rte => &ENTAILMENT,
            Self::Mnli | Self::Ax => &INFERENCE,
            Self::StsB => &[],
        }
    }

    /// Outputs of a model's head: one per class, or one score.
    pub fn num_labels(self) -> usize {
        self.labels().len().max(1)
    }

    /// Whether a score from 0 to 5 is predicted rather than a class.
    pub fn is_regression(self) -> bool {
        self == Self::StsB
    }

    /// Whether an example has two sentences.
    pub fn is_pair(self) -> bool {
        !matches!(self, Self::Cola | Self::Sst2)
    }

    /// The metrics that GLUE judges by; the first is the one that stands in the published tables here.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Cola | Self::Ax => &[Metric::Matthews],
            Self::Mrpc | Self::Qqp => &[Metric::F1, Metric::Accuracy],
            Self::StsB => &[Metric::Pearson, Metric::Spearman],
            Self::Sst2 | Self::Mnli | Self::Qnli | Self::Rte | Self::Wnli => &[Metric::Accuracy],
        }
    }

    /// Names of the columns with the sentences, in files that have a header.
    pub(super) fn sentence_columns(self) -> &'static [&'static str] {
        match self {
            Self::Cola | Self::Sst2 => &["sentence"],
            Self::Mrpc => &["#1 String", "#2 String"],
            Self::Qqp => &["question1", "question2"],
            Self::Qnli => &["question", "sentence"],
            Self::StsB | Self::Mnli | Self::Rte | Self::Wnli | Self::Ax => &["sentence1", "sentence2"],
        }
    }

    /// Names of the columns with the sentences, in the hub's parquet files.
    pub(super) fn hub_columns(self) -> &'static [&'static str] {
        match self {
            Self::Mrpc => &["sentence1", "sentence2"],
            Self::Mnli | Self::Ax => &["premise", "hypothesis"],
            _ => self.sentence_columns(),
        }
    }

    /// The task's folder on the hub.
    pub(super) fn hub_name(self) -> String {
        self.name().replace('-', "").to_lowercase()
    }

    /// Name of the column with the label.
    pub(super) fn label_column(self) -> &'static str {
        match self {
            Self::Mrpc => "Quality",
            Self::StsB => "score",
            Self::Qqp => "is_duplicate",
            Self::Mnli => "gold_label",
            _ => "label",
        }
    }
}
