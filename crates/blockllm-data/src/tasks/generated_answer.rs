//! The answer to GSM8K in a generated text: what the harness takes out of it, and whether it is the right one.

use std::sync::LazyLock;

use regex::Regex;

use super::python_text::strip;

/// Where a generated answer ends at the latest: `until` of the harness' task.
pub const STOPS: [&str; 3] = ["Question:", "</s>", "<|im_end|>"];
/// What stands for an answer that is not there.
const INVALID: &str = "[invalid]";

/// How an answer is found: the harness' filters `strict-match` and `flexible-extract`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFilter {
    /// The first number behind `#### `.
    Strict,
    /// The last number.
    Flexible,
}

impl AnswerFilter {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Flexible];

    /// Its name in the harness.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict-match",
            Self::Flexible => "flexible-extract",
        }
    }

    /// The answer in a text; `[invalid]` where there is none.
    pub fn extract(self, text: &str) -> String {
        static STRICT: LazyLock<Regex> = LazyLock::new(|| pattern(r"#### (-?[0-9.,]+)"));
        static FLEXIBLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"-?[$0-9.,]{2,}|-?[0-9]+"));
        let found = match self {
            Self::Strict => STRICT.captures(text).and_then(|found| found.get(1)),
            Self::Flexible => FLEXIBLE.find_iter(text).last(),
        };
        found.map_or(INVALID, |found| strip(found.as_str())).to_owned()
    }

    /// Whether the answer in `text` is that of `gold`.
    pub fn is_right(self, text: &str, gold: &str) -> bool {
        compared(&self.extract(text)) == compared(gold)
    }
}

/// `text` before the first of each of [`STOPS`] and of `more`, one after the other.
pub fn before_stops<'a>(text: &'a str, more: &[String]) -> &'a str {
    let stops = STOPS.into_iter().chain(more.iter().map(String::as_str));
    let stops = stops.filter(|stop| !stop.is_empty());
    stops.fold(text, |text, stop| text.split(stop).next().unwrap_or(text))
}

/// What of an answer is compared: without commas, dollars, all before `#### `, and a last full stop; in small letters.
fn compared(answer: &str) -> String {
    static REASONING: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s).*#### "));
    // Python's `$` stands before a last line end too.
    static LAST_STOP: LazyLock<Regex> = LazyLock::new(|| pattern(r"\.(\n?)\z"));
    let plain = answer.replace([',', '$'], "");
    let plain = REASONING.replace_all(&plain, "");
    LAST_STOP.replace(&plain, "$1").to_lowercase()
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of this file, which a test uses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_and_compared_as_the_harness_does() {
        let gold = "He has 3 * 400 = 1,200.\n#### 1,200";
        for (text, strict, flexible) in [
            (" So it is\n#### 1200", true, true),
            (" So it is\n#### $1200", false, true),
            ("#### 1,200. Then 7.", true, false),
            ("It is 1,200.", false, true),
            ("none", false, false),
        ] {
            let found = AnswerFilter::ALL.map(|filter| filter.is_right(text, gold));
            assert_eq!(found, [strict, flexible], "{text}");
        }
        assert_eq!(AnswerFilter::Flexible.extract("a.. b 5"), "5");
        assert_eq!(AnswerFilter::Flexible.extract("5 b.."), "..");
        assert_eq!(AnswerFilter::Strict.extract("5"), INVALID);
        assert_eq!(before_stops("a Question: b</s>", &[]), "a ");
        assert_eq!(before_stops("a<e> b", &["<e>".to_owned(), String::new()]), "a");
        assert_eq!(compared("5.\n"), "5\n");
    }
}
