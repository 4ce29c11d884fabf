//! The page of the ablations: a table and a plot for each question, from the runs that are complete.
use super::Ablations;
use crate::Cli;
use crate::experiment::Runs;
use crate::outcome::CompleteRun;
use crate::report::format::{bytes, learning_rate, mean_and_deviation, percent, perplexity};
use crate::report::{Align, Curve, CurveStyle, Page, Section, Table, loss_curves_svg};
use crate::summary::{by_method, diverged_section, loss_curve, method_rows};
use anyhow::Result;

pub(super) fn build(
    ablations: &Ablations,
    cli: &Cli,
    Runs { complete, diverged }: &Runs<()>,
) -> Result<Page> {
    let runs: Vec<_> = complete.iter().map(|run| &run.run).collect();
    let mut page = Page {
        title: "Ablations".into(),
        sections: vec![Section::Text(introduction(ablations, cli))],
    }
    .with_all(diverged_section(diverged));
    for question in &ablations.questions {
        let of_question: Vec<&CompleteRun> = question
            .methods
            .iter()
            .flat_map(|method| runs.iter().filter(move |run| run.result.method == *method))
            .copied()
            .collect();
        if of_question.is_empty() {
            continue;
        }
        page = page.with(Section::Table {
            caption: format!("{}: {}", question.name, question.asks),
            table: table(&of_question),
        });
        let title = format!("Training loss, smoothed: {}", question.name);
        let style = CurveStyle {
            title: title.clone(),
            x_label: "tokens".into(),
            y_label: "loss (nats per token)".into(),
            smoothing: Some(0.95),
            ..CurveStyle::default()
        };
        let svg = loss_curves_svg(&curves(&of_question)?, &style)?;
        page = page.with(Section::figure(format!("{}.svg", question.name), title, svg));
    }
    Ok(page)
}

fn introduction(ablations: &Ablations, cli: &Cli) -> String {
    let rows: Vec<String> = ablations
        .plan
        .table(cli)
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    format!(
        "Each table changes one thing; the first row is what the others differ from. All runs of a seed start from the same \
         weights and see the same batches. A row without a learning rate in its name has its method's default, which was \
         tuned for that method and not for the row. {}.",
        rows.join("; ")
    )
}

/// What each method reached, and what it takes.
fn table(runs: &[&CompleteRun]) -> Table {
    let rows = method_rows(runs.iter().map(|run| &run.result));
    let columns = Table::new([
        ("method", Align::Left),
        ("learning rate", Align::Right),
        ("seeds", Align::Right),
        ("validation perplexity", Align::Right),
        ("trained share", Align::Right),
        ("optimizer state", Align::Right),
        ("peak memory", Align::Right),
    ]);
    rows.iter().fold(columns, |table, row| {
        table.with_row([
            row.method.clone(),
            learning_rate(row.learning_rate),
            row.validation_perplexity.len().to_string(),
            mean_and_deviation(&row.validation_perplexity, perplexity),
            percent(row.trained_share),
            bytes(row.memory.optimizer_state_bytes),
            bytes(row.peak_bytes),
        ])
    })
}

fn curves(runs: &[&CompleteRun]) -> Result<Vec<Curve>> {
    let curves = runs
        .iter()
        .map(|run| Ok(loss_curve(&run.result.method, &run.folder.records()?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(by_method(curves))
}
