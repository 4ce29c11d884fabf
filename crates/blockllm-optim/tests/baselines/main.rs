//! The baselines against their references and against what they promise: GaLore, APOLLO and LoRA.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod apollo;
mod common;
mod galore_errors;
mod galore_laws;
mod galore_parity;
mod galore_resume;
mod lora;
mod range_finder;
