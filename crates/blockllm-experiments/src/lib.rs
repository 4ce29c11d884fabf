//! The paper's experiments: each a function from options to run folders and a report.

pub mod c4;
pub mod cli;
pub mod estimate;
pub mod glue;
pub mod gpu_check;
pub mod memory;
pub mod paper;
pub mod plan;
pub mod recorded_run;
pub mod registry;
pub mod report;
pub mod summary;

pub use cli::{Cli, Scale};
