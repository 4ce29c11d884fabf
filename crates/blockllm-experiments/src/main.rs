//! The runner of the paper's experiments; `cargo xtask reproduce-paper` builds and calls it.
use blockllm_experiments::{command_line, plan, registry, signals};
use blockllm_train::{CountingAllocator, TrainError, device_log};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == plan::NAME) {
        // The first word stands for the program there.
        return match plan::run(&plan::Args::parse_from(&words[1..])) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        };
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
