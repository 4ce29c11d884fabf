//! GaLore (arXiv 2403.03507): Adam in a low-rank subspace of each gradient, as galore-torch's `GaLoreAdamW` does it.
//!
//! Every weight is trained at every step; memory is saved on the moments alone, which live in the subspace:
//! `4 (side r + 2 r other)` bytes for a `side x other` matrix instead of `8 side other`.
mod adam;
mod config;
mod optimizer;
mod parameter_state;
mod projector;
mod range_finder;
mod record;
mod svd;
mod updater;

pub use config::{GaLoreAdam, GaLoreConfig, Projection, SvdMethod};
pub use optimizer::GaLoreOptimizer;
pub use range_finder::Sketch;
pub use svd::leading_basis;
