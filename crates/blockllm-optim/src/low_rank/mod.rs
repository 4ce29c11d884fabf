//! Adam in a low-rank subspace of each matrix's gradient, everything else under the same Adam in full: `GaLore`
//! (arXiv 2403.03507) as galore-torch's `GaLoreAdamW` does it, APOLLO-Mini (arXiv 2412.05270) as `apollo_torch` does.
//!
//! Every weight is trained at every step; memory is saved on the moments alone, which live in the subspace:
//! `4 (side r + 2 r other)` bytes for a `side x other` matrix instead of `8 side other`. What the methods do with the
//! subspace is `rule`.
mod adam;
mod apollo;
mod config;
mod galore;
mod growth_limiter;
mod optimizer;
mod parameter_state;
mod projector;
mod range_finder;
mod record;
mod rule;
mod svd;
#[cfg(test)]
mod tests;
mod updater;

pub use adam::GaLoreAdam;
pub use apollo::ApolloConfig;
pub use config::{LowRankConfig, Projection};
pub use galore::GaLoreConfig;
pub use optimizer::LowRankOptimizer;
pub use range_finder::Sketch;
pub use svd::{SvdMethod, leading_basis};
