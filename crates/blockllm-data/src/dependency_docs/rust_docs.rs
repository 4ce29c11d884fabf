//! The doc comments of a Rust source file, as Markdown.

/// Every block of `//!` or `///` lines, without the slashes, blocks set apart by a blank line.
pub(super) fn doc_comments(source: &str) -> String {
    let mut markdown = String::new();
    let mut inside = false;
    for line in source.lines() {
        if let Some(text) = doc_line(line) {
            markdown.push_str(text);
            markdown.push('\n');
            inside = true;
        } else if inside {
            // A fence that its block left open must not swallow the next block.
            markdown.push_str(BLOCK_END);
            inside = false;
        }
    }
    markdown
}

/// A form feed on a line of its own: Markdown has no use for it, and [`super::prose`] closes everything
/// there.
pub(super) const BLOCK_END: &str = "\u{c}\n";

fn doc_line(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
    if text.starts_with('/') {
        return None;
    }
    Some(text.strip_prefix(' ').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_lines_lose_their_slashes_and_code_and_rulers_are_left_out() {
        let source = "//! Head.\n//!\n//!   indented\nuse a;\n    /// Item.\n    fn f() {} // no\n//////// ruler\n/// Last.";
        let expected = format!("Head.\n\n  indented\n{BLOCK_END}Item.\n{BLOCK_END}Last.\n");
        assert_eq!(doc_comments(source), expected);
    }
}
