//! The command that this process was called with, as a person would type it again.

/// The command line; the one to resume by leaves out `--fresh`, which would begin once more.
pub fn typed(to_resume: bool) -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    join(words.filter(|word| !(to_resume && word == "--fresh")))
}

/// How the verb is called from the workspace, with `words` behind it.
pub fn verb(name: &str, words: &[String]) -> String {
    format!("cargo xtask {name} {}", join(words.iter().cloned()))
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=+,./:@%~\\".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_spaces_and_quotes_are_quoted() {
        let words = ["run", "--data", "my data", "it's", ""].map(String::from);
        assert_eq!(join(words.into_iter()), r"run --data 'my data' 'it'\''s' ''");
    }
}
