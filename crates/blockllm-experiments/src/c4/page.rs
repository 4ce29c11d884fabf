//! The page of the C4 experiment.
use super::run::Runs;
use super::{Plan, Settings};
use crate::recorded_run::CompleteRun;
use crate::report::{
    CurveStyle, Figure, MEMORY_PARTS, Page, Section, loss_curves_svg, memory_bars_svg, memory_table,
    method_table, quoted_c4_table, selection_map_svg,
};
use crate::summary::{loss_curve, memory_bars, method_rows, selection_map, validation_curve};
use anyhow::Result;
use blockllm_train::Record;

/// Tables, plots and the published figures, from the records on disk.
pub(super) fn build(
    plan: &Plan,
    Runs {
        complete: runs,
        diverged,
    }: &Runs,
) -> Result<Page> {
    let rows = method_rows(runs.iter().map(|run| &run.result));
    let records = runs
        .iter()
        .map(|run| run.folder.records())
        .collect::<Result<Vec<_>, _>>()?;
    let mut sections = vec![Section::Text(introduction(plan, runs))];
    if !diverged.is_empty() {
        let all: Vec<_> = diverged.iter().map(|run| run.description.as_str()).collect();
        let text = format!("Diverged, so missing in all tables: {}.", all.join("; "));
        sections.push(Section::Text(text));
    }
    let title = "C4 pretraining".into();
    let page = Page { title, sections }
        .with(Section::Table {
            caption: "Measured here. Perplexity is weighted by tokens; with several seeds, mean and standard deviation. \
                      Step time is the median; tokens/s counts the time spent waiting for data too."
                .into(),
            table: method_table(&rows),
        })
        .with(Section::Table {
            caption: format!("Peak memory and its parts, measured ({}). {MEMORY_PARTS}", source(runs)),
            table: memory_table(&rows),
        });
    let page = curves(page, runs, &records)?;
    let bars = memory_bars_svg("Peak memory", &memory_bars(&rows))?;
    let page = page.with(figure("memory.svg", "Peak memory by part", bars));
    Ok(selection_maps(page, runs, &records)?.with(quoted_c4_table()))
}

fn introduction(plan: &Plan, runs: &[CompleteRun]) -> String {
    let Settings {
        model,
        steps,
        batch_size,
        seq_len,
        patience,
        ..
    } = &plan.settings;
    let accumulated = runs
        .first()
        .map_or(1, |run| run.result.train_config.grad_accum_steps);
    format!(
        "Llama `{model}`, {:.2} M parameters, vocabulary {}. Text: {}. {steps} steps of {} tokens ({} rows of {seq_len}); \
         patience {patience}. Every method of a seed starts from the same weights and sees the same batches. \
         The figures are of a small model and a small corpus: they compare methods with each other, not with the \
         published table below.",
        plan.model.num_parameters() as f64 / 1e6,
        plan.model.vocab_size,
        plan.corpus.describe(),
        batch_size * seq_len * accumulated,
        batch_size * accumulated,
    )
}

fn source(runs: &[CompleteRun]) -> &'static str {
    use blockllm_train::memory::MemorySource;
    match runs.first().map(|run| run.result.memory.source) {
        Some(MemorySource::CountingAllocator) => "live heap bytes, by a counting allocator",
        Some(MemorySource::DevicePool) => "bytes reserved by the device's memory pool",
        Some(MemorySource::Unmeasured) | None => "tensors only, the device tells nothing else",
    }
}

fn curves(page: Page, runs: &[CompleteRun], records: &[Vec<Record>]) -> Result<Page> {
    let of_first_seed = || runs.iter().zip(records).filter(|(run, _)| run.result.seed == 0);
    let train: Vec<_> = of_first_seed()
        .map(|(run, records)| loss_curve(&run.result.method, records))
        .collect();
    let validation: Vec<_> = of_first_seed()
        .map(|(run, records)| validation_curve(&run.result.method, records))
        .collect();
    let style = CurveStyle {
        title: "Training loss".into(),
        x_label: "tokens".into(),
        y_label: "loss (nats per token)".into(),
        smoothing: Some(0.95),
        ..CurveStyle::default()
    };
    let train = loss_curves_svg(&train, &style)?;
    let style = CurveStyle {
        title: "Validation perplexity".into(),
        y_label: "perplexity".into(),
        log_y: true,
        smoothing: None,
        ..style
    };
    let validation = loss_curves_svg(&validation, &style)?;
    Ok(page
        .with(figure("loss.svg", "Training loss, seed 0, smoothed", train))
        .with(figure(
            "validation.svg",
            "Validation perplexity, seed 0",
            validation,
        )))
}

fn selection_maps(mut page: Page, runs: &[CompleteRun], records: &[Vec<Record>]) -> Result<Page> {
    for (run, records) in runs.iter().zip(records).filter(|(run, _)| run.result.seed == 0) {
        let title = format!("Blocks trained by {}", run.result.method);
        if let Some(map) = selection_map(&title, &run.result.blocks, run.result.steps, records) {
            let file = format!("selection-{}.svg", run.result.method_config.folder_name(0));
            page = page.with(figure(&file, &title, selection_map_svg(&map)?));
        }
    }
    Ok(page)
}

fn figure(file: &str, caption: &str, svg: String) -> Section {
    Section::Figure(Figure {
        file: file.into(),
        caption: caption.into(),
        svg,
    })
}
