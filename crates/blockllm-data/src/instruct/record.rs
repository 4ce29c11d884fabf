//! The forms in which people keep instruction data, told apart by their fields.
//!
//! In this order: `messages` (OpenAI, TRL), `conversations` (`ShareGPT`), `instruction` (Alpaca), `prompt` with `completion`,
//! `text`. Fields that a form does not know are left alone, so Alpaca's own `text` column does no harm.

use serde_json::{Map, Value};

use super::example::{ASSISTANT, Example, Message};

/// Why a record is no example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What should stand there.
    pub expected: String,
    /// What does.
    pub found: String,
}

fn refuse<T>(expected: impl Into<String>, found: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        expected: expected.into(),
        found: found.into(),
    })
}

const FORMS: &str = "one of the fields `messages`, `conversations`, `instruction` with `output`, `prompt` with `completion`, \
                     or `text`";

/// The example of a record.
pub(crate) fn example(record: &Value) -> Result<Example, Refusal> {
    let Some(fields) = record.as_object() else {
        return refuse("an object", kind(record));
    };
    let has = |field: &str| fields.get(field).is_some_and(|value| !value.is_null());
    if has("messages") {
        conversation(system(fields)?, turns(fields, "messages")?)
    } else if has("conversations") {
        conversation(system(fields)?, turns(fields, "conversations")?)
    } else if has("instruction") {
        alpaca(fields)
    } else if has("prompt") {
        prompt(fields)
    } else if has("text") {
        match text(fields, "text")? {
            text if text.is_empty() => refuse("a text", "an empty `text`"),
            text => Ok(Example::Text(text)),
        }
    } else {
        let names: Vec<&str> = fields.keys().take(12).map(String::as_str).collect();
        refuse(FORMS, format!("the fields [{}]", brief(&names.join(", "))))
    }
}

fn brief(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}

/// What a value is, shortly.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the string `{}`", brief(text)),
        Value::Array(all) => format!("an array of {}", all.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A string that must be there.
fn text(fields: &Map<String, Value>, field: &str) -> Result<String, Refusal> {
    match fields.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => refuse(format!("a string in `{field}`"), kind(other)),
        None => refuse(format!("a string field `{field}`"), "none"),
    }
}

/// A string that may be missing or null.
fn optional(fields: &Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(fields, field).map(Some),
    }
}

/// The system prompt of a record that keeps it beside the turns; an empty one is none.
fn system(fields: &Map<String, Value>) -> Result<Option<Message>, Refusal> {
    let prompt = optional(fields, "system")?.filter(|prompt| !prompt.is_empty());
    Ok(prompt.map(|prompt| Message::new("system", prompt)))
}

fn alpaca(fields: &Map<String, Value>) -> Result<Example, Refusal> {
    let mut turns = Vec::new();
    for pair in history(fields)? {
        let [question, answer] = pair;
        turns.extend([Message::new("user", question), Message::new(ASSISTANT, answer)]);
    }
    let instruction = text(fields, "instruction")?;
    let user = match optional(fields, "input")?.filter(|input| !input.is_empty()) {
        Some(input) if instruction.is_empty() => input,
        Some(input) => format!("{instruction}\n\n{input}"),
        None => instruction,
    };
    turns.push(Message::new("user", user));
    turns.push(Message::new(ASSISTANT, text(fields, "output")?));
    conversation(system(fields)?, turns)
}

/// The turns before, as LLaMA-Factory's Alpaca form keeps them: pairs of question and answer.
fn history(fields: &Map<String, Value>) -> Result<Vec<[String; 2]>, Refusal> {
    let pairs = match fields.get("history") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(pairs)) => pairs,
        Some(other) => return refuse("an array in `history`", kind(other)),
    };
    let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(question), Value::String(answer)]) => Ok([question.clone(), answer.clone()]),
        _ => refuse("pairs of strings in `history`", kind(pair)),
    };
    pairs.iter().map(pair).collect()
}

/// Strings, or turns as TRL's conversational form has them.
fn prompt(fields: &Map<String, Value>) -> Result<Example, Refusal> {
    let is_turns = |field: &str| fields.get(field).is_some_and(Value::is_array);
    if is_turns("prompt") || is_turns("completion") {
        let mut all = turns(fields, "prompt")?;
        all.extend(turns(fields, "completion")?);
        return conversation(None, all);
    }
    let (prompt, completion) = (text(fields, "prompt")?, text(fields, "completion")?);
    Ok(Example::Completion { prompt, completion })
}

fn turns(fields: &Map<String, Value>, field: &str) -> Result<Vec<Message>, Refusal> {
    let Some(turns) = fields.get(field).and_then(Value::as_array) else {
        let found = fields.get(field).map_or_else(|| "none".to_owned(), kind);
        return refuse(format!("an array of turns in `{field}`"), found);
    };
    turns.iter().map(|turn| message(turn, field)).collect()
}

/// `{"role", "content"}`, or `ShareGPT`'s `{"from", "value"}`.
fn message(turn: &Value, field: &str) -> Result<Message, Refusal> {
    let Some(fields) = turn.as_object() else {
        return refuse(format!("objects in `{field}`"), kind(turn));
    };
    if fields.contains_key("from") && !fields.contains_key("role") {
        let role = text(fields, "from")?;
        let Some(role) = sharegpt_role(&role) else {
            let expected = "`from` to be human, user, gpt, assistant, system or tool";
            return refuse(expected, format!("`{}`", brief(&role)));
        };
        return Ok(Message::new(role, text(fields, "value")?));
    }
    let others = fields
        .iter()
        .filter(|(name, value)| !matches!(name.as_str(), "role" | "content") && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()));
    Ok(Message {
        role: text(fields, "role")?,
        content: content(fields)?,
        others: others.collect(),
    })
}

/// A string; or parts of which all are text; or null beside `tool_calls`.
fn content(fields: &Map<String, Value>) -> Result<String, Refusal> {
    match fields.get("content") {
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| match (&part["type"], &part["text"]) {
                (Value::String(kind), Value::String(text)) if kind == "text" => Ok(text.as_str()),
                _ => refuse("parts of type `text` in `content`", kind(part)),
            })
            .collect(),
        Some(Value::Null) if fields.contains_key("tool_calls") => Ok(String::new()),
        _ => text(fields, "content"),
    }
}

fn sharegpt_role(from: &str) -> Option<&'static str> {
    match from {
        "human" | "user" => Some("user"),
        "gpt" | "assistant" | "chatgpt" | "model" => Some(ASSISTANT),
        "system" => Some("system"),
        "tool" | "observation" => Some("tool"),
        _ => None,
    }
}

fn conversation(system: Option<Message>, turns: Vec<Message>) -> Result<Example, Refusal> {
    if !turns.iter().any(Message::is_answer) {
        return refuse(
            "at least one turn of the assistant",
            format!("{} turns without one", turns.len()),
        );
    }
    let has_own = turns.first().is_some_and(|turn| turn.role == "system");
    let all = system.filter(|_| !has_own).into_iter().chain(turns);
    Ok(Example::Conversation(all.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockllm_fuzz::{odd_value, replace_one};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;

    fn forms() -> Vec<Value> {
        vec![
            json!({ "instruction": "Add.", "input": "1 2", "output": "3", "system": "Be brief.",
                    "history": [["Hello", "Hi"]], "text": "all of it" }),
            json!({ "system": "", "conversations": [{ "from": "human", "value": "q" }, { "from": "gpt", "value": "a" }] }),
            json!({ "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "q", "name": "N" },
                    { "role": "assistant", "content": [{ "type": "text", "text": "a" }] }] }),
            json!({ "prompt": [{ "role": "user", "content": "q" }], "completion": [{ "role": "assistant", "content": "a" }] }),
            json!({ "prompt": "q", "completion": "a" }),
            json!({ "text": "t" }),
        ]
    }

    fn said(record: &Value) -> Vec<(String, String)> {
        match example(record).unwrap() {
            Example::Conversation(turns) => turns.into_iter().map(|turn| (turn.role, turn.content)).collect(),
            Example::Completion { prompt, completion } => vec![(prompt, completion)],
            Example::Text(text) => vec![("text".to_owned(), text)],
        }
    }

    #[test]
    fn every_form_gives_its_turns() {
        let pairs = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        let (user, assistant) = (("user", "q"), (ASSISTANT, "a"));
        let expected = [
            pairs(&[
                ("system", "Be brief."),
                ("user", "Hello"),
                (ASSISTANT, "Hi"),
                ("user", "Add.\n\n1 2"),
                (ASSISTANT, "3"),
            ]),
            pairs(&[user, assistant]),
            pairs(&[("system", "s"), user, assistant]),
            pairs(&[user, assistant]),
            pairs(&[("q", "a")]),
            pairs(&[("text", "t")]),
        ];
        for (record, expected) in forms().iter().zip(expected) {
            assert_eq!(said(record), expected, "{record}");
        }
    }

    #[test]
    fn a_wrong_record_says_what_is_expected_and_what_was_found() {
        for (record, expected, found) in [
            (json!({ "content": "x", "id": 1 }), "`messages`", "content, id"),
            (json!({ "instruction": "x" }), "`output`", "none"),
            (
                json!({ "messages": [{ "role": "user", "content": "q" }] }),
                "turn of the assistant",
                "1 turns",
            ),
            (
                json!({ "conversations": [{ "from": "robot", "value": "q" }] }),
                "human",
                "robot",
            ),
            (json!({ "prompt": "x", "completion": 3 }), "`completion`", "3"),
            (json!({ "messages": "x" }), "array of turns", "string `x`"),
        ] {
            let refusal = example(&record).unwrap_err();
            assert!(refusal.expected.contains(expected), "{refusal:?}");
            assert!(refusal.found.contains(found), "{refusal:?}");
        }
    }

    proptest! {
        #[test]
        fn a_record_with_anything_in_place_of_a_value_is_an_example_or_briefly_refused(
            form in 0usize..6, at: Index, odd in odd_value(),
        ) {
            let mut record = forms().swap_remove(form);
            replace_one(&mut record, at, &odd);
            if let Err(refusal) = example(&record) {
                prop_assert!(refusal.found.len() < 2000 && refusal.expected.len() < 400);
            }
        }
    }
}
