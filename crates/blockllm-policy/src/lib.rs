//! Which parameter blocks to train: BlockLLM's selection rule (arXiv 2406.17296), and a trait for your own.
//!
//! This crate is pure: it knows names, sizes and norms of blocks, never a tensor, and touches no file.
//! The way of a selection:
//!
//! 1. [`Partition`] groups parameters into blocks; a [`Role`] says which are candidates, always or never trained.
//! 2. [`Budget`] turns the sparsity into an exact number of trained entries.
//! 3. A [`Policy`] ranks the candidates; the [`Selector`] takes from the front until the budget is met, counts
//!    visits, remembers norms and losses, and asks the policy when it is time to select again.
//!
//! ```
//! use blockllm_policy::{BlockLlmPolicy, ParamInfo, Partition, Roles, Selector, SelectorConfig};
//!
//! let params = vec![ParamInfo::new("layers.0.weight", 60), ParamInfo::new("layers.1.weight", 40)];
//! let blocks = Partition::Tensor.blocks(&params, &Roles::default())?;
//! let config = SelectorConfig { sparsity: 0.6, ..SelectorConfig::default() };
//! let mut selector = Selector::new(blocks, config, Box::new(BlockLlmPolicy::default()))?;
//!
//! for block in selector.candidates() {
//!     selector.record_norm(block, [0.1, 0.9][block.0]);
//! }
//! let selection = selector.select()?;
//! assert_eq!(selector.block(selection.blocks[0]).name, "layers.1.weight");
//! assert_eq!(selector.budget().trained_entries(), 40);
//! # Ok::<(), blockllm_policy::PolicyError>(())
//! ```

mod block;
mod budget;
mod error;
mod partition;
mod policies;
mod policy;
mod selector;
mod signal;
mod terms;
mod trigger;
mod visits;

pub use block::{Block, BlockId, ParamInfo, Role};
pub use budget::Budget;
pub use error::PolicyError;
pub use partition::{Partition, Roles, path_matches};
pub use policies::*;
pub use policy::{Policy, PolicyRng, ProbeContext, SelectContext, Take, least_recently_measured};
pub use selector::{Selection, Selector, SelectorConfig, SelectorState};
pub use signal::{Measurements, Signal};
pub use terms::Terms;
pub use trigger::{Progress, Reason, every_k_steps, loss_patience};
pub use visits::{VisitSmoothing, Visits};
