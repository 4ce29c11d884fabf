//! What a file of data is for, told by the words of its name.

/// To learn from, to be measured on while training, or to be measured on once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRole {
    /// To train on.
    Train,
    /// To validate on.
    Validation,
    /// Kept for a test.
    Test,
}

impl FileRole {
    /// `train`, `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// All roles that a name speaks of, `train` first: `train` and `training`; `validation`, `valid`, `val`, `dev` and
    /// `eval`; `test`. Words are what stands between signs, in any case.
    pub fn named(name: &str) -> Vec<Self> {
        let name = name.to_lowercase();
        let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
        let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
        [
            (Self::Train, &["train", "training"][..]),
            (
                Self::Validation,
                &["validation", "valid", "val", "dev", "eval"][..],
            ),
            (Self::Test, &["test"][..]),
        ]
        .into_iter()
        .filter(|(_, wanted)| has(wanted))
        .map(|(role, _)| role)
        .collect()
    }
}
