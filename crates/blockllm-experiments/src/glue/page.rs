//! The page of the GLUE experiment.
use super::comparison::{self, Scored};
use super::run::TaskRun;
use super::{Plan, Source};
use crate::report::format::{bytes, learning_rate, mean_and_deviation, milliseconds, percent};
use crate::report::{
    Align, CurveStyle, Figure, MEMORY_PARTS, Page, Section, Table, loss_curves_svg, memory_bars_svg,
    memory_table, quoted_glue_table, selection_map_svg,
};
use crate::summary::{loss_curve, memory_bars, method_rows, selection_map};
use anyhow::Result;
use blockllm_data::glue::GlueTask;
use blockllm_train::{EvaluationRecord, RunResult};

/// Tables, plots and the published figures, from the records on disk.
pub(super) fn build(plan: &Plan, runs: &[TaskRun]) -> Result<Page> {
    let introduction = format!(
        "{}. Every method of a seed starts from the same weights and the same fresh head and sees the same batches; the \
         head is trained at every step. Patience {}. The figures compare methods on one small model: they do not stand \
         beside the published table below, which is of another model.",
        plan.describe(),
        plan.settings.patience
    );
    let mut page = Page {
        title: title(plan).into(),
        sections: vec![Section::Text(introduction)],
    }
    .with(Section::Table {
        caption: format!(
            "Measured here{}: scores x 100 on the validation rows after the last epoch, mean and standard deviation \
             over seeds.",
            mark(plan)
        ),
        table: scores(plan, runs, |result| &result.last),
    })
    .with(Section::Table {
        caption: format!(
            "The same at the best epoch of each run{}: chosen on the rows that it is judged by, so too high.",
            mark(plan)
        ),
        table: scores(plan, runs, |result| &result.best),
    })
    .with_all(beside_full(plan, runs))
    .with(Section::Table {
        caption: format!("All metrics and costs of each task{}.", mark(plan)),
        table: details(plan, runs),
    });
    for task in &plan.tasks {
        page = add_task(page, plan, task.data.task, runs)?;
    }
    Ok(page.with(quoted_glue_table()))
}

/// The methods beside full fine-tuning; nothing where it was not run, or alone.
fn beside_full(plan: &Plan, runs: &[TaskRun]) -> Vec<Section> {
    let scored: Vec<_> = runs
        .iter()
        .map(|TaskRun { task, run }| Scored {
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
    vec![
        Section::Table {
            caption: format!(
                "Beside full fine-tuning after the last epoch{}: points above it on the same tasks and seeds, mean and \
                 standard deviation over seeds, and shares of what it takes.",
                mark(plan)
            ),
            table: comparison::table(&comparisons),
        },
        Section::Text(comparison::verdict(&comparisons, &tasks)),
    ]
}

fn title(plan: &Plan) -> &'static str {
    match plan.source {
        Source::Files(_) => "GLUE fine-tuning",
        Source::Generated => "Fine-tuning on a generated stand-in (not GLUE)",
    }
}

/// What every caption says where the rows are not GLUE's.
fn mark(plan: &Plan) -> &'static str {
    match plan.source {
        Source::Files(_) => "",
        Source::Generated => " (generated stand-in, not GLUE)",
    }
}

fn of<'a>(runs: &'a [TaskRun], task: GlueTask, method: &'a str) -> impl Iterator<Item = &'a RunResult> {
    runs.iter()
        .filter(move |run| run.task == task && run.run.result.method == method)
        .map(|run| &run.run.result)
}

/// The task's main metric, in hundredths.
fn main_score(task: GlueTask, record: &EvaluationRecord) -> f64 {
    let name = task.metrics()[0].name();
    let value = record.evaluation.metrics.get(name);
    100.0 * value.copied().unwrap_or(f64::NAN)
}

fn score(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.2}")
    } else {
        "undefined".into()
    }
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
            means.push(values.iter().sum::<f64>() / values.len().max(1) as f64);
            cells.push(mean_and_deviation(&values, score));
        }
        cells.push(score(means.iter().sum::<f64>() / means.len().max(1) as f64));
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
        ("last epoch", Align::Left),
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
                    .filter_map(|result| result.last.evaluation.metrics.get(name))
                    .map(|value| 100.0 * value)
                    .collect();
                format!("{name} {}", mean_and_deviation(&values, score))
            });
            let best: Vec<String> = results
                .iter()
                .map(|result| result.best.step.to_string())
                .collect();
            let largest =
                |of: fn(&RunResult) -> u64| results.iter().map(|result| of(result)).max().unwrap_or(0);
            let steps: Vec<f64> = results.iter().map(|result| result.step_ms).collect();
            table.push_row([
                task.name().to_owned(),
                method.label.clone(),
                results.len().to_string(),
                learning_rate(first.train_config.learning_rate),
                metrics.collect::<Vec<_>>().join(", "),
                best.join(", "),
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
    let of_task = || runs.iter().filter(|run| run.task == task);
    let rows = method_rows(of_task().map(|run| &run.run.result));
    let mut curves = Vec::new();
    let mut maps = Vec::new();
    for TaskRun { run, .. } in of_task().filter(|run| run.run.result.seed == 0) {
        let records = run.folder.records()?;
        curves.push(loss_curve(&run.result.method, &records));
        let title = format!("{name}: blocks trained by {}", run.result.method);
        if let Some(map) = selection_map(&title, &run.result.blocks, run.result.steps, &records) {
            let file = format!(
                "glue/selection-{name}-{}.svg",
                run.result.method_config.folder_name(0)
            );
            maps.push(figure(&file, &title, selection_map_svg(&map)?));
        }
    }
    let style = CurveStyle {
        title: format!("{name}: training loss{}", mark(plan)),
        x_label: "tokens".into(),
        y_label: "loss".into(),
        smoothing: Some(0.95),
        ..CurveStyle::default()
    };
    let losses = loss_curves_svg(&curves, &style)?;
    let bars = memory_bars_svg(&format!("{name}: peak memory"), &memory_bars(&rows))?;
    let page = page
        .with(Section::Heading(name.to_owned()))
        .with(Section::Table {
            caption: format!(
                "Peak memory and its parts, measured, the largest of all seeds{}. {MEMORY_PARTS}",
                mark(plan)
            ),
            table: memory_table(&rows),
        })
        .with(figure(
            &format!("glue/loss-{name}.svg"),
            &format!("{name}: training loss, seed 0, smoothed{}", mark(plan)),
            losses,
        ))
        .with(figure(
            &format!("glue/memory-{name}.svg"),
            &format!("{name}: peak memory by part"),
            bars,
        ));
    Ok(maps.into_iter().fold(page, Page::with))
}

fn figure(file: &str, caption: &str, svg: String) -> Section {
    Section::Figure(Figure {
        file: file.into(),
        caption: caption.into(),
        svg,
    })
}
