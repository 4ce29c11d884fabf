//! A page as Markdown.

use std::fmt::Write as _;

use super::escape::markdown as escape;
use super::page::{Page, QUOTED_LABEL, Section};

impl Page {
    /// The page in Markdown; figures are links to their files.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n", escape(&self.title));
        for section in &self.sections {
            text.push('\n');
            text.push_str(&section.to_markdown());
        }
        text
    }
}

impl Section {
    fn to_markdown(&self) -> String {
        match self {
            Self::Heading(title) => format!("## {}\n", escape(title)),
            Self::Text(text) => format!("{}\n", escape(text)),
            Self::Link { text, target } => {
                format!("[{}]({target}.md)\n", escape(&text.replace(['[', ']'], "")))
            }
            Self::Code(text) => format!("```text\n{}\n```\n", text.trim_end()),
            Self::Table { caption, table } => format!("{}\n\n{}", escape(caption), table.to_markdown()),
            Self::Figure(figure) => {
                // In the alternative text, brackets would end the link's name.
                let name = escape(&figure.caption.replace(['[', ']'], ""));
                let picture = format!("![{name}]({})\n", figure.file.replace(' ', "%20"));
                if figure.is_titled() {
                    picture
                } else {
                    format!("{picture}\n{}\n", escape(&figure.caption))
                }
            }
            Self::Quoted {
                caption,
                source,
                table,
                notes,
            } => {
                let mut text = format!(
                    "**{QUOTED_LABEL}** {caption}. Source: {source}.\n\n{}",
                    table.to_markdown()
                );
                for note in notes {
                    let _ = write!(text, "\n{}\n", escape(note));
                }
                block_quote(&text)
            }
        }
    }
}

fn block_quote(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.is_empty() {
            ">".to_owned()
        } else {
            format!("> {line}")
        }
    });
    lines.fold(String::new(), |all, line| all + &line + "\n")
}
