//! `evaluate`: a language model's scores on a task or a text, in a table; with `--out` also what it said of every item.
mod args;
mod text;

pub use args::{Args, NAME};

use anyhow::{Context, Result, bail};
use blockllm_data::atomic_file::write_atomically;
use blockllm_data::tasks::{ContinuationEncoder, RollingText, TaskData};
use blockllm_train::CountedProgress;
use blockllm_train::scoring::{ItemResult, Perplexity, Scorer, TaskRun, TaskScores};
use std::path::Path;

/// Measures what `args` ask for, and prints it.
///
/// # Errors
/// When the model or the data are not there or broken, an item cannot be scored, or the device fails.
pub fn run(args: &Args) -> Result<()> {
    let pretrained = args.model.find()?;
    let encoder = ContinuationEncoder::new(pretrained.tokenizer().clone())?;
    // What is wrong with the files is told before any weights are read.
    if let Some(out) = &args.out {
        check_folder_of(out)?;
    }
    let data = match args.source() {
        Some((task, source)) => Some(TaskData::open(task, &source)?),
        None => None,
    };
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
    if let Some(out) = &args.out {
        write_atomically(out, lines(&results)?.as_bytes())?;
    }
    println!("{}", text::heading(&data, &called));
    println!(
        "{}",
        text::table(&TaskScores::new(data.task, &results), data.task).to_markdown()
    );
    if let Some(out) = &args.out {
        println!("what the model said of every item: {}", out.display());
    }
    Ok(())
}

/// That a file can lie where it is to be written.
fn check_folder_of(out: &Path) -> Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => bail!(
            "--out {}: there is no folder {}; make it, or name another file",
            out.display(),
            folder.display()
        ),
        _ => Ok(()),
    }
}

/// The perplexity of a file.
fn measure_text(file: &Path, scorer: &Scorer, encoder: &ContinuationEncoder, called: &str) -> Result<()> {
    let rolling = RollingText::of_file(file, encoder, scorer.positions())?;
    let progress = CountedProgress::new("windows", rolling.windows.len());
    let perplexity = Perplexity::measure(scorer, &rolling, &|count| progress.advance(count))?;
    progress.finish();
    println!(
        "{} on {}: {} tokens, in windows of up to {} ({})\n",
        called,
        file.display(),
        rolling.tokens,
        scorer.positions(),
        rolling.windows.len()
    );
    println!("{}", text::perplexity(&perplexity).to_markdown());
    Ok(())
}

/// A JSON object a line.
fn lines(results: &[ItemResult]) -> Result<String> {
    let mut text = String::new();
    for result in results {
        text.push_str(&serde_json::to_string(result).context("a result as JSON")?);
        text.push('\n');
    }
    Ok(text)
}
