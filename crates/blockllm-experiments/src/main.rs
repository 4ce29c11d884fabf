//! The runner of the paper's experiments; `cargo xtask reproduce-paper` builds and calls it.
use blockllm_experiments::{command_line, delta, plan, registry, signals};
use blockllm_train::{CountingAllocator, TrainError, device_log};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    // The first word stands for the program where it is one of these.
    let asked = words.get(1).and_then(|word| word.to_str());
    match asked {
        Some(plan::NAME) => return ended(plan::run(&plan::Args::parse_from(&words[1..]))),
        Some(delta::NAME) => return ended(delta::run(&delta::Args::parse_from(&words[1..]))),
        _ => {}
    }
    let mut cli = registry::read_command_line();
    device_log::install();
    let run = signals::install(cli.alone.is_some()).and_then(|interrupt| {
        cli.interrupt = interrupt;
        registry::run(&cli)
    });
    let Err(error) = run else {
        return ExitCode::SUCCESS;
    };
    if let Some(TrainError::Interrupted { signal, .. }) = error.downcast_ref() {
        // Of a process that was made for one run its parent tells.
        if cli.alone.is_none() {
            eprintln!("{error:#}; to go on, type\n  {}", command_line::typed(true));
        }
        // As a shell tells a process that a signal has ended: 130 for SIGINT, 143 for SIGTERM.
        return ExitCode::from(128_u8.saturating_add(u8::try_from(*signal).unwrap_or(0)));
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// The exit code of what trains nothing, with its error told.
fn ended(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
