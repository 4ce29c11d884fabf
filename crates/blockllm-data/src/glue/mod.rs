//! GLUE (arXiv 1804.07461): its tasks, its files, its metrics and the files it wants back.
mod example;
pub mod metrics;
mod submission;
mod task;
mod tsv;

pub use example::{GlueData, GlueExample, GlueLabel};
pub use metrics::{Metric, Score};
pub use submission::write_submission;
pub use task::GlueTask;
