//! A page as one self-contained HTML file: a small template, the tables, and the plots inlined.

use std::fmt::Write as _;

use super::escape::html as escape;
use super::page::{Page, QUOTED_LABEL, Section};

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #ddd; --line: #888; --soft: #555; --code: #f4f4f4; --note: #fdf8e8; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e8e8e8; --paper: #161616; --faint: #3a3a3a; --line: #888; --soft: #b0b0b0; --code: #242424; --note: #2b2615; }
figure svg { filter: invert(1) hue-rotate(180deg); }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5rem 0 1rem; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--faint); text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); white-space: normal; vertical-align: bottom; }
tbody th { font-weight: normal; }
caption { text-align: left; white-space: normal; padding-bottom: 0.5rem; max-width: min(70rem, calc(100vw - 2rem)); }
.number { text-align: right; }
.quoted { border-left: 4px solid #b58900; background: var(--note); padding: 0.5rem 1rem; margin: 1.5rem 0; }
figure { margin: 1.5rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: var(--soft); }
pre { background: var(--code); padding: 0.7rem 1rem; overflow-x: auto; }
";

impl Page {
    /// The page as one HTML file that needs no other: styles and figures are inside.
    pub fn to_html(&self) -> String {
        let title = escape(&self.title);
        let mut text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        for section in &self.sections {
            push_section(&mut text, section);
        }
        text + "</body>\n</html>\n"
    }
}

fn push_section(text: &mut String, section: &Section) {
    // Writing to a string cannot fail.
    let _ = match section {
        Section::Heading(title) => writeln!(text, "<h2>{}</h2>", escape(title)),
        Section::Text(words) => writeln!(text, "<p>{}</p>", escape(words)),
        Section::Link { text: name, target } => writeln!(
            text,
            "<p><a href=\"{}.html\">{}</a></p>",
            escape(target),
            escape(name)
        ),
        Section::Code(lines) => writeln!(text, "<pre>{}</pre>", escape(lines.trim_end())),
        Section::Table { caption, table } => {
            writeln!(
                text,
                "<div class=\"scroll\">{}</div>",
                table.to_html(&escape(caption))
            )
        }
        Section::Figure(figure) => {
            // What the picture has for a title is not said twice.
            let caption = if figure.is_titled() {
                String::new()
            } else {
                format!("<figcaption>{}</figcaption>\n", escape(&figure.caption))
            };
            writeln!(text, "<figure>\n{}\n{caption}</figure>", inlined(&figure.svg))
        }
        Section::Quoted {
            caption,
            source,
            table,
            notes,
        } => {
            let (caption, source) = (escape(caption), escape(source));
            let notes = notes
                .iter()
                .fold(String::new(), |all, note| all + "<p>" + &escape(note) + "</p>\n");
            writeln!(
                text,
                "<aside class=\"quoted\">\n<div class=\"scroll\">{}</div>\n{notes}</aside>",
                table.to_html(&format!(
                    "<strong>{QUOTED_LABEL}</strong> {caption}. Source: {source}."
                ))
            )
        }
    };
}

/// An SVG without its XML head, which may not stand inside HTML.
fn inlined(svg: &str) -> &str {
    svg.find("<svg").map_or("", |start| svg[start..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let page = Page {
            title: "<script>".to_owned(),
            sections: vec![Section::Text("1 < 2".to_owned())],
        };
        let html = page.to_html();
        assert!(
            html.contains("<h1>&lt;script&gt;</h1>") && html.contains("<p>1 &lt; 2</p>"),
            "{html}"
        );
    }

    #[test]
    fn tables_have_captions_figures_names_and_the_page_a_dark_side() {
        let figure = |caption: &str| {
            Section::Figure(crate::report::Figure {
                file: "a.svg".into(),
                caption: caption.into(),
                svg: "<svg role=\"img\"><title>Loss</title></svg>".into(),
            })
        };
        let page = Page {
            title: "Report".to_owned(),
            sections: vec![
                Section::Table {
                    caption: "Measured <here>.".to_owned(),
                    table: crate::report::Table::new([("a", crate::report::Align::Left)]).with_row(["x"]),
                },
                figure("Loss"),
                figure("Loss, seed 0"),
            ],
        };
        let html = page.to_html();
        for part in [
            "prefers-color-scheme: dark",
            "<caption>Measured &lt;here&gt;.</caption>",
            "<th scope=\"col\">a</th>",
            "<th scope=\"row\">x</th>",
            "<figcaption>Loss, seed 0</figcaption>",
        ] {
            assert!(html.contains(part), "`{part}` is not in {html}");
        }
        assert_eq!(
            html.matches("<figcaption>").count(),
            1,
            "a title is not repeated: {html}"
        );
    }

    #[test]
    fn the_xml_head_of_a_plot_is_left_out() {
        assert_eq!(inlined("<?xml version=\"1.0\"?>\n<svg></svg>\n"), "<svg></svg>");
        assert_eq!(inlined("not a picture"), "");
    }
}
