//! The model against transformers, against llama2.c, and against itself: one binary for all whole-crate tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod blocks;
mod common;
mod config;
mod encoder;
mod folders;
mod generation;
mod generation_settings;
mod gguf;
mod hostile;
mod lora;
mod loss;
mod peft;
mod peft_classifiers;
mod sentence_piece;
mod stories;
mod transformers;
mod windows;
