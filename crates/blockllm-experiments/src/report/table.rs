//! Tables with aligned columns, as Markdown and as HTML.

use std::fmt::Write as _;

use super::escape::{html as escape, markdown as escape_markdown};

/// How the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names and sentences.
    Left,
    /// Numbers.
    Right,
}

/// A table: titled columns and rows of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Align {
    fn padded(self, text: &str, width: usize) -> String {
        match self {
            Self::Left => format!("{text:<width$}"),
            Self::Right => format!("{text:>width$}"),
        }
    }

    fn rule(self, width: usize) -> String {
        match self {
            Self::Left => "-".repeat(width),
            Self::Right => format!("{}:", "-".repeat(width - 1)),
        }
    }
}

impl Table {
    /// A table without rows.
    pub fn new<T: Into<String>>(columns: impl IntoIterator<Item = (T, Align)>) -> Self {
        let columns = columns
            .into_iter()
            .map(|(title, align)| (title.into(), align))
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells that are missing at its end stay empty; cells beyond the last column are dropped.
    #[must_use]
    pub fn with_row<T: Into<String>>(mut self, cells: impl IntoIterator<Item = T>) -> Self {
        self.push_row(cells);
        self
    }

    /// Adds a row in place, as [`Table::with_row`] does.
    pub fn push_row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The number of rows below the titles.
    pub fn num_rows(&self) -> usize {
        self.rows.len()
    }

    /// The table in GitHub's Markdown, padded so that it can be read as it is.
    pub fn to_markdown(&self) -> String {
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|(title, _)| markdown_cell(title))
            .collect();
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| markdown_cell(cell)).collect())
            .collect();
        let widths: Vec<usize> = (0..titles.len())
            .map(|column| {
                let cells = rows
                    .iter()
                    .chain([&titles])
                    .map(|row| row[column].chars().count());
                // Markdown wants three characters in the rule below the titles.
                cells.max().unwrap_or(0).max(3)
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = String>| {
            cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |")) + "\n"
        };
        let aligns = || self.columns.iter().map(|(_, align)| *align).zip(&widths);
        let mut text = line(
            &mut aligns()
                .zip(&titles)
                .map(|((align, width), title)| align.padded(title, *width)),
        );
        text += &line(&mut aligns().map(|(align, width)| align.rule(*width)));
        for row in &rows {
            text += &line(
                &mut aligns()
                    .zip(row)
                    .map(|((align, width), cell)| align.padded(cell, *width)),
            );
        }
        text
    }

    /// The table as an HTML `<table>` with a caption, which is HTML. The first cell of a row is its head.
    pub fn to_html(&self, caption: &str) -> String {
        let mut text = format!("<table>\n<caption>{caption}</caption>\n<thead><tr>");
        let class = |column: usize| match self.columns[column].1 {
            Align::Left => "",
            Align::Right => " class=\"number\"",
        };
        for (column, (title, _)) in self.columns.iter().enumerate() {
            let class = class(column);
            let _ = write!(text, "<th scope=\"col\"{class}>{}</th>", escape(title));
        }
        text.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            text.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let (cell, class) = (escape(cell), class(column));
                let _ = if column == 0 && !cell.is_empty() {
                    write!(text, "<th scope=\"row\"{class}>{cell}</th>")
                } else {
                    write!(text, "<td{class}>{cell}</td>")
                };
            }
            text.push_str("</tr>\n");
        }
        text + "</tbody>\n</table>\n"
    }
}

/// A cell may hold neither a column's border nor a line's end.
fn markdown_cell(text: &str) -> String {
    escape_markdown(text)
        .replace('|', "\\|")
        .replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new([
            ("method", Align::Left),
            ("ppl", Align::Right),
            ("peak", Align::Right),
        ])
        .with_row(["adamw", "24.10 ± 0.30", "1.21 GiB"])
        .with_row(["blockllm:0.5", "29.88", "804.12 MiB"])
        .with_row(["a|b <c>"])
    }

    #[test]
    fn markdown_columns_are_aligned() {
        insta::assert_snapshot!(table().to_markdown(), @r"
        | method       |          ppl |       peak |
        | ------------ | -----------: | ---------: |
        | adamw        | 24.10 ± 0.30 |   1.21 GiB |
        | blockllm:0.5 |        29.88 | 804.12 MiB |
        | a\|b \<c>    |              |            |
        ");
    }

    #[test]
    fn html_cells_are_escaped() {
        insta::assert_snapshot!(table().to_html("Measured"), @r#"
        <table>
        <caption>Measured</caption>
        <thead><tr><th scope="col">method</th><th scope="col" class="number">ppl</th><th scope="col" class="number">peak</th></tr></thead>
        <tbody>
        <tr><th scope="row">adamw</th><td class="number">24.10 ± 0.30</td><td class="number">1.21 GiB</td></tr>
        <tr><th scope="row">blockllm:0.5</th><td class="number">29.88</td><td class="number">804.12 MiB</td></tr>
        <tr><th scope="row">a|b &lt;c&gt;</th><td class="number"></td><td class="number"></td></tr>
        </tbody>
        </table>
        "#);
    }

    #[test]
    fn a_table_without_rows_is_still_a_table() {
        assert_eq!(
            Table::new([("a", Align::Right)]).to_markdown(),
            "|   a |\n| --: |\n"
        );
    }
}
