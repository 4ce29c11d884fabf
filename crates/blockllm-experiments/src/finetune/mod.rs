//! `finetune`: one model, your own data, one method; at the end a folder that transformers loads, and a report.
mod args;

pub use args::{Args, NAME};

use crate::instruct::{DELTA, Plan, Save};
use crate::{Cli, backward_choice, command_line, flow, registry};
use anyhow::Result;
use blockllm_train::Interrupt;
use std::path::Path;

/// Tunes what `args` ask for, or goes on with it, and tells where it is.
///
/// # Errors
/// When model, data or training fail; what is done is kept, and the same command goes on.
pub fn run(args: &Args, interrupt: Interrupt) -> Result<()> {
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
        println!(
            "\nvalidation loss {before:.4} before, {after:.4} after {} steps",
            result.last.step
        );
        if let Some(name) = args.save.folder() {
            tell_saved(args.save, &run.run.folder.path().join(name), &plan);
        }
    }
    Ok(())
}

/// Where the model is, and what to do with it.
fn tell_saved(save: Save, folder: &Path, plan: &Plan) {
    if let (Save::Delta, Ok(base)) = (save, plan.checkpoint.folder()) {
        let delta = folder.join(DELTA).display().to_string();
        let words = ["apply", &base.display().to_string(), &delta, "--out", "tuned"].map(String::from);
        println!("what training has changed: {delta}");
        println!("the model again:\n  {}", command_line::verb("delta", &words));
    } else {
        let shown = folder.display().to_string();
        println!("the model, as transformers loads it: {shown}");
        println!(
            "to talk to it:\n  {}",
            command_line::verb("chat", &["--model".to_owned(), shown])
        );
    }
}

/// What a step will need, beside what there is.
fn memory(plan: &Plan, cli: &Cli) -> Result<String> {
    let method = &plan.methods[0];
    let config = plan.train_config(cli, method, plan.settings.seed)?;
    backward_choice::told(cli, &plan.shape(), method, &config, plan.settings.micro_batch())
}
