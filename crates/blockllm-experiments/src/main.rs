//! The runner of the paper's experiments; `cargo xtask reproduce-paper` builds and calls it.
use anyhow::Result;
use blockllm_experiments::{command_line, delta, evaluate, finetune, plan, registry, signals, talk};
use blockllm_train::{CountingAllocator, TrainError, device_log};
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    // A process that another made for one run leaves it to that one to tell how to go on.
    let is_child = words.iter().any(|word| word == "--alone");
    let Err(error) = run(&words) else {
        return ExitCode::SUCCESS;
    };
    if let Some(TrainError::Interrupted { signal, .. }) = error.downcast_ref() {
        if !is_child {
            eprintln!("{error:#}; to go on, type\n  {}", command_line::typed(true));
        }
        // As a shell tells a process that a signal has ended: 130 for SIGINT, 143 for SIGTERM.
        return ExitCode::from(128_u8.saturating_add(u8::try_from(*signal).unwrap_or(0)));
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// Does what the first word asks for: a verb, or else an experiment.
fn run(words: &[OsString]) -> Result<()> {
    // The first word stands for the program there.
    let of_verb = words.get(1..).unwrap_or_default();
    match words.get(1).and_then(|word| word.to_str()) {
        Some(plan::NAME) => plan::run(&plan::Args::parse_from(of_verb)),
        Some(delta::NAME) => delta::run(&delta::Args::parse_from(of_verb)),
        Some(talk::GENERATE) => talk::generate(&talk::GenerateArgs::parse_from(of_verb)),
        Some(talk::CHAT) => talk::chat(&talk::ChatArgs::parse_from(of_verb)),
        Some(evaluate::NAME) => {
            let args = evaluate::Args::parse_from(of_verb);
            device_log::install();
            evaluate::run(&args)
        }
        Some(finetune::NAME) => {
            let args = finetune::Args::parse_from(of_verb);
            device_log::install();
            finetune::run(&args, signals::install(args.alone.is_some())?)
        }
        _ => {
            let mut cli = registry::read_command_line();
            device_log::install();
            cli.interrupt = signals::install(cli.alone.is_some())?;
            registry::run(&cli)
        }
    }
}
