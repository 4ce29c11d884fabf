//! GLUE (arXiv 1804.07461): its tasks, its files, its metrics, the files it wants back, and batches to train on.
mod batches;
mod example;
mod generated;
pub mod metrics;
mod pair_encoder;
mod parquet_files;
mod submission;
mod task;
mod tsv;

pub use batches::{
    ClassificationBatch, EncodedExamples, EpochBatches, EpochConfig, EpochCursor, evaluation_batches,
};
pub use example::{GlueData, GlueExample, GlueLabel};
pub use metrics::{Metric, Score};
pub use pair_encoder::{EncodedExample, PairEncoder};
pub use submission::write_submission;
pub use task::GlueTask;
