//! The page of instruction tuning.
use super::{Plan, answers};
use crate::Cli;
use crate::estimate;
use crate::experiment::Runs;
use crate::outcome::CompleteRun;
use crate::report::format::{
    bytes, duration, learning_rate, loss, mean_and_deviation, milliseconds, percent,
};
use crate::report::{
    Align, CurveStyle, MEMORY_PARTS, Page, Section, Table, loss_curves_svg, memory_bars_svg, memory_table,
    quoted_instruction_table, selection_map_svg,
};
use crate::summary::{
    by_method, diverged_section, evaluation_curve, final_training_loss, loss_curve, memory_bars, method_rows,
    selection_map,
};
use anyhow::Result;
use blockllm_train::Record;

/// Characters of a text that the table of answers shows.
const SHOWN_CHARACTERS: usize = 300;

/// Tables, plots, answers side by side and the published figures, from the records on disk.
pub(super) fn build(cli: &Cli, plan: &Plan, Runs { complete, diverged }: &Runs<()>) -> Result<Page> {
    let runs: Vec<&CompleteRun> = complete.iter().map(|run| &run.run).collect();
    let records = runs
        .iter()
        .map(|run| run.folder.records())
        .collect::<Result<Vec<_>, _>>()?;
    let rows = method_rows(runs.iter().map(|run| &run.result));
    let mut sections = vec![Section::Text(introduction(plan))];
    sections.extend(diverged_section(diverged));
    let page = Page {
        title: "Instruction tuning".into(),
        sections,
    }
    .with(Section::Table {
        caption: "Measured here: the loss of a token of an answer, at the end of training (validation: all tokens of answers \
                  weigh the same; training: the mean over the last tenth of the steps). Mean and standard deviation over seeds."
            .into(),
        table: losses(plan, &runs, &records),
    })
    .with(Section::Table {
        caption: format!("Peak memory and its parts, measured. {MEMORY_PARTS}"),
        table: memory_table(&rows),
    })
    .with(estimate::section(&compared(plan, &runs, &records), ""))
    .with(Section::Table {
        caption: "What all runs share:".into(),
        table: set_up(cli, plan),
    })
    .with_all(plan.notes.iter().map(|note| Section::Text(format!("Note: {note}."))));
    let page = curves(page, &runs, &records)?;
    let bars = memory_bars_svg("Peak memory", &memory_bars(&rows))?;
    let page = page.with(Section::figure("memory.svg", "Peak memory by part", bars));
    let page = page.with_all(side_by_side(&runs)?);
    Ok(maps(page, &runs, &records)?.with(quoted_instruction_table()))
}

fn introduction(plan: &Plan) -> String {
    format!(
        "{}. Every method of a seed starts from the same weights and sees the same rows; the loss counts answers only unless the \
         table of the set-up says otherwise. The figures compare methods on this model and this data, not with the published ones.",
        plan.describe()
    )
}

fn losses(plan: &Plan, runs: &[&CompleteRun], records: &[Vec<Record>]) -> Table {
    let mut table = Table::new([
        ("method", Align::Left),
        ("learning rate", Align::Right),
        ("seeds", Align::Right),
        ("validation loss", Align::Right),
        ("untrained", Align::Right),
        ("best", Align::Right),
        ("training loss", Align::Right),
        ("trained share", Align::Right),
        ("optimizer state", Align::Right),
        ("peak memory", Align::Right),
        ("step (ms)", Align::Right),
        ("training time", Align::Right),
    ]);
    for method in &plan.methods {
        let of_method: Vec<_> = runs
            .iter()
            .zip(records)
            .filter(|(run, _)| run.result.method == method.label)
            .collect();
        let Some((first, _)) = of_method.first() else {
            continue;
        };
        let results = || of_method.iter().map(|(run, _)| &run.result);
        let shown = |values: Vec<f64>| mean_and_deviation(&values, loss);
        let largest = |values: Vec<u64>| bytes(values.into_iter().max().unwrap_or(0));
        table.push_row([
            method.label.clone(),
            learning_rate(first.result.train_config.learning_rate),
            of_method.len().to_string(),
            shown(results().map(|result| result.last.evaluation.loss).collect()),
            shown(results().map(|result| result.untrained.evaluation.loss).collect()),
            shown(results().map(|result| result.best.evaluation.loss).collect()),
            shown(
                of_method
                    .iter()
                    .map(|(_, records)| final_training_loss(records))
                    .collect(),
            ),
            percent(first.result.trained_share),
            largest(
                results()
                    .map(|result| result.memory.optimizer_state_bytes.measured)
                    .collect(),
            ),
            largest(results().map(|result| result.memory.peak_bytes).collect()),
            mean_and_deviation(
                &results().map(|result| result.step_ms).collect::<Vec<_>>(),
                milliseconds,
            ),
            mean_and_deviation(
                &of_method
                    .iter()
                    .map(|(_, records)| training_seconds(records))
                    .collect::<Vec<_>>(),
                duration,
            ),
        ]);
    }
    table
}

/// The runs of the first seed beside their plans.
fn compared(plan: &Plan, runs: &[&CompleteRun], records: &[Vec<Record>]) -> Vec<estimate::Compared> {
    let (model, batch) = (plan.shape(), plan.settings.micro_batch());
    let first = runs
        .iter()
        .zip(records)
        .filter(|(run, _)| run.result.seed == plan.settings.seed);
    first
        .map(|(run, records)| estimate::compared(&run.result, records, &model, batch))
        .collect()
}

fn set_up(cli: &Cli, plan: &Plan) -> Table {
    let rows = plan
        .table(cli)
        .into_iter()
        .map(|(name, value)| [name.to_owned(), value]);
    let columns = Table::new([("set-up", Align::Left), ("", Align::Left)]);
    rows.fold(columns, Table::with_row)
}

fn curves(page: Page, runs: &[&CompleteRun], records: &[Vec<Record>]) -> Result<Page> {
    let style = |title: &str, smoothing| CurveStyle {
        title: title.into(),
        x_label: "tokens".into(),
        y_label: "loss".into(),
        smoothing,
        ..CurveStyle::default()
    };
    let all = || runs.iter().zip(records);
    let training = all().map(|(run, records)| loss_curve(&run.result.method, records));
    let training = loss_curves_svg(&by_method(training), &style("Training loss", Some(0.9)))?;
    let validation =
        all().map(|(run, records)| evaluation_curve(&run.result.method, records, |found| found.loss));
    let validation = loss_curves_svg(&by_method(validation), &style("Validation loss", None))?;
    Ok(page
        .with(Section::figure("loss.svg", "Training loss, smoothed", training))
        .with(Section::figure("validation.svg", "Validation loss", validation)))
}

/// Which blocks each method trained when, for the first seed.
fn maps(mut page: Page, runs: &[&CompleteRun], records: &[Vec<Record>]) -> Result<Page> {
    let first = runs.first().map(|run| run.result.seed);
    for (run, records) in runs.iter().zip(records) {
        if Some(run.result.seed) != first {
            continue;
        }
        let title = format!("Blocks trained by {}", run.result.method);
        if let Some(map) = selection_map(&title, &run.result.blocks, run.result.steps, records) {
            let file = format!("selection-{}.svg", run.result.method_config.folder_name(0));
            page = page.with(Section::figure(&file, &title, selection_map_svg(&map)?));
        }
    }
    Ok(page)
}

/// What the models of the first seed say to the same prompts.
fn side_by_side(runs: &[&CompleteRun]) -> Result<Vec<Section>> {
    let first = runs.first().map(|run| run.result.seed);
    let mut table = Table::new([
        ("prompt", Align::Left),
        ("who", Align::Left),
        ("answer", Align::Left),
    ]);
    let mut said = Vec::new();
    for run in runs.iter().filter(|run| Some(run.result.seed) == first) {
        said.push((run.result.method.clone(), answers::read(run.folder.path())?));
    }
    let Some((_, questions)) = said.first() else {
        return Ok(Vec::new());
    };
    for (place, question) in questions.iter().enumerate() {
        table.push_row([
            shortened(&question.asked),
            "the data".to_owned(),
            shortened(&question.expected),
        ]);
        for (method, answers) in &said {
            if let Some(answer) = answers.get(place) {
                table.push_row([String::new(), method.clone(), shortened(&answer.answered)]);
            }
        }
    }
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Section::Table {
        caption: "A few prompts of the validation data, answered with the likeliest token every time.".into(),
        table,
    }])
}

/// On one line, and not longer than a table's cell bears.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{} ..", &line[..end]),
        None => line,
    }
}

/// How long the steps of a run took, waits for data included; evaluations and checkpoints are not.
fn training_seconds(records: &[Record]) -> f64 {
    let milliseconds = records.iter().filter_map(|record| match record {
        Record::Step(step) => Some(step.step_ms + step.wait_ms),
        _ => None,
    });
    milliseconds.sum::<f64>() / 1e3
}
