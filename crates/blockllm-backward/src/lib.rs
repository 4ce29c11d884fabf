//! Backward passes through a stack of layers that never hold more than one layer's activations and gradients.
//!
//! A transformer is a [`Stack`]: something below (the embeddings), layers of one kind, something above (last norm, head,
//! loss). The usual backward pass keeps what every layer needs until it comes back to it, and all gradients until the
//! optimizer takes them. [`Stack::backward`] keeps each layer's input only. From the top down it computes a layer again,
//! hands the layer's gradients over, and forgets both. Losses and gradients are those of the whole backward pass, dropout
//! included. The price is one more forward pass of the layers above the lowest trained one.
//!
//! ```
//! use blockllm_backward::{GradientsParams, Stack};
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Distribution, Tensor};
//! use std::convert::Infallible;
//!
//! #[derive(Module, Debug)]
//! struct Tower {
//!     layers: Vec<Linear>,
//!     head: Linear,
//! }
//!
//! let device = Device::flex().autodiff();
//! let model = Tower {
//!     layers: (0..4).map(|_| LinearConfig::new(8, 8).init(&device)).collect(),
//!     head: LinearConfig::new(8, 1).init(&device),
//! };
//! let x = Tensor::<2>::random([16, 8], Distribution::Default, &device);
//!
//! let stack = Stack::new(
//!     |_: &Tower| x.clone(),
//!     |model| &model.layers,
//!     |layer, hidden| layer.forward(hidden).tanh(),
//!     |model, hidden| model.head.forward(hidden).square().mean(),
//! );
//! let mut parts = 0;
//! let (model, loss) = stack.backward(model, |model, gradients: GradientsParams| {
//!     parts += 1; // those of the head, then those of layer 3, 2, 1, 0: to be used and dropped
//!     assert_eq!(gradients.len(), 2);
//!     Ok::<_, Infallible>(model)
//! })?;
//! assert_eq!(parts, 5);
//! # let _ = (model, loss);
//! # Ok::<(), Infallible>(())
//! ```

mod gradient_sum;
mod parts;
mod pass;
mod stack;

pub use burn::optim::GradientsParams;
pub use gradient_sum::{GradientSum, gradient_bytes};
pub use pass::backward_of_sum;
pub use stack::Stack;
