//! Spaces, capitals and words as Python counts them, where a score of the harness depends on it.

/// Whether Python's `str.isspace` and the `\s` of its `re` say so: Unicode's white space and four separators of ASCII.
pub fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// `text.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `text.rstrip()`.
pub fn rstrip(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// `text.capitalize()`: the first letter large, all others small. (Of a ligature only the first letter becomes large, and the
/// rare title-case letters are written as capitals.)
pub fn capitalize(text: &str) -> String {
    let Some(first) = text.chars().next() else {
        return String::new();
    };
    let small = text.to_lowercase();
    let rest = small.strip_prefix(&first.to_lowercase().to_string());
    let mut large = first.to_uppercase();
    let mut capitalized: String = large.next().into_iter().collect();
    capitalized.extend(large.flat_map(char::to_lowercase));
    capitalized.push_str(rest.unwrap_or(&text[first.len_utf8()..]));
    capitalized
}

/// `len(re.split(r"\s+", text))`: what the harness calls the number of words. A space at an end adds an empty word.
pub fn split_words(text: &str) -> usize {
    let mut words = 1;
    let mut in_space = false;
    for character in text.chars() {
        let space = is_space(character);
        words += usize::from(space && !in_space);
        in_space = space;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_spaces_and_words_are_python_s() {
        // Python: [s.capitalize() for s in ("", "he SAYS Ä", "ßa", "1A", "éA", "ΑΣ", "ﬁX")]
        let said = ["", "he SAYS Ä", "ßa", "1A", "éA", "ΑΣ", "ﬁX"].map(capitalize);
        assert_eq!(said, ["", "He says ä", "Ssa", "1a", "Éa", "Ας", "Fix"]);
        assert_eq!(strip("\u{1c} a b\u{a0}\n"), "a b");
        assert_eq!(rstrip(" a \u{1f}"), " a");
        // Python: [len(re.split(r"\s+", s)) for s in ("", "a", " a", "a \n b\x1c", "a\u200bb")]
        let words = ["", "a", " a", "a \n b\u{1c}", "a\u{200b}b"].map(split_words);
        assert_eq!(words, [1, 1, 2, 3, 1]);
    }
}
