//! The runner of the paper's experiments; `cargo xtask reproduce-paper` builds and calls it.
use anyhow::{Result, bail};
use blockllm_experiments::signals::Stopped;
use blockllm_experiments::stdout::ReaderGone;
use blockllm_experiments::{causes, command_line, commands, registry, signals};
use blockllm_train::tell_line;
use blockllm_train::{CountingAllocator, TrainError, device_log};
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
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    let told = causes::told(&error);
    if let Some(TrainError::Interrupted { signal, .. }) = error.downcast_ref() {
        if !is_child {
            tell_line!("{told}; to go on, type\n  {}", command_line::typed(true));
        }
        return ended_by(*signal);
    }
    if let Some(Stopped { signal }) = error.downcast_ref() {
        tell_line!("{told}");
        return ended_by(*signal);
    }
    tell_line!("error: {told}");
    ExitCode::FAILURE
}

/// As a shell tells a process that a signal has ended: 130 for SIGINT, 143 for SIGTERM.
fn ended_by(signal: i32) -> ExitCode {
    ExitCode::from(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)))
}

/// Does what the first word asks for: a command, or else an experiment.
fn run(words: &[OsString]) -> Result<()> {
    let first = words.get(1).and_then(|word| word.to_str());
    if let Some(command) = first.and_then(commands::find) {
        // The first word stands for the program there.
        return (command.run)(words.get(1..).unwrap_or_default());
    }
    let mut cli = registry::read_command_line(&commands::list());
    if commands::find(&cli.experiment).is_some() {
        bail!(
            "`{}` is a command with options of its own: write it first, and its options behind it",
            cli.experiment
        );
    }
    device_log::install();
    cli.interrupt = signals::install(cli.alone.is_some())?;
    registry::run(&cli)
}
