//! `finetune`: one model, your own data, one method; at the end a folder that transformers loads, and a report.
mod args;

pub use args::{Args, NAME};

use crate::instruct::Plan;
use crate::{Cli, backward_choice, command_line, flow, registry};
use anyhow::Result;
use blockllm_train::Interrupt;

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
        let (result, folder) = (&run.run.result, run.run.folder.path().join("model"));
        let (before, after) = (result.untrained.evaluation.loss, result.last.evaluation.loss);
        println!(
            "\nvalidation loss {before:.4} before, {after:.4} after {} steps",
            result.last.step
        );
        println!("the model, as transformers loads it: {}", folder.display());
        println!(
            "to talk to it:\n  {}",
            command_line::verb("chat", &["--model".to_owned(), folder.display().to_string()])
        );
    }
    Ok(())
}

/// What a step will need, beside what there is.
fn memory(plan: &Plan, cli: &Cli) -> Result<String> {
    let method = &plan.methods[0];
    let config = plan.train_config(cli, method, plan.settings.seed)?;
    backward_choice::told(cli, &plan.shape(), method, &config, plan.settings.micro_batch())
}
