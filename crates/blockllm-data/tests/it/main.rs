//! Tests of the whole data pipeline, from files to batches.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_documents;
mod chat_templates;
mod corpus;
mod fixtures;
mod glue;
mod glue_batches;
mod hostile;
mod instruct;
mod lanes;
mod loader;
mod parquet_columns;
mod seeking;
mod special_tokens;
mod tasks;
mod tokenizer;
mod truncation;
