//! One line of a shard: a JSON object whose field `text` is the document.

use std::path::Path;

use serde::Deserialize;
use serde_json::error::Category;

use crate::DataError;

#[derive(Deserialize)]
struct C4Line {
    text: String,
}

/// Why a line was refused, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    NotJson(String),
    NoText(String),
}

impl Refusal {
    pub fn at(self, path: &Path, line: u64) -> DataError {
        let path = path.to_path_buf();
        match self {
            Self::NotJson(found) => DataError::NotJson { path, line, found },
            Self::NoText(found) => DataError::NoText { path, line, found },
        }
    }
}

/// The document of a line that is trimmed and not empty.
pub(super) fn parse(line: &[u8]) -> Result<String, Refusal> {
    // serde would also read a struct out of an array.
    if line.first() != Some(&b'{') {
        return Err(Refusal::NotJson(shown(line)));
    }
    match serde_json::from_slice::<C4Line>(line) {
        Ok(line) => Ok(line.text),
        Err(error) if error.classify() == Category::Data => Err(Refusal::NoText(brief(&error.to_string()))),
        Err(error) => Err(Refusal::NotJson(brief(&error.to_string()))),
    }
}

/// The head of a line, what cannot be seen in it made visible.
pub(super) fn shown(line: &[u8]) -> String {
    let head = String::from_utf8_lossy(&line[..line.len().min(40)]);
    let encoding = match line {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => " (UTF-16: save the file as UTF-8)",
        _ => "",
    };
    format!("`{}`{encoding}", head.escape_debug())
}

/// The parser quotes what it found, which may be a whole document.
pub(super) fn brief(message: &str) -> String {
    match message.char_indices().nth(160) {
        Some((end, _)) => format!("{} ..", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_document_or_a_brief_refusal(line in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Err(Refusal::NotJson(found) | Refusal::NoText(found)) = parse(&line) {
                prop_assert!(found.len() < 1000);
            }
        }

        #[test]
        fn a_broken_or_changed_object_never_panics(
            text in any::<String>(), cut in any::<prop::sample::Index>(), byte: u8, at in any::<prop::sample::Index>(),
        ) {
            let mut line = serde_json::json!({ "url": [1, { "a": null }], "text": text }).to_string().into_bytes();
            prop_assert_eq!(&parse(&line), &Ok(text));
            let place = at.index(line.len());
            line[place] = byte;
            line.truncate(1 + cut.index(line.len()));
            let _ = parse(&line);
        }
    }

    #[test]
    fn what_cannot_be_seen_is_shown_and_a_long_value_is_not_quoted_whole() {
        let Err(Refusal::NotJson(found)) = parse(b"\xff\xfe{\0") else {
            panic!("UTF-16 is not JSON");
        };
        assert!(found.contains("UTF-16") && found.contains("\\0"), "{found}");
        let line = format!("{{\"text\": {{\"{}\": 1}}, \"text\": 3}}", "x".repeat(10_000));
        assert!(matches!(parse(line.as_bytes()), Err(Refusal::NoText(found)) if found.len() < 300));
    }
}
