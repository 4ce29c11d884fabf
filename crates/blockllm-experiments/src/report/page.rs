//! A report's page: sections of text, tables, figures and quoted figures, written as `report.md` and `report.html`.

use std::fmt::Write as _;
use std::path::Path;

use super::atomic::write_atomically;
use super::markdown::escape;
use super::{ReportError, Table, html};

/// A report, before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The page's heading.
    pub title: String,
    /// What follows, in order.
    pub sections: Vec<Section>,
}

/// A piece of a page. Text is plain: it is escaped for HTML and not read as Markdown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// A heading below the page's title.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A link to another page, whose file ends in `.md` here and in `.html` there.
    Link {
        /// What it is called.
        text: String,
        /// The page's path without its ending, relative to this one.
        target: String,
    },
    /// Lines that keep their form: a command, a config.
    Code(String),
    /// Measured figures.
    Table {
        /// What the table shows.
        caption: String,
        /// The table.
        table: Table,
    },
    /// Figures that were published by others: see [`super::quoted_table`].
    Quoted {
        /// What the table shows.
        caption: String,
        /// Where it was published.
        source: String,
        /// The table.
        table: Table,
        /// What one must know to compare.
        notes: Vec<String>,
    },
    /// A plot.
    Figure(Figure),
}

/// A plot, which lies in a file beside `report.md` and inside `report.html`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The file's path, relative to the report, with `/` between folders.
    pub file: String,
    /// What the plot shows.
    pub caption: String,
    /// The plot itself.
    pub svg: String,
}

impl Figure {
    /// Whether the caption is what the picture is titled already.
    pub fn is_titled(&self) -> bool {
        self.svg
            .contains(&format!("<title>{}</title>", html::escape(&self.caption)))
    }
}

/// What stands above every quoted table.
pub(crate) const QUOTED_LABEL: &str = "Quoted, not measured here.";

impl Page {
    /// Adds a section at the end.
    #[must_use]
    pub fn with(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// Adds sections at the end.
    #[must_use]
    pub fn with_all(mut self, sections: impl IntoIterator<Item = Section>) -> Self {
        self.sections.extend(sections);
        self
    }

    /// The page in Markdown; figures are links to their files.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n", escape(&self.title));
        for section in &self.sections {
            text.push('\n');
            text.push_str(&section.to_markdown());
        }
        text
    }

    /// The page as one HTML file that needs no other: styles and figures are inside.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// Writes the figures, `report.md` and `report.html` into `folder`, each whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ReportError::Write`] with the path of the file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        // The figures first: a page never links to what is not there yet.
        for section in &self.sections {
            if let Section::Figure(figure) = section {
                write_atomically(&folder.join(&figure.file), &figure.svg)?;
            }
        }
        write_atomically(&folder.join("report.html"), &self.to_html())?;
        write_atomically(&folder.join("report.md"), &self.to_markdown())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Align, quoted_table};

    fn page() -> Page {
        let table =
            || Table::new([("method", Align::Left), ("ppl", Align::Right)]).with_row(["adamw", "24.10"]);
        Page {
            title: "C4 at the quick scale".to_owned(),
            sections: Vec::new(),
        }
        .with(Section::Heading("Results".to_owned()))
        .with(Section::Table {
            caption: "Measured by this run:".to_owned(),
            table: table(),
        })
        .with(quoted_table(
            "Perplexity",
            "a paper, table 2",
            table(),
            ["At another size.".to_owned()],
        ))
        .with(Section::Figure(Figure {
            file: "c4/loss.svg".to_owned(),
            caption: "Training loss".to_owned(),
            svg: "<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>".to_owned(),
        }))
        .with(Section::Code("cargo xtask reproduce-paper\n".to_owned()))
    }

    #[test]
    fn a_page_reads_well_as_markdown() {
        insta::assert_snapshot!(page().to_markdown(), @r"
        # C4 at the quick scale

        ## Results

        Measured by this run:

        | method |   ppl |
        | ------ | ----: |
        | adamw  | 24.10 |

        > **Quoted, not measured here.** Perplexity. Source: a paper, table 2.
        >
        > | method |   ppl |
        > | ------ | ----: |
        > | adamw  | 24.10 |
        >
        > At another size.

        ![Training loss](c4/loss.svg)

        Training loss

        ```text
        cargo xtask reproduce-paper
        ```
        ");
    }

    #[test]
    fn all_files_of_a_page_are_written() {
        let folder = tempfile::tempdir().unwrap();
        page().write(folder.path()).unwrap();
        for file in ["report.md", "report.html", "c4/loss.svg"] {
            assert!(folder.path().join(file).is_file(), "{file} is missing");
        }
    }

    #[test]
    fn the_html_page_needs_no_other_file() {
        let html = page().to_html();
        assert!(
            html.contains("<svg xmlns") && !html.contains("src=") && !html.contains("href="),
            "{html}"
        );
        assert!(
            html.contains("class=\"quoted\"") && html.contains("Source: a paper, table 2"),
            "{html}"
        );
    }
}
