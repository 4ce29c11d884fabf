//! The files of a checkpoint, by name; the manifest that seals them aside.

pub(super) const MODEL: &str = "model.safetensors";
pub(super) const OPTIMIZER: &str = "optimizer.safetensors";
pub(super) const STATE: &str = "state.json";
/// Digests of the parameters that training has not changed; earlier versions wrote all of them into [`MODEL`].
pub(super) const BASE: &str = "base.json";
/// What every checkpoint has.
pub(super) const FILES: [&str; 3] = [MODEL, OPTIMIZER, STATE];
