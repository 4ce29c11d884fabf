//! The fields of an item, asked for by name and type; an error says where they stand.

use std::path::Path;

use serde_json::Value;

use super::fault::TaskFault;
use crate::reading::json_records::Record;

const MEND: &str = "Mend or remove the item, or give the data set's own file";

/// An item as its file has it.
pub(super) struct Fields<'a> {
    pub path: &'a Path,
    pub record: &'a Record,
}

impl<'a> Fields<'a> {
    /// A text.
    pub fn text(&self, name: &str) -> Result<&'a str, TaskFault> {
        let value = &self.record.value[name];
        value.as_str().ok_or_else(|| self.fault(name, "a text", value))
    }

    /// A list of texts with at least `fewest`; `name` may be a path such as `choices.text`.
    pub fn texts(&self, name: &str, fewest: usize) -> Result<Vec<String>, TaskFault> {
        let value = name
            .split('.')
            .fold(&self.record.value, |value, part| &value[part]);
        let texts = value.as_array().and_then(|all| {
            let texts = all.iter().map(|text| text.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        });
        let texts = texts.filter(|texts| texts.len() >= fewest);
        texts.ok_or_else(|| self.fault(name, &format!("a list of at least {fewest} texts"), value))
    }

    /// A place among `count` choices, as a number or as one in a text; `letters` may stand for it.
    pub fn choice(&self, name: &str, count: usize, letters: &[String]) -> Result<usize, TaskFault> {
        let value = &self.record.value[name];
        let number = match value {
            Value::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
            Value::String(text) => {
                let letter = letters.iter().position(|letter| letter == text);
                letter.or_else(|| text.trim().parse().ok())
            }
            _ => None,
        };
        number.filter(|number| *number < count).ok_or_else(|| {
            self.fault(
                name,
                &format!("the number of one of {count} choices, from 0"),
                value,
            )
        })
    }

    /// That the field is not as expected.
    pub fn fault(&self, name: &str, expected: &str, found: &Value) -> TaskFault {
        let found = match found {
            Value::Null => "nothing".to_owned(),
            found => brief(&found.to_string()),
        };
        TaskFault {
            path: self.path.to_owned(),
            place: format!(", {}, field `{name}`", self.record.place),
            expected: expected.to_owned(),
            found,
            mend: MEND.to_owned(),
        }
    }
}

fn brief(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text.to_owned(),
    }
}
