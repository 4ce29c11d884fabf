//! `BlockLLM` for burn: train a few blocks of a model at a time, chosen by gradient norm over visit frequency.
//!
//! One door to the crates behind it:
//!
//! | module | what is there |
//! |---|---|
//! | [`policy`] | which blocks to train: the [`Policy`](policy::Policy) trait and the built-in ones |
//! | [`optim`] | the block optimizer for any burn module |
//! | [`backward`] | backward passes layer by layer, for any model that is a stack |
//! | [`model`] | Llama, loading and saving Hugging Face folders |
//! | [`data`] | C4 shards, tokenizers, packing, prefetched batches |
//! | [`tensors`] | named tensors to and from safetensors files, a piece at a time |
//! | [`delta`] | what training has changed, as a file: made, applied, stacked |
//! | [`hub`] | models of the Hugging Face hub by name: its cache, downloads |
//! | [`train`] | the trainer: methods, schedules, evaluation, measured memory, run records |
//!
//! Your own loop needs three calls more than it has (see `examples/quickstart`):
//!
//! ```
//! use blockllm::prelude::*;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::flex().autodiff();
//! let mut model: Linear = LinearConfig::new(8, 1).init(&device);
//! let x = Tensor::<2>::random([16, 8], Distribution::Default, &device);
//! let y = x.clone().sum_dim(1);
//! let loss_of = |model: &Linear| (model.forward(x.clone()) - y.clone()).square().mean();
//!
//! let mut optimizer = BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.5), BlockLlmPolicy::default())?;
//! for _ in 0..10 {
//!     model = optimizer.prepare(model, loss_of)?;
//!     let loss = loss_of(&model);
//!     let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!     model = optimizer.step(model, gradients, 1e-2)?.model;
//!     optimizer.observe(loss.into_scalar::<f32>())?;
//! }
//! assert_eq!(optimizer.trained_entries(), 5); // half of 8 + 1 entries, rounded up
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use blockllm_backward as backward;
pub use blockllm_data as data;
pub use blockllm_delta as delta;
pub use blockllm_hub as hub;
pub use blockllm_model as model;
pub use blockllm_optim as optim;
pub use blockllm_policy as policy;
pub use blockllm_tensors as tensors;
pub use blockllm_train as train;

/// What a loop of your own needs.
pub mod prelude {
    pub use blockllm_backward::Stack;
    pub use blockllm_optim::{
        AdamW, BlockOptimizer, BlockOptimizerConfig, GradientsParams, NormKind, OptimError,
    };
    pub use blockllm_policy::{
        BlockId, BlockLlmPolicy, Partition, Policy, PolicyConfig, PolicyError, PolicyRng, Progress, Reason,
        Roles, SelectContext, Signal, Take, every_k_steps, loss_patience,
    };
}
