//! A sparse block-coordinate optimizer for any burn [`Module`](burn::module::Module) on any burn backend.
//!
//! At any time it trains a few blocks of parameters, masked inside to an exact budget; gradients exist only for
//! those, a few probes and the always-trained blocks, optimizer state only for the trained entries
//! (`BlockLLM`, arXiv 2406.17296).
//!
//! ```no_run
//! use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, GradientsParams};
//! use blockllm_policy::BlockLlmPolicy;
//! # use burn::{module::Module, tensor::Tensor};
//! # fn train<M: Module>(mut model: M, loss_of: impl Fn(&M) -> Tensor<1>) -> Result<(), Box<dyn std::error::Error>> {
//!
//! let config = BlockOptimizerConfig::new(0.95);
//! let mut optimizer = BlockOptimizer::new(&model, config, BlockLlmPolicy::default())?;
//! for _ in 0..100 {
//!     model = optimizer.prepare(model, &loss_of)?; // gradients only where they are needed
//!     let loss = loss_of(&model);
//!     let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!     model = optimizer.step(model, gradients, 1e-3)?.model;
//!     optimizer.observe(loss.into_scalar::<f32>())?; // may decide to select again
//! }
//! # Ok(()) }
//! ```

mod autodiff_context;
mod block_optimizer;
mod choices;
mod config;
mod error;
mod grad_norm;
mod groups;
mod inactive;
mod layouts;
mod lora;
mod low_rank;
mod mask;
mod moments;
mod parameters;
mod parts;
mod pieces;
mod precision;
mod quantized;
mod record;
mod recovery;
mod selection_log;
mod sparse_state;
mod states;
mod step;
mod sweep;
mod total;
mod update;
mod whitened;

pub use block_optimizer::BlockOptimizer;
pub use blockllm_kernels::FusedRule;
pub use burn::optim::GradientsParams;
pub use choices::{
    CarriedMoments, HalfWeights, MaskRefresh, MaskScope, MaskThreshold, Measured, NormKind, Reach, SweepMode,
};
pub use config::BlockOptimizerConfig;
pub use error::OptimError;
pub use grad_norm::gradient_norm;
pub use groups::{Decay, Groups, ParameterGroup};
pub use inactive::{Direction, InactiveRule};
pub use lora::LoraConfig;
pub use low_rank::{
    ApolloConfig, GaLoreAdam, GaLoreConfig, LowRankConfig, LowRankOptimizer, Projection, Sketch, SvdMethod,
    leading_basis,
};
pub use mask::{EntryScore, MaskScore, MaskUnit, ScoreContext};
pub use moments::MomentPrecision;
pub use parameters::{Parameter, parameters, set_trainable};
pub use parts::TakeGradients;
pub use precision::{cast_module, check_dtype};
pub use record::OptimizerRecord;
pub use recovery::Recovery;
pub use selection_log::SelectionEvent;
pub use sparse_state::StateEstimate;
pub use step::Step;
// The rules of the list too, which its file names.
pub use update::{StepContext, Update, UpdateRule, *};
