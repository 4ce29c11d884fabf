//! Deltas between folders of models: made, applied, stacked, and refused where something is wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod folders;
mod hostile;
mod order;
mod round_trip;
mod seal;
mod size;
mod stacking;
