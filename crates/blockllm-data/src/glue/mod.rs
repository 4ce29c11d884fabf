//! GLUE (arXiv 1804.07461): its tasks, its files, its metrics, the files it wants back, and batches to train on.
mod batches;
mod data;
mod example;
mod generated;
mod metric;
pub mod metrics;
mod pair_encoder;
mod parquet_files;
mod submission;
mod task;
mod tsv;

pub use batches::{
    ClassificationBatch, EncodedExamples, EpochBatches, EpochConfig, EpochCursor, evaluation_batches,
};
pub use data::GlueData;
pub use example::{GlueExample, GlueLabel};
pub use metric::{Metric, Score};
pub use pair_encoder::{EncodedExample, PairEncoder};
pub use submission::write_submission;
pub use task::GlueTask;
