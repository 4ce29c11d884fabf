//! Text that means nothing but itself in Markdown and in HTML: names of folders and models are not ours to choose.

/// `text` with all that Markdown would read escaped, but for spans in backticks that are closed, which are code.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let behind = &rest[start + 1..];
        let Some(length) = behind.find('`') else { break };
        push_plain(&mut escaped, &rest[..start]);
        escaped.push_str(&rest[start..=start + 1 + length]);
        rest = &behind[length + 1..];
    }
    push_plain(&mut escaped, rest);
    escaped
}

/// `text` with all that HTML would read escaped.
pub fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn push_plain(escaped: &mut String, text: &str) {
    let mut before = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let means_something = match letter {
            '\\' | '`' | '*' | '<' | '[' | ']' | '~' => true,
            // Inside a word it is a letter like others.
            '_' => !(is_word(before) && is_word(letters.peek().copied())),
            '&' => is_word(letters.peek().copied()) || letters.peek() == Some(&'#'),
            '>' => before.is_none() && escaped.is_empty(),
            '#' | '-' | '+' => before.is_none() && escaped.is_empty() && letters.peek() == Some(&' '),
            _ => false,
        };
        if means_something {
            escaped.push('\\');
        }
        escaped.push(letter);
        before = Some(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_do_not_become_markup() {
        for (text, expected) in [
            ("<img src=x>", "\\<img src=x>"),
            ("a_b_c and _d_", "a_b_c and \\_d\\_"),
            ("[x](http://y) *z*", "\\[x\\](http://y) \\*z\\*"),
            (
                "# no heading, blockllm:0.9+norm=grad",
                "\\# no heading, blockllm:0.9+norm=grad",
            ),
            ("-1.40 and +0.2", "-1.40 and +0.2"),
            ("- no list", "\\- no list"),
            ("AT&T, a & b, &lt;", "AT\\&T, a & b, \\&lt;"),
            (
                "method `a*b_` and an open ` tick",
                "method `a*b_` and an open \\` tick",
            ),
        ] {
            assert_eq!(markdown(text), expected);
        }
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(html("a < b & \"c\""), "a &lt; b &amp; &quot;c&quot;");
    }
}
