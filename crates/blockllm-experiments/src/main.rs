//! The runner of the paper's experiments; `cargo xtask reproduce-paper` builds and calls it.
use blockllm_experiments::{Cli, plan, registry};
use blockllm_train::{CountingAllocator, device_log};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let result = if words.get(1).is_some_and(|word| word == plan::NAME) {
        // The first word stands for the program there.
        plan::run(&plan::Args::parse_from(&words[1..]))
    } else {
        let cli = Cli::parse_from(&words);
        device_log::install();
        registry::run(&cli)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
