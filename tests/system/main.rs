//! Whole-system tests, one binary: backends against each other, the trainer, selection, the runner, a real model.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "wgpu")]
mod agreement;
mod bad_steps;
mod batches;
mod broken_weights;
mod checkpoints;
mod data_meanwhile;
mod determinism;
mod evaluation;
mod fine_tuning;
mod gradient_accumulation;
mod harness;
mod hostile_runs;
mod instruct;
mod killing;
mod laws;
mod layer_wise;
mod many_kills;
mod overfit;
mod parity;
mod resumption;
mod runner;
mod schedule;
mod selection;
#[cfg(feature = "wgpu")]
mod self_check;
mod stories;
mod threads;
mod training;
mod unknown_keys;
mod weight_decay;
mod weights;
#[cfg(feature = "wgpu")]
mod wgpu_run;
