//! The runner of the paper's experiments; `cargo xtask reproduce-paper` builds and calls it.
use blockllm_experiments::{Cli, registry};
use blockllm_train::{CountingAllocator, device_log};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let cli = Cli::parse();
    device_log::install();
    match registry::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
