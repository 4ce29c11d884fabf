//! The page of the GLUE experiment.
use super::comparison::{self, Scored};
use super::scores::{score, shown_score};
use super::{Plan, Source, TaskPlan};
use crate::estimate;
use crate::experiment::{PartRun, Runs};
use crate::outcome::DivergedRun;
use crate::report::format::{bytes, learning_rate, mean, mean_and_deviation, milliseconds, percent};
use crate::report::{
    Align, CurveStyle, MEMORY_PARTS, Page, Section, Table, loss_curves_svg, memory_bars_svg, memory_table,
    quoted_glue_table, selection_map_svg,
};
use crate::summary::{by_method, diverged_section, loss_curve, memory_bars, method_rows, selection_map};
use anyhow::Result;
use blockllm_data::glue::GlueTask;
use blockllm_train::{EvaluationRecord, RunResult};

/// A run and its task.
type TaskRun = PartRun<GlueTask>;

/// Tables, plots and the published figures, from the records on disk.
pub(super) fn build(
    plan: &Plan,
    Runs {
        complete: runs,
        diverged,
    }: &Runs<GlueTask>,
) -> Result<Page> {
    let introduction = format!(
        "{}. Every method of a seed starts from the same weights, the same fresh head if the checkpoint has none, and \
         sees the same batches; a fresh head is trained at every step. Patience {} where a method names none. The \
         figures compare methods on this one checkpoint; the published table below is of RoBERTa-base.",
        plan.describe(),
        plan.settings.patience
    );
    let mut sections = vec![Section::Text(introduction)];
    sections.extend(diverged_section(diverged));
    let mut page = Page {
        title: title(plan).into(),
        sections,
    }
    .with(Section::Table {
        caption: format!(
            "Measured here{}: scores x 100 on {} at the end of training, mean and standard deviation over seeds.",
            plan.mark(),
            plan.judged()
        ),
        table: scores(plan, runs, |result| &result.last),
    })
    .with(Section::Table {
        caption: format!(
            "The same at the best epoch of each run{}: chosen on the rows that it is judged by, so too high.",
            plan.mark()
        ),
        table: scores(plan, runs, |result| &result.best),
    })
    .with_all(beside_full(plan, runs, diverged))
    .with(Section::Table {
        caption: format!("Rows that were used, of those that are there{}.", plan.mark()),
        table: rows(plan),
    })
    .with(Section::Table {
        caption: format!("All metrics and costs of each task{}.", plan.mark()),
        table: details(plan, runs),
    });
    for task in &plan.tasks {
        page = add_task(page, plan, task.data.task, runs)?;
    }
    Ok(page.with(quoted_glue_table()))
}

/// How many rows of each task were used.
fn rows(plan: &Plan) -> Table {
    let mut table = Table::new([
        ("task", Align::Left),
        ("training rows", Align::Right),
        ("validation rows", Align::Right),
    ]);
    for TaskPlan { data, available, .. } in &plan.tasks {
        let of = |used: usize, there: usize| {
            if used < there {
                format!("the first {used} of {there}")
            } else {
                format!("all {there}")
            }
        };
        table.push_row([
            data.task.name().to_owned(),
            of(data.train.len(), available[0]),
            of(data.validation.len(), available[1]),
        ]);
    }
    table
}

/// The methods beside full fine-tuning; nothing where it was not run, or alone.
fn beside_full(plan: &Plan, runs: &[TaskRun], diverged: &[DivergedRun]) -> Vec<Section> {
    let scored: Vec<_> = runs
        .iter()
        .map(|PartRun { part: task, run }| Scored {
            task: *task,
            score: main_score(*task, &run.result.last),
            result: &run.result,
        })
        .collect();
    let comparisons = comparison::compare(&plan.methods, &scored);
    if comparisons.is_empty() {
        return Vec::new();
    }
    let tasks: Vec<_> = plan.tasks.iter().map(|task| task.data.task).collect();
    let diverged = diverged.iter().map(|run| run.method.as_str()).collect();
    vec![
        Section::Table {
            caption: format!(
                "Beside full fine-tuning at the end of training{}: points above it on the same tasks and seeds, mean and \
                 standard deviation over seeds, and shares of what it takes.",
                plan.mark()
            ),
            table: comparison::table(&comparisons),
        },
        Section::Text(comparison::verdict(&comparisons, &diverged, &tasks, plan.mark())),
    ]
}

fn title(plan: &Plan) -> &'static str {
    match plan.source {
        Source::Files(_) => "GLUE fine-tuning",
        Source::Generated => "Fine-tuning on a generated stand-in (not GLUE)",
    }
}

fn of<'a>(runs: &'a [TaskRun], task: GlueTask, method: &'a str) -> impl Iterator<Item = &'a RunResult> {
    runs.iter()
        .filter(move |run| run.part == task && run.run.result.method == method)
        .map(|run| &run.run.result)
}

/// The task's main metric, in hundredths.
fn main_score(task: GlueTask, record: &EvaluationRecord) -> f64 {
    score(&record.evaluation, task.metrics()[0].name())
}

fn scores(plan: &Plan, runs: &[TaskRun], record: impl Fn(&RunResult) -> &EvaluationRecord) -> Table {
    let tasks: Vec<GlueTask> = plan.tasks.iter().map(|task| task.data.task).collect();
    let heads: Vec<String> = tasks
        .iter()
        .map(|task| format!("{} ({})", task.name(), task.metrics()[0].name()))
        .collect();
    let columns = heads.iter().map(|head| (head.as_str(), Align::Right));
    let mut table = Table::new(
        [("method", Align::Left)]
            .into_iter()
            .chain(columns)
            .chain([("mean", Align::Right)]),
    );
    for method in &plan.methods {
        let mut cells = vec![method.label.clone()];
        let mut means = Vec::new();
        for task in &tasks {
            let values: Vec<f64> = of(runs, *task, &method.label)
                .map(|result| main_score(*task, record(result)))
                .collect();
            means.push(mean(&values));
            cells.push(mean_and_deviation(&values, shown_score));
        }
        cells.push(shown_score(mean(&means)));
        table.push_row(cells);
    }
    table
}

fn details(plan: &Plan, runs: &[TaskRun]) -> Table {
    let mut table = Table::new([
        ("task", Align::Left),
        ("method", Align::Left),
        ("seeds", Align::Right),
        ("learning rate", Align::Right),
        ("at the end", Align::Left),
        ("steps", Align::Right),
        ("best at step", Align::Right),
        ("trained share", Align::Right),
        ("optimizer state", Align::Right),
        ("peak memory", Align::Right),
        ("step (ms)", Align::Right),
    ]);
    for task in plan.tasks.iter().map(|task| task.data.task) {
        for method in &plan.methods {
            let results: Vec<&RunResult> = of(runs, task, &method.label).collect();
            let Some(first) = results.first() else { continue };
            let metrics = first.last.evaluation.metrics.keys().map(|name| {
                let values: Vec<f64> = results
                    .iter()
                    .map(|result| score(&result.last.evaluation, name))
                    .collect();
                format!("{name} {}", mean_and_deviation(&values, shown_score))
            });
            let steps_of = |of: fn(&RunResult) -> u64| {
                let steps: Vec<String> = results.iter().map(|result| of(result).to_string()).collect();
                steps.join(", ")
            };
            let largest =
                |of: fn(&RunResult) -> u64| results.iter().map(|result| of(result)).max().unwrap_or(0);
            let steps: Vec<f64> = results.iter().map(|result| result.step_ms).collect();
            table.push_row([
                task.name().to_owned(),
                method.label.clone(),
                results.len().to_string(),
                learning_rate(first.train_config.learning_rate),
                metrics.collect::<Vec<_>>().join(", "),
                steps_of(|result| result.last.step),
                steps_of(|result| result.best.step),
                percent(first.trained_share),
                bytes(largest(|result| result.memory.optimizer_state_bytes.measured)),
                bytes(largest(|result| result.memory.peak_bytes)),
                mean_and_deviation(&steps, milliseconds),
            ]);
        }
    }
    table
}

fn add_task(page: Page, plan: &Plan, task: GlueTask, runs: &[TaskRun]) -> Result<Page> {
    let name = task.name();
    let of_task = || runs.iter().filter(|run| run.part == task);
    let rows = method_rows(of_task().map(|run| &run.run.result));
    if rows.is_empty() {
        return Ok(page);
    }
    let mut curves = Vec::new();
    let mut maps = Vec::new();
    let mut compared = Vec::new();
    let (model, batch) = (plan.checkpoint.shape(), plan.largest_batch(task));
    for PartRun { run, .. } in of_task() {
        let records = run.folder.records()?;
        curves.push(loss_curve(&run.result.method, &records));
        if run.result.seed > 0 {
            continue;
        }
        compared.push(estimate::compared(&run.result, &records, &model, batch));
        let title = format!("{name}: blocks trained by {}{}", run.result.method, plan.mark());
        if let Some(map) = selection_map(&title, &run.result.blocks, run.result.steps, &records) {
            let file = format!("selection-{name}-{}.svg", run.result.method_config.folder_name(0));
            maps.push(Section::figure(&file, &title, selection_map_svg(&map)?));
        }
    }
    let style = CurveStyle {
        title: format!("{name}: training loss{}", plan.mark()),
        x_label: "tokens".into(),
        y_label: "loss".into(),
        smoothing: Some(0.95),
        ..CurveStyle::default()
    };
    let losses = loss_curves_svg(&by_method(curves), &style)?;
    let memory = format!("{name}: peak memory by part{}", plan.mark());
    let bars = memory_bars_svg(&memory, &memory_bars(&rows))?;
    let page = page
        .with(Section::Heading(name.to_owned()))
        .with(Section::Table {
            caption: format!(
                "Peak memory and its parts, measured, the largest of all seeds{}. {MEMORY_PARTS}",
                plan.mark()
            ),
            table: memory_table(&rows),
        })
        .with(estimate::section(&compared, plan.mark()))
        .with(Section::figure(
            format!("loss-{name}.svg"),
            format!(
                "{name}: training loss, smoothed, the mean of all seeds{}",
                plan.mark()
            ),
            losses,
        ))
        .with(Section::figure(format!("memory-{name}.svg"), &memory, bars));
    Ok(maps.into_iter().fold(page, Page::with))
}
