//! A chapter of the ablations' page: what the rows of a stage, or of a task, have reached; a table and plots for each question.
use super::measures::{Measure, MeasuredRun};
use super::plan::AskedQuestion;
use crate::outcome::CompleteRun;
use crate::report::format::{bytes, learning_rate, mean_and_deviation, percent};
use crate::report::{Align, Curve, CurveStyle, Page, Section, Table, loss_curves_svg};
use crate::summary::{by_method, evaluation_curve, loss_curve, method_rows};
use anyhow::Result;

/// What its runs have in common.
#[derive(Debug)]
pub(super) struct Chapter<'a> {
    /// Its heading, in the titles of its plots too.
    pub name: String,
    /// What its runs share, in words.
    pub set_up: String,
    /// What begins the names of its plots' files.
    pub file_prefix: String,
    /// What every caption says where the rows are not what their name says.
    pub mark: &'static str,
    /// What a loss is of.
    pub loss_label: &'static str,
    pub questions: &'a [AskedQuestion],
    pub measures: Vec<Measure>,
    pub runs: Vec<&'a CompleteRun>,
}

impl Chapter<'_> {
    /// `page` with this chapter at its end.
    ///
    /// # Errors
    /// When records cannot be read, or a plot cannot be drawn.
    pub fn add_to(&self, page: Page) -> Result<Page> {
        if self.runs.is_empty() {
            return Ok(page);
        }
        let mut page = page
            .with(Section::Heading(self.name.clone()))
            .with(Section::Text(self.set_up.clone()));
        for asked in self.questions {
            let runs = self.runs_of(asked)?;
            if !runs.is_empty() {
                page = self.add_question(page, asked, &runs)?;
            }
        }
        Ok(page)
    }

    /// The runs of a question's rows, in the order of these.
    fn runs_of(&self, asked: &AskedQuestion) -> Result<Vec<MeasuredRun<'_>>> {
        let runs = asked
            .methods
            .iter()
            .flat_map(|method| self.runs.iter().filter(move |run| run.result.method == *method));
        runs.map(|run| {
            Ok(MeasuredRun {
                run,
                records: run.folder.records()?,
            })
        })
        .collect()
    }

    /// Its table; a plot of the main metric, where it has one; and one of the training loss.
    fn add_question(&self, page: Page, asked: &AskedQuestion, runs: &[MeasuredRun<'_>]) -> Result<Page> {
        let (name, mark) = (asked.question.name, self.mark);
        let mut page = page.with(Section::Table {
            caption: format!("{name}: {}{mark}", asked.question.asks),
            table: table(&self.measures, runs),
        });
        if let Some(metric) = self.measures.iter().find(|measure| measure.rises()) {
            let style = CurveStyle {
                title: format!("{}: {}, {name}{mark}", self.name, metric.name()),
                y_label: format!("{} x 100, the higher the better", metric.name()),
                rises: true,
                ..style()
            };
            let curves = curves(runs, |run| {
                let value = |evaluation: &_| metric.of_evaluation(evaluation).unwrap_or(f64::NAN);
                evaluation_curve(&run.run.result.method, &run.records, value)
            });
            page = page.with(self.figure(&format!("{name}-score"), &curves, &style)?);
        }
        let style = CurveStyle {
            title: format!("{}: training loss, smoothed, {name}{mark}", self.name),
            y_label: self.loss_label.into(),
            smoothing: Some(0.95),
            ..style()
        };
        let curves = curves(runs, |run| loss_curve(&run.run.result.method, &run.records));
        Ok(page.with(self.figure(name, &curves, &style)?))
    }

    fn figure(&self, name: &str, curves: &[Curve], style: &CurveStyle) -> Result<Section> {
        let file = format!("{}{name}.svg", self.file_prefix);
        let svg = loss_curves_svg(curves, style)?;
        Ok(Section::figure(file, &style.title, svg))
    }
}

fn style() -> CurveStyle {
    CurveStyle {
        x_label: "tokens".into(),
        ..CurveStyle::default()
    }
}

/// One curve for each method, the mean of its seeds in a band.
fn curves<'a>(runs: &'a [MeasuredRun<'a>], of_run: impl Fn(&'a MeasuredRun<'a>) -> Curve) -> Vec<Curve> {
    by_method(runs.iter().map(of_run))
}

/// What each method reached, mean and standard deviation over its seeds, and what it takes.
fn table(measures: &[Measure], runs: &[MeasuredRun<'_>]) -> Table {
    let before = [
        ("method", Align::Left),
        ("learning rate", Align::Right),
        ("seeds", Align::Right),
    ];
    let after = ["trained share", "optimizer state", "peak memory"];
    let before = before.map(|(title, align)| (title.to_owned(), align));
    let reached = measures.iter().map(|measure| (measure.title(), Align::Right));
    let after = after.map(|title| (title.to_owned(), Align::Right));
    let mut table = Table::new(before.into_iter().chain(reached).chain(after));
    for row in method_rows(runs.iter().map(|run| &run.run.result)) {
        let of_method = || runs.iter().filter(|run| run.run.result.method == row.method);
        let mut cells = vec![
            row.method.clone(),
            learning_rate(row.learning_rate),
            of_method().count().to_string(),
        ];
        cells.extend(measures.iter().map(|measure| {
            let values: Vec<f64> = of_method().map(|run| measure.of(run)).collect();
            mean_and_deviation(&values, |value| measure.show(value))
        }));
        cells.extend([
            percent(row.trained_share),
            bytes(row.memory.optimizer_state_bytes),
            bytes(row.peak_bytes),
        ]);
        table.push_row(cells);
    }
    table
}
