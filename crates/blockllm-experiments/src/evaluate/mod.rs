//! `evaluate`: a language model's scores on a task or a text, in a table; with `--out` also what it said of every item.
mod args;
mod text;

pub use args::{Args, NAME};

use crate::out_file::OutPlace;
use crate::stdout::say_line;
use anyhow::{Result, bail};
use blockllm_data::tasks::{ContinuationEncoder, RollingText, TaskData};
use blockllm_train::CountedProgress;
use blockllm_train::scoring::{ItemResult, Perplexity, Scorer, TaskRun, TaskScores};
use std::path::Path;

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
        return measure_text(file, &scorer, &encoder, &called);
    };
    let run = TaskRun {
        data: &data,
        scorer: &scorer,
        encoder: &encoder,
        max_new_tokens: args.answer_tokens(),
        ends: &pretrained.generation()?.eos_token_id,
    };
    let progress = CountedProgress::new(data.task.name(), run.requests());
    let results = run.run(&|count| progress.advance(count))?;
    progress.finish();
    let table = text::table(&TaskScores::new(data.task, &results), data.task);
    let told = say_line!("{}\n{}", text::heading(&data, &called), table.to_markdown());
    // The scores come first, whatever becomes of the file; and the file, whoever reads the scores.
    let Some(out) = &out else { return told };
    write(out, &results)?;
    told?;
    say_line!("what the model said of every item: {}", out.named().display())
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

/// Writes a JSON object a line.
fn write(out: &OutPlace, results: &[ItemResult]) -> Result<()> {
    let mut out = out.begin()?;
    let written = results.iter().try_for_each(|result| out.push(result));
    match written {
        Ok(()) => out.finish(),
        Err(error) => {
            let (lines, path) = out.give_up();
            let all = results.len();
            Err(error.context(format!("{lines} of {all} lines are in {}", path.display())))
        }
    }
}
