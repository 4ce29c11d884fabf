//! Tests of the whole data pipeline, from files to batches.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod fixtures;
mod glue;
mod glue_batches;
mod lanes;
mod loader;
mod tokenizer;
