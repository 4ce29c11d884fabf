//! The tasks a language model is evaluated on, and where each keeps what is measured and what is shown before it.

use std::fmt;
use std::str::FromStr;

/// A task of lm-evaluation-harness (0.4.13), by the data that it is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalTask {
    /// AI2's reasoning challenge, the easy questions: the harness' `arc_easy`, version 1.0.
    ArcEasy,
    /// The hard ones: `arc_challenge`, version 1.0.
    ArcChallenge,
    /// Which ending goes on: `hellaswag`, version 1.0.
    HellaSwag,
    /// Questions of 57 subjects: the group `mmlu`, version 2, of tasks of version 1.0.
    Mmlu,
    /// Sums in words, whose answer is generated: `gsm8k`, version 3.0.
    Gsm8k,
}

impl EvalTask {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ArcEasy,
        Self::ArcChallenge,
        Self::HellaSwag,
        Self::Mmlu,
        Self::Gsm8k,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ArcEasy => "arc-easy",
            Self::ArcChallenge => "arc-challenge",
            Self::HellaSwag => "hellaswag",
            Self::Mmlu => "mmlu",
            Self::Gsm8k => "gsm8k",
        }
    }

    /// Its name and version in the harness.
    pub fn harness(self) -> (&'static str, &'static str) {
        match self {
            Self::ArcEasy => ("arc_easy", "1.0"),
            Self::ArcChallenge => ("arc_challenge", "1.0"),
            Self::HellaSwag => ("hellaswag", "1.0"),
            Self::Mmlu => ("mmlu", "2"),
            Self::Gsm8k => ("gsm8k", "3.0"),
        }
    }

    /// Whether the answer is one of several choices, measured by likelihood; else it is generated.
    pub fn has_choices(self) -> bool {
        self != Self::Gsm8k
    }

    /// Whether the harness also reports the accuracy by likelihoods that are divided by the length of the choice.
    pub fn has_acc_norm(self) -> bool {
        !matches!(self, Self::Mmlu | Self::Gsm8k)
    }

    /// Solved examples before every question where no number is asked for.
    pub fn default_shots(self) -> usize {
        match self {
            Self::Gsm8k => 5,
            _ => 0,
        }
    }

    /// The splits that may be measured, the harness' own first.
    pub(super) fn splits(self) -> &'static [&'static str] {
        match self {
            // The labels of its test split are not public.
            Self::HellaSwag => &["validation", "val"],
            _ => &["test", "validation"],
        }
    }

    /// The splits that solved examples come from, the harness' own first.
    pub(super) fn shot_splits(self) -> &'static [&'static str] {
        match self {
            Self::Mmlu => &["dev"],
            _ => &["train"],
        }
    }

    /// How the hub's repository calls the folder of the files.
    pub(super) fn folders(self) -> &'static [&'static str] {
        match self {
            Self::ArcEasy => &["ARC-Easy"],
            Self::ArcChallenge => &["ARC-Challenge"],
            Self::HellaSwag => &["data"],
            Self::Mmlu => &["all"],
            Self::Gsm8k => &["main"],
        }
    }

    /// The fields that are read; files may have others.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::ArcEasy | Self::ArcChallenge => &["question", "choices", "answerKey"],
            Self::HellaSwag => &["activity_label", "ctx_a", "ctx_b", "endings", "label"],
            Self::Mmlu => &["question", "subject", "choices", "answer"],
            Self::Gsm8k => &["question", "answer"],
        }
    }
}

impl fmt::Display for EvalTask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for EvalTask {
    type Err = String;

    /// By its own name or the harness' one.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_lowercase().replace('_', "-");
        let found = Self::ALL.into_iter().find(|task| task.name() == wanted);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is none of the tasks {names}")
        })
    }
}
