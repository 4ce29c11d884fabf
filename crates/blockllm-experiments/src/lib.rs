//! The paper's experiments: each a plan from the command line, runs in folders of their own, and a report.
#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when nobody reads or the disk is full: `say_line!` tells it, `tell_line!` drops the line"
)]

pub mod ablations;
mod alone;
mod backward_choice;
mod build_info;
pub mod byte_size;
pub mod c4;
pub mod causes;
mod chat_template;
pub mod cli;
pub mod command_line;
pub mod commands;
pub mod delta;
mod dry_run;
pub mod estimate;
pub mod evaluate;
pub mod experiment;
pub mod finetune;
pub mod flow;
pub mod glue;
pub mod gpu_check;
pub mod instruct;
pub mod memory;
mod model_options;
mod model_path;
pub mod options;
mod out_file;
pub mod outcome;
pub mod paper;
pub mod plan;
pub mod recorded_run;
pub mod registry;
pub mod report;
pub mod report_folder;
pub mod run_place;
pub mod signals;
pub mod stdout;
pub mod summary;
pub mod talk;
mod tokenizer_files;
mod workspace_dir;

pub use cli::{Cli, Scale};
