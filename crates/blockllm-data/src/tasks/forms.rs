//! From the fields of a data set to the words of the harness' task: `doc_to_text`, `doc_to_choice`, `doc_to_target`.
//!
//! | task | fields | text | choices |
//! |---|---|---|---|
//! | ARC | `question`, `choices.text`, `choices.label`, `answerKey` | `Question: ..\nAnswer:` | the texts |
//! | `HellaSwag` | `activity_label`, `ctx_a`, `ctx_b`, `endings`, `label` | `LABEL: A B`, mended | the endings, mended |
//! | MMLU | `question`, `subject`, `choices`, `answer` | the question, lettered choices, `Answer:` | the letters |
//! | GSM8K | `question`, `answer` | `Question: ..\nAnswer:` | none: the answer is a text |

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::fault::TaskFault;
use super::fields::Fields;
use super::item::{Answer, TaskItem};
use super::python_text::{capitalize, strip};
use super::task::EvalTask;
use crate::reading::json_records::Record;

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// The item of a record.
pub(super) fn item(task: EvalTask, path: &Path, record: &Record) -> Result<TaskItem, TaskFault> {
    let fields = Fields { path, record };
    let (subject, text, answer) = match task {
        EvalTask::ArcEasy | EvalTask::ArcChallenge => arc(&fields)?,
        EvalTask::HellaSwag => hellaswag(&fields)?,
        EvalTask::Mmlu => mmlu(&fields)?,
        EvalTask::Gsm8k => gsm8k(&fields)?,
    };
    let file = path.file_name().unwrap_or(path.as_os_str());
    Ok(TaskItem {
        place: format!("{}, {}", file.to_string_lossy(), record.place),
        subject,
        text,
        answer,
    })
}

type Words = (Option<String>, String, Answer);

fn arc(fields: &Fields) -> Result<Words, TaskFault> {
    let choices = fields.texts("choices.text", 2)?;
    let labels = fields.texts("choices.label", 2)?;
    let key = fields.text("answerKey")?;
    let gold = labels.iter().position(|label| label == key);
    let gold = gold.filter(|gold| *gold < choices.len()).ok_or_else(|| {
        let expected = format!("one of the labels {}", labels.join(", "));
        fields.fault("answerKey", &expected, &fields.record.value["answerKey"])
    })?;
    let text = format!("Question: {}\nAnswer:", fields.text("question")?);
    Ok((None, text, Answer::Choice { choices, gold }))
}

fn hellaswag(fields: &Fields) -> Result<Words, TaskFault> {
    let context = format!("{} {}", fields.text("ctx_a")?, capitalize(fields.text("ctx_b")?));
    let text = mended(&format!("{}: {context}", fields.text("activity_label")?));
    let endings = fields.texts("endings", 2)?;
    let choices: Vec<String> = endings.iter().map(|ending| mended(ending)).collect();
    let gold = fields.choice("label", choices.len(), &[])?;
    Ok((None, text, Answer::Choice { choices, gold }))
}

fn mmlu(fields: &Fields) -> Result<Words, TaskFault> {
    let choices = fields.texts("choices", LETTERS.len())?;
    let letters = LETTERS.map(str::to_owned).to_vec();
    let gold = fields.choice("answer", LETTERS.len(), &letters)?;
    let mut lines = vec![strip(fields.text("question")?).to_owned()];
    let lettered = LETTERS.iter().zip(&choices);
    lines.extend(lettered.map(|(letter, choice)| format!("{letter}. {choice}")));
    lines.push("Answer:".to_owned());
    let text = lines.join("\n");
    let subject = fields.text("subject")?.to_owned();
    let answer = Answer::Choice {
        choices: letters,
        gold,
    };
    Ok((Some(subject), text, answer))
}

fn gsm8k(fields: &Fields) -> Result<Words, TaskFault> {
    let text = format!("Question: {}\nAnswer:", fields.text("question")?);
    Ok((None, text, Answer::Text(fields.text("answer")?.to_owned())))
}

/// `HellaSwag`'s texts without the marks of the web pages that they come from.
fn mended(text: &str) -> String {
    static BRACKETS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[.*?\]").expect("it is tested"));
    let text = strip(text).replace(" [title]", ". ");
    BRACKETS.replace_all(&text, "").replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_web_pages_are_taken_out_as_the_harness_does() {
        // Python, with the harness' own `preprocess`.
        assert_eq!(
            mended(" How to fry [title] Heat   oil [step] now "),
            "How to fry. Heat  oil now"
        );
        assert_eq!(mended("[header] a [b] [c\nd]"), " a [c\nd]");
    }
}
