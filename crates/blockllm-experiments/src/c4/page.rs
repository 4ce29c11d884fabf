//! The page of the C4 experiment.
use super::Plan;
use crate::estimate;
use crate::experiment::Runs;
use crate::outcome::CompleteRun;
use crate::report::format::perplexity;
use crate::report::{
    Align, Curve, CurveStyle, MEMORY_PARTS, Page, Section, Table, loss_curves_svg, memory_bars_svg,
    memory_table, method_table, quoted_c4_table, selection_map_svg,
};
use crate::summary::{
    by_method, diverged_section, loss_curve, memory_bars, method_rows, selection_map, validation_curve,
};
use crate::{Cli, Scale};
use anyhow::Result;
use blockllm_data::Skipped;
use blockllm_train::language_modeling::GALORE_COMPAT;
use blockllm_train::memory::ModelShape;
use blockllm_train::{Record, RunResult};

/// Tables, plots and the published figures, from the records on disk.
pub(super) fn build(cli: &Cli, plan: &Plan, Runs { complete, diverged }: &Runs<()>) -> Result<Page> {
    let runs: Vec<_> = complete.iter().map(|run| &run.run).collect();
    let runs = &runs[..];
    let rows = method_rows(runs.iter().map(|run| &run.result));
    let records = runs
        .iter()
        .map(|run| run.folder.records())
        .collect::<Result<Vec<_>, _>>()?;
    let mut sections = vec![Section::Text(introduction(plan))];
    sections.extend(diverged_section(diverged));
    sections.extend(left_out(runs, plan.validation.left_out));
    let title = "C4 pretraining".into();
    let page = Page { title, sections }
        .with(Section::Table {
            caption: "Measured here. Perplexity is weighted by tokens; with several seeds, mean and standard deviation. \
                      Step time is the median; tokens/s counts the time spent waiting for data too."
                .into(),
            table: method_table(&rows),
        })
        .with_all(errors_of_perplexity(runs))
        .with(Section::Table {
            caption: format!("Peak memory and its parts, measured ({}). {MEMORY_PARTS}", source(runs)),
            table: memory_table(&rows),
        })
        .with(estimate::section(&compared(plan, runs, &records), ""))
        .with_all(set_up(cli, plan))
        .with_all(as_published(runs));
    let page = curves(page, runs, &records)?;
    let bars = memory_bars_svg("Peak memory", &memory_bars(&rows))?;
    let page = page.with(Section::figure("memory.svg", "Peak memory by part", bars));
    Ok(selection_maps(page, runs, &records)?.with(quoted_c4_table()))
}

/// What was left out as broken, of which runs; nothing where nothing was.
fn left_out(runs: &[&CompleteRun], of_validation: Skipped) -> Option<Section> {
    let told = runs
        .iter()
        .filter(|run| !run.result.left_out.is_nothing())
        .map(|run| {
            let RunResult {
                method,
                seed,
                left_out,
                ..
            } = &run.result;
            format!("{left_out} in the run `{method}`, seed {seed}")
        });
    let validation =
        (!of_validation.is_nothing()).then(|| format!("{of_validation} among the validation documents"));
    let all: Vec<String> = told.chain(validation).collect();
    (!all.is_empty()).then(|| {
        Section::Text(format!(
            "Bad documents were left out (`--bad-documents skip`), so this is not the data as it lies there; counted anew in \
             every epoch: {}.",
            all.join("; ")
        ))
    })
}

/// The runs of the first seed beside their plans.
fn compared(plan: &Plan, runs: &[&CompleteRun], records: &[Vec<Record>]) -> Vec<estimate::Compared> {
    let model = ModelShape::Llama(plan.model.clone());
    let batch = [plan.settings.batch_size, plan.settings.seq_len];
    let first = runs.iter().zip(records).filter(|(run, _)| run.result.seed == 0);
    first
        .map(|(run, records)| estimate::compared(&run.result, records, &model, batch))
        .collect()
}

fn introduction(plan: &Plan) -> String {
    let compared = if plan.settings.scale == Scale::Paper && plan.notes.is_empty() {
        "The set-up is that of the published table below."
    } else {
        "The set-up is not that of the published table below: the figures compare methods with each other."
    };
    format!("Every method of a seed starts from the same weights and sees the same batches. {compared}")
}

/// What all runs share, and what departs from the published set-up where that was asked for.
fn set_up(cli: &Cli, plan: &Plan) -> Vec<Section> {
    let rows = plan
        .table(cli)
        .into_iter()
        .map(|(name, value)| [name.to_owned(), value]);
    let columns = Table::new([("set-up", Align::Left), ("", Align::Left)]);
    let mut sections = vec![Section::Table {
        caption: "What all runs share:".into(),
        table: rows.fold(columns, Table::with_row),
    }];
    sections.extend(
        plan.notes
            .iter()
            .map(|note| Section::Text(format!("Note: {note}."))),
    );
    sections
}

/// The perplexities as the published harness reckons them, where the rows are as it makes them.
fn as_published(runs: &[&CompleteRun]) -> Option<Section> {
    let mut table = Table::new([
        ("method", Align::Left),
        ("seed", Align::Right),
        ("weighted by tokens", Align::Right),
        ("as GaLore's code reckons", Align::Right),
    ]);
    for run in runs {
        let evaluation = &run.result.last.evaluation;
        let compat = evaluation.metrics.get(GALORE_COMPAT)?;
        table.push_row([
            run.result.method.clone(),
            run.result.seed.to_string(),
            perplexity(evaluation.perplexity()),
            perplexity(*compat),
        ]);
    }
    Some(Section::Table {
        caption: "Validation perplexity, and as the published harness has it: the mean over batches, whatever their tokens, \
                  divided by one batch more than there are."
            .into(),
        table,
    })
}

fn source(runs: &[&CompleteRun]) -> &'static str {
    use blockllm_train::memory::MemorySource;
    match runs.first().map(|run| run.result.memory.source) {
        Some(MemorySource::CountingAllocator) => "live heap bytes, by a counting allocator",
        Some(MemorySource::DevicePool) => "bytes reserved by the device's memory pool",
        Some(MemorySource::Unmeasured) | None => "tensors only, the device tells nothing else",
    }
}

fn curves(page: Page, runs: &[&CompleteRun], records: &[Vec<Record>]) -> Result<Page> {
    let of_runs = |curve: fn(&str, &[Record]) -> Curve| {
        let runs = runs.iter().zip(records);
        by_method(runs.map(|(run, records)| curve(&run.result.method, records)))
    };
    let (train, validation) = (of_runs(loss_curve), of_runs(validation_curve));
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
    let seeds = if runs.iter().any(|run| run.result.seed > 0) {
        ", the mean of all seeds in a band from the least to the most"
    } else {
        ", one seed"
    };
    Ok(page
        .with(Section::figure(
            "loss.svg",
            format!("Training loss, smoothed{seeds}"),
            train,
        ))
        .with(Section::figure(
            "validation.svg",
            format!("Validation perplexity{seeds}"),
            validation,
        )))
}

/// How much the validation perplexity may be off by the choice of its texts: the same for all methods in kind, as all of them
/// see the same.
fn errors_of_perplexity(runs: &[&CompleteRun]) -> Option<Section> {
    let first = runs.iter().filter(|run| run.result.seed == 0);
    let errors: Vec<String> = first
        .filter_map(|run| {
            let error = run.result.last.evaluation.perplexity_error()?;
            Some(format!("{} {}", run.result.method, perplexity(error)))
        })
        .collect();
    (!errors.is_empty()).then(|| {
        Section::Text(format!(
            "Standard error of the validation perplexity, from its spread over the batches of validation texts, first seed: {}. \
             All methods are evaluated on the same texts, so differences between them are surer than that.",
            errors.join(", ")
        ))
    })
}

fn selection_maps(mut page: Page, runs: &[&CompleteRun], records: &[Vec<Record>]) -> Result<Page> {
    for (run, records) in runs.iter().zip(records).filter(|(run, _)| run.result.seed == 0) {
        let title = format!("Blocks trained by {}", run.result.method);
        if let Some(map) = selection_map(&title, &run.result.blocks, run.result.steps, records) {
            let file = format!("selection-{}.svg", run.result.method_config.folder_name(0));
            page = page.with(Section::figure(&file, &title, selection_map_svg(&map)?));
        }
    }
    Ok(page)
}
