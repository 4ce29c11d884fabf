//! The selection side proved: properties of every policy, and each policy's rule by an example.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may stop at the first surprise"
)]

mod common;
mod errors;
mod format;
mod interface;
mod patience;
mod rules;
mod selection;
mod settings;
mod state;
