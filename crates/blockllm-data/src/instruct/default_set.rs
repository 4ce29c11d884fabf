//! The embedded default: instructions generated from the documentation of the locked dependencies.
//!
//! They ask to go on with a sentence, to give the next paragraph, or to name the package: enough to see a run work, and for
//! nothing else.

use super::example::{ASSISTANT, Example, Message};
use crate::dependency_docs::DependencyDocs;
use crate::hashing::stable_hash;

const SYSTEM: &str = "You know the documentation of Rust packages.";
/// Longer paragraphs are passed over, so that most examples fit into a row.
const MAX_PARAGRAPH_BYTES: usize = 600;
const MIN_PARAGRAPH_BYTES: usize = 60;
/// Examples of one document, so that no package is most of the set.
const MAX_OF_DOCUMENT: usize = 8;

/// The examples of `docs`: the same for the same documents.
pub(super) fn examples(docs: &DependencyDocs) -> Vec<Example> {
    let packages = docs
        .packages
        .iter()
        .flat_map(|package| std::iter::repeat_n(package.name.as_str(), package.documents as usize));
    let of_document = packages
        .zip(&docs.documents)
        .flat_map(|(package, document)| of_document(package, document));
    of_document.collect()
}

fn of_document(package: &str, document: &str) -> Vec<Example> {
    let fits = |paragraph: &&str| (MIN_PARAGRAPH_BYTES..=MAX_PARAGRAPH_BYTES).contains(&paragraph.len());
    let paragraphs: Vec<&str> = document.split("\n\n").filter(fits).collect();
    let of_pair = |pair: &[&str]| of_paragraphs(package, pair[0], pair.get(1).copied());
    paragraphs.chunks(2).take(MAX_OF_DOCUMENT).map(of_pair).collect()
}

fn of_paragraphs(package: &str, first: &str, second: Option<&str>) -> Example {
    let hash = stable_hash(first.as_bytes());
    let mut turns = Vec::new();
    if hash.is_multiple_of(4) {
        turns.push(Message::new("system", SYSTEM));
    }
    let mut say = |question: String, answer: &str| {
        turns.push(Message::new("user", question));
        turns.push(Message::new(ASSISTANT, answer));
    };
    match (second, hash / 4 % 3) {
        (Some(second), 0) => say(
            format!("What does the documentation of the package {package} say after this?\n\n{first}"),
            second,
        ),
        (Some(second), 1) => {
            say(which_package(first), package);
            say("What does its documentation say next?".to_owned(), second);
        }
        (None, 0) => say(which_package(first), package),
        _ => {
            let (head, rest) = halves(first);
            say(format!("Go on with this text:\n\n{head}"), rest);
        }
    }
    Example::Conversation(turns)
}

fn which_package(paragraph: &str) -> String {
    format!("Which Rust package says this in its documentation?\n\n{paragraph}")
}

/// A paragraph cut at the space nearest behind its middle.
fn halves(paragraph: &str) -> (&str, &str) {
    let middle = paragraph.len() / 2;
    let spaces = paragraph.match_indices(' ').map(|(at, _)| at);
    let at = spaces.min_by_key(|at| at.abs_diff(middle));
    at.map_or((paragraph, ""), |at| (&paragraph[..at], &paragraph[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency_docs::PackageText;

    #[test]
    fn every_kind_of_instruction_is_made_and_none_is_empty() {
        let paragraph = |i: usize| {
            format!(
                "Paragraph {i} says in some words of its own that the weather at sea is number {i} today."
            )
        };
        let documents: Vec<String> = (0..40)
            .map(|d| {
                (0..=d % 3)
                    .map(|i| paragraph(10 * d + i))
                    .collect::<Vec<_>>()
                    .join("\n\n")
            })
            .collect();
        let package = PackageText {
            name: "weather".to_owned(),
            version: "1.0.0".to_owned(),
            documents: 40,
            bytes: 0,
            sha256: String::new(),
        };
        let docs = DependencyDocs {
            documents,
            packages: vec![package],
        };
        let all = examples(&docs);
        assert_eq!(all, examples(&docs));
        let mut lengths = [0; 6];
        for example in &all {
            let Example::Conversation(turns) = example else {
                panic!("a conversation");
            };
            assert!(turns.iter().all(|turn| !turn.content.is_empty()));
            lengths[turns.len()] += 1;
        }
        // Two turns or four, with a system prompt or without.
        assert!(lengths[2..].iter().all(|&count| count > 0), "{lengths:?}");
    }
}
