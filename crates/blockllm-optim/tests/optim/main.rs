//! The block optimizer proved on every device: against PyTorch, against burn-optim, and against its own laws.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adamw;
mod budget;
mod checkpointing;
mod choices;
mod clipping;
mod common;
mod devices_agree;
mod eight_bit;
mod errors;
mod given_gradients;
mod gradients;
mod inactive;
#[cfg(feature = "wgpu")]
mod launches;
mod masked;
mod matrix;
mod own_rule;
mod own_terms;
mod parts;
mod precision;
mod precision_table;
mod ramp;
mod recovery;
mod reference;
mod reselection;
mod resume;
mod state_bytes;
mod sweep;
mod whole_blocks;
