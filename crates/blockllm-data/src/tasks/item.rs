//! One item of a task: its question as the harness words it, and the answer.

/// An item, in the words of the harness' task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskItem {
    /// Its file's name and `line N`, `record N` or `row N`, counted from 1.
    pub place: String,
    /// The subject, where the task has several.
    pub subject: Option<String>,
    /// The question up to where the answer begins: `doc_to_text`.
    pub text: String,
    /// What is right.
    pub answer: Answer,
}

/// The right answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One of several.
    Choice {
        /// All of them: `doc_to_choice`.
        choices: Vec<String>,
        /// The right one, counted from 0: `doc_to_target`.
        gold: usize,
    },
    /// A text: `doc_to_target`.
    Text(String),
}

impl TaskItem {
    /// Before all else, once: the `description` of MMLU's tasks.
    pub(super) fn description(&self) -> String {
        let Some(subject) = &self.subject else {
            return String::new();
        };
        let subject = subject.replace('_', " ");
        format!("The following are multiple choice questions (with answers) about {subject}.\n\n")
    }

    /// The right answer in words, as an example before a question shows it.
    pub fn answer_text(&self) -> &str {
        match &self.answer {
            Answer::Choice { choices, gold } => &choices[*gold],
            Answer::Text(text) => text,
        }
    }

    /// Whether it asks the same, wherever it stands.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        self.subject == other.subject && self.text == other.text && self.answer == other.answer
    }
}
