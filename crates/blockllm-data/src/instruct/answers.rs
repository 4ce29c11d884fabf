//! Where the answers stand in a rendered conversation.

use std::ops::Range;

use super::chat_template::{ChatTemplate, unused_mark, without_marks};
use super::example::Message;
use super::special_names::SpecialNames;

/// A rendered conversation with its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The text, as the template gives it.
    pub text: String,
    /// The answers, in ranges of bytes, in order; one that says nothing is empty.
    pub answers: Vec<Range<usize>>,
    /// How they were found.
    pub found_by: FoundBy,
}

/// How answers were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// The template's own tag `generation` says it, end of turn included or not as its author wished.
    Tag,
    /// Marks around what the assistant says came out of the template unchanged. The token that ends a turn stands behind.
    Marks,
    /// Each turn is what the conversation up to it has more than the same with a prompt for it. Ends are within.
    Prefixes,
}

/// Renders `messages` and finds what the assistant says: by the template's tag, else by marks, else turn by turn; turn by turn
/// before by marks where an answer has more than its content, such as calls of tools, which no mark stands around.
///
/// Marks also serve templates that render the last turn in another way (Mistral puts the system prompt there), for which
/// a shorter conversation is no beginning of a longer one. Whatever way: the text is that of the conversation itself.
///
/// # Errors
/// What the template says against the conversation, or that answers cannot be told from the rest.
pub fn answered(
    template: &ChatTemplate,
    messages: &[Message],
    names: &SpecialNames,
) -> Result<Answered, String> {
    let rendering = template.render(messages, names, false)?;
    let marks = || {
        Some((
            by_marks(template, messages, names, &rendering.text)?,
            FoundBy::Marks,
        ))
    };
    let prefixes = || {
        Some((
            by_prefixes(template, messages, names, &rendering.text)?,
            FoundBy::Prefixes,
        ))
    };
    let says_more = messages
        .iter()
        .any(|message| message.is_answer() && !message.others.is_empty());
    // A tag that was not rendered tells nothing.
    let says_any = messages.iter().any(Message::is_answer);
    let tagged = rendering.generated.clone();
    let tagged = tagged.filter(|found| !(found.is_empty() && says_any));
    let found = match tagged {
        Some(answers) => Some((answers, FoundBy::Tag)),
        None if says_more => prefixes().or_else(marks),
        None => marks().or_else(prefixes),
    };
    let (answers, found_by) =
        found.ok_or("it cannot be told where answers stand: the template needs the tag `generation`")?;
    Ok(Answered {
        text: rendering.text,
        answers,
        found_by,
    })
}

/// Marks around the whole of what is said; where the template cuts spaces at its ends, within these.
fn by_marks(
    template: &ChatTemplate,
    messages: &[Message],
    names: &SpecialNames,
    text: &str,
) -> Option<Vec<Range<usize>>> {
    let mark = unused_mark(messages);
    let count = messages.iter().filter(|message| message.is_answer()).count();
    let whole = |said: &str| format!("{mark}{said}{mark}");
    let within = |said: &str| {
        let begin = said.len() - said.trim_start().len();
        let core = said.trim();
        let end = begin + core.len();
        format!("{}{mark}{core}{mark}{}", &said[..begin], &said[end..])
    };
    let try_with = |marked: &dyn Fn(&str) -> String| {
        let mut messages = messages.to_vec();
        for message in messages.iter_mut().filter(|message| message.is_answer()) {
            message.content = marked(&message.content);
        }
        let rendered = template.render(&messages, names, false).ok()?.text;
        let (plain, answers) = without_marks(&rendered, &mark)?;
        (plain == text && answers.len() == count).then_some(answers)
    };
    try_with(&whole).or_else(|| try_with(&within))
}

/// Renders the conversation up to each answer, without it and with it; `None` where these are no beginnings of the whole.
pub(super) fn by_prefixes(
    template: &ChatTemplate,
    messages: &[Message],
    names: &SpecialNames,
    text: &str,
) -> Option<Vec<Range<usize>>> {
    let is_answer = |at: &usize| messages[*at].is_answer();
    (0..messages.len())
        .filter(is_answer)
        .map(|at| {
            let before = template.render(&messages[..at], names, true).ok()?.text;
            let with = template.render(&messages[..=at], names, false).ok()?.text;
            (text.starts_with(&with) && with.starts_with(&before)).then_some(before.len()..with.len())
        })
        .collect()
}
