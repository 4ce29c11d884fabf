//! English prose out of Markdown: code, tables, headings, link targets and markup are left out.

use super::rust_docs::BLOCK_END;

const MIN_WORDS: usize = 6;

/// The paragraphs (and list items) that read as English, each on one line.
pub(super) fn paragraphs(markdown: &str) -> Vec<String> {
    let mut collector = Collector::default();
    markdown.lines().for_each(|line| collector.line(line));
    collector.flush();
    collector.paragraphs
}

#[derive(Default)]
struct Collector {
    paragraphs: Vec<String>,
    current: String,
    fence: Option<&'static str>,
}

impl Collector {
    fn line(&mut self, line: &str) {
        let text = line.trim_start_matches([' ', '>']).trim_end();
        if line == BLOCK_END.trim_end_matches('\n') {
            self.fence = None;
            self.flush();
        } else if let Some(fence) = self.fence {
            if text.starts_with(fence) {
                self.fence = None;
            }
        } else if let Some(fence) = ["```", "~~~"].into_iter().find(|fence| text.starts_with(fence)) {
            self.flush();
            self.fence = Some(fence);
        } else if text.is_empty() || is_no_prose(text) {
            self.flush();
        } else if self.current.is_empty() && (line.starts_with("    ") || line.starts_with('\t')) {
            // An indented block of code.
        } else {
            let item = list_item(text);
            if item.is_some() {
                self.flush();
            }
            self.current.push_str(item.unwrap_or(text));
            self.current.push(' ');
        }
    }

    fn flush(&mut self) {
        let plain = without_markup(&std::mem::take(&mut self.current));
        let words = plain.split_whitespace().filter(|word| !word.contains("://"));
        let paragraph = words.collect::<Vec<_>>().join(" ");
        if is_english(&paragraph) {
            self.paragraphs.push(paragraph);
        }
    }
}

/// Headings, tables, rulers, and the definitions of link targets.
fn is_no_prose(text: &str) -> bool {
    let ruler = text.chars().all(|c| matches!(c, '-' | '=' | '*' | '_' | ' '));
    let target = text.starts_with('[') && text.contains("]: ");
    ruler || target || text.starts_with(['#', '|', '+']) || text.starts_with("<!--")
}

fn list_item(text: &str) -> Option<&str> {
    let bullet = text.strip_prefix("- ").or_else(|| text.strip_prefix("* "));
    bullet.or_else(|| {
        let (number, rest) = text.split_once(". ")?;
        (!number.is_empty() && number.len() < 4 && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
    })
}

/// Drops images, link targets, tags, backticks and stars; keeps the words of links and of code.
fn without_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_code = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '`' => {
                in_code = !in_code;
                after
            }
            _ if in_code => keep(&mut plain, c, after),
            '!' if after.starts_with('[') => {
                bracketed(after, '[', ']').map_or(after, |(_, end)| without_target(end))
            }
            '[' => match bracketed(rest, '[', ']') {
                Some((inner, end)) => {
                    plain.push_str(&without_markup(inner));
                    without_target(end)
                }
                None => after,
            },
            '<' if after.starts_with(|next: char| next.is_ascii_alphabetic() || next == '/') => {
                after.split_once('>').map_or(after, |(_, end)| end)
            }
            '*' | '\\' => after,
            _ => keep(&mut plain, c, after),
        };
    }
    plain
}

fn keep<'a>(plain: &mut String, c: char, after: &'a str) -> &'a str {
    plain.push(c);
    after
}

/// What follows a link's target, `(...)` or `[...]`, where there is one.
fn without_target(text: &str) -> &str {
    let target = bracketed(text, '(', ')').or_else(|| bracketed(text, '[', ']'));
    target.map_or(text, |(_, end)| end)
}

/// The inside of the bracket that `text` starts with, and what follows it.
fn bracketed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if depth == 0 {
            return None;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some((&text[1..at], &text[at + 1..]));
            }
        }
    }
    None
}

/// Enough words, nearly all of it ASCII, most of it letters, and lower-case ones among them.
fn is_english(paragraph: &str) -> bool {
    let length = paragraph.len();
    let count = |wanted: fn(&u8) -> bool| paragraph.bytes().filter(wanted).count();
    let letters = count(|byte| byte.is_ascii_alphabetic() || *byte == b' ');
    let lower = count(u8::is_ascii_lowercase);
    paragraph.split(' ').count() >= MIN_WORDS
        && 100 * count(u8::is_ascii) >= 97 * length
        && 100 * letters >= 85 * length
        && 2 * lower > length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_stays_and_code_tables_headings_and_markup_go() {
        let markdown = "# Title of the whole thing here now\n\
            [![badge](https://a.b/c.svg)](https://a.b)\n\n\
            This is the **first** paragraph, which\nlinks [to `Vec<T>`](https://doc.rust-lang.org) and [others][ref].\n\n\
            ```rust\nlet this_is_code = \"and must not be in the text\";\n```\n\
            | a | table | with | many | words | in | it |\n\n\
            - An item that says something of its own.\n- Another item that says something else <br> too.\n\n\
            \x20   let indented = code + is + left + out + too;\n\n\
            See https://example.com/page for more about all of this.\n\n[ref]: https://x.y\nToo short.";
        assert_eq!(
            paragraphs(markdown),
            [
                "This is the first paragraph, which links to Vec<T> and others.",
                "An item that says something of its own.",
                "Another item that says something else too.",
                "See for more about all of this.",
            ]
        );
    }

    #[test]
    fn other_languages_and_tables_of_signs_are_not_english() {
        assert!(paragraphs("Это не английский текст, и его здесь быть не должно.").is_empty());
        assert!(paragraphs("0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08").is_empty());
    }

    #[test]
    fn an_open_fence_ends_with_its_comment_block() {
        let markdown = format!("```\nnever closed\n{BLOCK_END}These are words of the next comment block.");
        assert_eq!(
            paragraphs(&markdown),
            ["These are words of the next comment block."]
        );
    }

    #[test]
    fn unbalanced_markup_neither_panics_nor_loses_the_rest() {
        assert_eq!(
            without_markup("an [open bracket and a < b and ![x"),
            "an open bracket and a < b and x"
        );
    }
}
