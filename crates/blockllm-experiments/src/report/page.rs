//! A report's page: sections of text, tables, figures and quoted figures.

use super::{Table, escape};

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

impl Section {
    /// A plot with its file and caption.
    pub fn figure(file: impl Into<String>, caption: impl Into<String>, svg: String) -> Self {
        Self::Figure(Figure {
            file: file.into(),
            caption: caption.into(),
            svg,
        })
    }
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
            .contains(&format!("<title>{}</title>", escape::html(&self.caption)))
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
}
