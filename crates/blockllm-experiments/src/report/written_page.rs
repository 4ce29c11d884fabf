//! A page on the disk: `report.md`, `report.html` and the figures.

use std::path::Path;

use super::ReportError;
use super::atomic::write_atomically;
use super::page::{Page, Section};

impl Page {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Align, Figure, Table, quoted_table};

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
