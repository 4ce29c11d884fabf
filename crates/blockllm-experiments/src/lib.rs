//! The paper's experiments: each a function from options to run folders and a report.

mod alone;
mod build_info;
pub mod c4;
pub mod cli;
pub mod command_line;
mod dry_run;
pub mod estimate;
pub mod glue;
pub mod gpu_check;
pub mod memory;
pub mod options;
pub mod paper;
pub mod plan;
pub mod recorded_run;
pub mod registry;
pub mod report;
pub mod report_folder;
pub mod run_place;
pub mod signals;
pub mod summary;
mod tokenizer_files;

pub use cli::{Cli, Scale};
