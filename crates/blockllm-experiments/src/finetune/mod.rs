//! `finetune`: one model, your own data, one method; at the end a folder that transformers loads, and a report.
mod args;

pub use args::{Args, NAME};

use crate::instruct::{DELTA, Plan, Save};
use crate::stdout::say_line;
use crate::{Cli, backward_choice, command_line, flow, registry, report_folder};
use anyhow::Result;
use blockllm_train::Interrupt;
use std::path::Path;

/// Tunes what `args` ask for, or goes on with it, and tells where it is.
///
/// # Errors
/// When model, data or training fail; what is done is kept, and the same command goes on.
pub fn run(args: &Args, interrupt: Interrupt) -> Result<()> {
    report_folder::check(&args.out)?;
    let cli = registry::on_its_device(&Cli {
        interrupt,
        ..args.cli()
    })?;
    let mut plan = Plan::new(&cli, args.request()?)?;
    plan.notes.push(memory(&plan, &cli)?);
    let runs = flow::run_plan(&mut plan, &cli)?;
    if cli.alone.is_some() {
        return Ok(());
    }
    for run in &runs.complete {
        let result = &run.run.result;
        let (before, after) = (result.untrained.evaluation.loss, result.last.evaluation.loss);
        say_line!(
            "\nvalidation loss {before:.4} before, {after:.4} after {} steps",
            result.last.step
        )?;
        if result.last.step < result.steps {
            say_line!("stopped early, at step {} of {}", result.last.step, result.steps)?;
        }
        if result.weights_step != result.last.step {
            let (step, best) = (result.weights_step, result.best.evaluation.loss);
            say_line!("the model is that of step {step}, the best, with a validation loss of {best:.4}")?;
        }
        if let Some(name) = args.save.folder() {
            tell_saved(args, &run.run.folder.path().join(name), &plan)?;
        }
    }
    Ok(())
}

/// Where what was kept is, and what to do with it.
fn tell_saved(args: &Args, folder: &Path, plan: &Plan) -> Result<()> {
    let shown = folder.display().to_string();
    let base = plan.checkpoint.base().ok();
    let base = base.map(|base| base.path().display().to_string());
    let word = |word: &str| word.to_owned();
    match (args.save, base) {
        (Save::Delta, Some(base)) => {
            let delta = folder.join(DELTA).display().to_string();
            say_line!("what training has changed: {delta}")?;
            let words = [word("apply"), base, delta, word("--out"), word("tuned")];
            say_line!("the model again:\n  {}", command_line::verb("delta", &words))?;
        }
        (Save::Adapter, Some(base)) => {
            say_line!("the adapters, as PEFT loads them: {shown}")?;
            let mut words = vec![word("--model"), base, word("--adapter"), shown];
            // Beside adapters there is neither.
            if let Some(template) = &args.chat_template {
                words.extend([word("--chat-template"), template.clone()]);
            }
            if let Some(tokenizer) = &args.tokenizer {
                words.extend([word("--tokenizer"), tokenizer.display().to_string()]);
            }
            say_line!("to talk to it:\n  {}", command_line::verb("chat", &words))?;
        }
        _ => {
            say_line!("the model, as transformers loads it: {shown}")?;
            let words = [word("--model"), shown];
            say_line!("to talk to it:\n  {}", command_line::verb("chat", &words))?;
        }
    }
    Ok(())
}

/// What a step will need, beside what there is.
fn memory(plan: &Plan, cli: &Cli) -> Result<String> {
    let method = &plan.methods[0];
    let config = plan.train_config(cli, method, plan.settings.seed)?;
    backward_choice::told(cli, &plan.shape(), method, &config, plan.settings.micro_batch())
}
