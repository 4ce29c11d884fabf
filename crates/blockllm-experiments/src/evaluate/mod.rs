//! `evaluate`: a language model's scores on a task or a text, in a table; with `--out` also what it said of every item.
mod args;
mod text;

pub use args::{Args, NAME};

use crate::out_file::{OutFile, OutPlace};
use crate::signals::{self, Stopped};
use crate::stdout::say_line;
use anyhow::{Result, bail};
use blockllm_data::tasks::{ContinuationEncoder, RollingText, TaskData};
use blockllm_train::scoring::{ItemResult, Perplexity, Scorer, TaskRun, TaskScores};
use blockllm_train::{CountedProgress, Interrupt};
use std::path::Path;

/// What a first signal is told while a file is written.
const STOPPING: &str = "stopping after these items; what is scored is kept, and once more leaves at once";

/// Measures what `args` ask for, and prints it.
///
/// # Errors
/// When the model or the data are not there or broken, an item cannot be scored, or the device fails.
pub fn run(args: &Args) -> Result<()> {
    // What is wrong with the files is told before any weights are read.
    let out = args.out.as_deref().map(place).transpose()?;
    let pretrained = args.model.find()?;
    let encoder = ContinuationEncoder::new(pretrained.tokenizer().clone())?;
    let data = match args.source() {
        Some((task, source)) => Some(TaskData::open(task, &source)?),
        None => None,
    };
    if let (Some(out), Some(data)) = (&out, &data) {
        out.check_apart(args.model.files())?;
        let read = [("--data", &data.files), ("--few-shot", &data.few_shot_files)];
        let read = read
            .into_iter()
            .flat_map(|(option, files)| files.iter().map(move |file| (option, file.as_path())));
        out.check_apart(read)?;
    }
    // A place that cannot be written is told now, not behind hours of work.
    if let Some(out) = &out {
        out.try_out()?;
    }
    let called = args.model.describe(&pretrained);
    let (model, device) = args.model.load(&pretrained)?;
    let scorer = Scorer::new(&model, &device, usize::try_from(args.batch)?);
    let Some(data) = data else {
        let file = args.perplexity.as_deref().unwrap_or(Path::new(""));
        return measure_text(file, &scorer, &encoder, &called).map_err(|error| args.model.named(error));
    };
    let run = TaskRun {
        data: &data,
        scorer: &scorer,
        encoder: &encoder,
        max_new_tokens: args.answer_tokens(),
        ends: &pretrained.generation()?.eos_token_id,
    };
    let scored = match &out {
        Some(out) => written(&run, out),
        None => scored(&run, &Interrupt::default(), |_| ()).map(|results| (results, Ok(()))),
    };
    let (results, written) = scored.map_err(|error| args.model.named(error))?;
    let table = text::table(&TaskScores::new(data.task, &results), data.task);
    // The scores come first, whatever becomes of the file; and the file, whoever reads the scores.
    let told = say_line!("{}\n{}", text::heading(&data, &called), table.to_markdown());
    written?;
    told?;
    match &out {
        Some(out) => say_line!("what the model said of every item: {}", out.named().display()),
        None => Ok(()),
    }
}

/// The place of a file to write, in a folder that is there.
fn place(out: &Path) -> Result<OutPlace> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => bail!(
            "--out {}: there is no folder {}; make it, or name another file",
            out.display(),
            folder.display()
        ),
        _ => OutPlace::new(out),
    }
}

/// The perplexity of a file.
fn measure_text(file: &Path, scorer: &Scorer, encoder: &ContinuationEncoder, called: &str) -> Result<()> {
    let rolling = RollingText::of_file(file, encoder, scorer.positions())?;
    let progress = CountedProgress::new("windows", rolling.windows.len());
    let perplexity = Perplexity::measure(scorer, &rolling, &|count| progress.advance(count))?;
    progress.finish();
    say_line!(
        "{} on {}: {} tokens, in windows of up to {} ({})\n",
        called,
        file.display(),
        rolling.tokens,
        scorer.positions(),
        rolling.windows.len()
    )?;
    say_line!("{}", text::perplexity(&perplexity).to_markdown())
}

/// Scores all items, and writes each as a JSON object a line as soon as it is scored. Gives them, and what became of the file: the
/// scores come first.
///
/// # Errors
/// When an item cannot be scored, or a signal comes ([`Stopped`]); it is told where the items until then are.
fn written(run: &TaskRun<'_>, place: &OutPlace) -> Result<(Vec<ItemResult>, Result<()>)> {
    let interrupt = signals::install_telling(Some(STOPPING))?;
    let _listening = interrupt.listen();
    let mut out = place.begin()?;
    let mut pushed = Ok(());
    let scored = scored(run, &interrupt, |part| {
        if pushed.is_ok() {
            pushed = part.iter().try_for_each(|result| out.push(result));
        }
    });
    let all = run.data.items.len();
    let kept = |out: OutFile| match out.give_up() {
        (0, _) => format!("none of {all} items is kept"),
        (kept, path) => format!("{kept} of {all} items are in {}", path.display()),
    };
    match (scored, pushed) {
        (Ok(results), Ok(())) => Ok((results, out.finish())),
        (Ok(results), Err(error)) => Ok((results, Err(error.context(kept(out))))),
        (Err(error), _) => Err(error.context(kept(out))),
    }
}

/// Scores all items; `hear` gets a part of them at a time. Between parts a signal that `interrupt` has heard ends it.
fn scored(
    run: &TaskRun<'_>,
    interrupt: &Interrupt,
    mut hear: impl FnMut(&[ItemResult]),
) -> Result<Vec<ItemResult>> {
    let progress = CountedProgress::new(run.data.task.name(), run.requests());
    let advance = |count| progress.advance(count);
    let mut results = Vec::with_capacity(run.data.items.len());
    for part in run.parts(&advance)? {
        let part = part?;
        hear(&part);
        results.extend(part);
        if results.len() < run.data.items.len() {
            Stopped::check(interrupt)?;
        }
    }
    progress.finish();
    Ok(results)
}
