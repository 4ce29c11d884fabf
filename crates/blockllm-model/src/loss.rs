//! Cross entropy of a language model's head, in chunks of tokens, so that all logits never exist at once.
//!
//! For a chunk of hidden states `h` the logits are `z = h W`, and the gradients of the summed loss are
//! `dz = softmax(z) - onehot(label)`, `dh = dz W^T` and `dW = h^T dz`. They are computed at once, outside autodiff,
//! and the logits dropped. Autodiff gets the loss as a scalar with these as given gradients. What lives until the backward
//! pass is `dh`, the size of `h`, and `dW` only where the head is trained.

use blockllm_kernels::{add_product, cross_entropy, cross_entropy_with_grad, product, with_gradient};
use burn::tensor::{DType, Int, Tensor};

/// The label of a token that does not count. Nor does any other negative one, where PyTorch knows this one alone.
pub const IGNORE_INDEX: i64 = -100;

/// Logits of one chunk where no chunk size is given: 4 MiB in f32, or those of [`FEWEST_CHUNK_TOKENS`].
const DEFAULT_CHUNK_LOGITS: usize = 1 << 20;

/// Each chunk reads and writes the whole gradient of the head: with fewer tokens that would rule.
const FEWEST_CHUNK_TOKENS: usize = 128;

/// How the loss is computed; the numbers do not depend on it but for rounding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LossOptions {
    /// Tokens per chunk; `None` takes as many as have 4 MiB of logits, at least 128; and where a head in half precision is
    /// trained at least a quarter of its width, which takes less memory than a sum over chunks does.
    pub chunk_tokens: Option<usize>,
}

/// The matrix of the output head.
#[derive(Debug, Clone)]
pub enum HeadWeight {
    /// `[D, V]`, as a burn `Linear` holds it.
    Columns(Tensor<2>),
    /// `[V, D]`, as an embedding holds it: a tied head.
    Rows(Tensor<2>),
}

/// A loss for training and its parts for evaluation; nothing has been read back to the host.
#[derive(Debug, Clone)]
pub struct CausalLmLoss {
    /// Mean over the counted labels, `[1]`; tracked when anything below requires gradients. Zero when no label
    /// counts.
    pub loss: Tensor<1>,
    /// Sum over the counted labels, `[1]`, outside autodiff.
    pub sum: Tensor<1>,
    /// Number of counted labels, `[1]`, outside autodiff, in f32.
    pub count: Tensor<1>,
}

impl LossOptions {
    /// Options with a fixed chunk size.
    pub fn with_chunk_tokens(chunk_tokens: usize) -> Self {
        Self {
            chunk_tokens: Some(chunk_tokens),
        }
    }

    /// Tokens per chunk for a vocabulary; `half_head` is the width `D` of a head in half precision that is trained.
    pub fn chunk(self, vocab_size: usize, half_head: Option<usize>) -> usize {
        let fewest = FEWEST_CHUNK_TOKENS.max(half_head.unwrap_or(0) / 4);
        self.chunk_tokens
            .unwrap_or_else(|| (DEFAULT_CHUNK_LOGITS / vocab_size).max(fewest))
            .max(1)
    }
}

/// Cross entropy of `labels` under the head's logits, with exact gradients for `hidden` and the head where they
/// are tracked by autodiff.
///
/// # Shapes
///
/// - hidden: `[N, D]`
/// - head: `[D, V]` or `[V, D]`
/// - labels: `[N]`, each a token or [`IGNORE_INDEX`]
///
/// A label that is no token of the vocabulary is a panic on the CPU, and a loss that is no number on GPUs.
pub fn chunked_cross_entropy(
    hidden: Tensor<2>,
    head: HeadWeight,
    labels: Tensor<1, Int>,
    options: &LossOptions,
) -> CausalLmLoss {
    let wanted = Wanted {
        hidden: hidden.is_tracked(),
        head: head.weight().is_tracked(),
    };
    let chunks = Chunks::compute(
        &hidden.clone().inner(),
        &head.inner(),
        &labels.inner(),
        wanted,
        *options,
    );
    let mut loss = chunks.sum.clone();
    if let Some(gradient) = chunks.hidden_grad {
        loss = with_gradient(loss, hidden, gradient);
    }
    if let Some(gradient) = chunks.head_grad {
        loss = with_gradient(loss, head.into_weight(), gradient);
    }
    CausalLmLoss {
        loss: loss / chunks.count.clone().clamp_min(1.0),
        sum: chunks.sum,
        count: chunks.count,
    }
}

/// Which gradients are needed.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    hidden: bool,
    head: bool,
}

/// What all chunks give together.
struct Chunks {
    sum: Tensor<1>,
    count: Tensor<1>,
    hidden_grad: Option<Tensor<2>>,
    head_grad: Option<Tensor<2>>,
}

impl Chunks {
    /// Goes through the tokens chunk by chunk.
    fn compute(
        hidden: &Tensor<2>,
        head: &HeadWeight,
        labels: &Tensor<1, Int>,
        wanted: Wanted,
        options: LossOptions,
    ) -> Self {
        let [tokens, width] = hidden.dims();
        let half_head = wanted.head && hidden.dtype() != DType::F32;
        let chunk = options.chunk(head.vocab_size(), half_head.then_some(width));
        // In half precision the last of many chunks would be less than half a unit of their sum.
        let sums_in_f32 = half_head && tokens > chunk;
        let counted = labels.clone().greater_equal_elem(0).float().cast(DType::F32);
        let mut sum = Tensor::<1>::zeros([1], (&hidden.device(), DType::F32));
        let mut hidden_grads = Vec::new();
        let mut head_grad = sums_in_f32.then(|| head.zeros_in_f32());
        for start in (0..tokens).step_by(chunk) {
            let length = chunk.min(tokens - start);
            let hidden = hidden.clone().narrow(0, start, length); // [n, D]
            let labels = labels.clone().narrow(0, start, length);
            let logits = head.logits(hidden.clone()); // [n, V]
            if !(wanted.hidden || wanted.head) {
                sum = sum + total(cross_entropy(logits, labels));
                continue;
            }
            let (losses, logits_grad) = cross_entropy_with_grad(logits, labels, 1.0);
            sum = sum + total(losses);
            let logits_grad = logits_grad.cast(hidden.dtype());
            if wanted.head {
                head_grad = Some(head.weight_grad(head_grad.take(), hidden, logits_grad.clone()));
            }
            if wanted.hidden {
                hidden_grads.push(head.hidden_grad(logits_grad));
            }
        }
        let head_grad = head_grad.map(|sum| {
            if sums_in_f32 {
                sum.cast(hidden.dtype())
            } else {
                sum
            }
        });
        let hidden_grad = wanted.hidden.then(|| Tensor::cat(hidden_grads, 0));
        Self {
            sum,
            count: total(counted),
            hidden_grad,
            head_grad,
        }
    }
}

/// The sum of all losses, `[n]` to `[1]`: over the dimension, as a sum of everything may add in another order each time
/// on GPUs.
fn total(losses: Tensor<1>) -> Tensor<1> {
    losses.sum_dim(0)
}

impl HeadWeight {
    /// The matrix.
    fn weight(&self) -> &Tensor<2> {
        match self {
            Self::Columns(weight) | Self::Rows(weight) => weight,
        }
    }

    /// The matrix, consumed.
    fn into_weight(self) -> Tensor<2> {
        match self {
            Self::Columns(weight) | Self::Rows(weight) => weight,
        }
    }

    /// The same outside autodiff.
    fn inner(&self) -> Self {
        match self {
            Self::Columns(weight) => Self::Columns(weight.clone().inner()),
            Self::Rows(weight) => Self::Rows(weight.clone().inner()),
        }
    }

    /// `V`.
    pub(crate) fn vocab_size(&self) -> usize {
        match self {
            Self::Columns(weight) => weight.dims()[1],
            Self::Rows(weight) => weight.dims()[0],
        }
    }

    /// `z = h W`: `[n, D]` to `[n, V]`.
    pub(crate) fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Columns(weight) => product(hidden, weight.clone()),
            Self::Rows(weight) => product(hidden, weight.clone().transpose()),
        }
    }

    /// `dh = dz W^T`: `[n, V]` to `[n, D]`.
    fn hidden_grad(&self, logits_grad: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Columns(weight) => product(logits_grad, weight.clone().transpose()),
            Self::Rows(weight) => product(logits_grad, weight.clone()),
        }
    }

    /// Zeros of the matrix's shape.
    fn zeros_in_f32(&self) -> Tensor<2> {
        let weight = self.weight();
        Tensor::zeros(weight.dims(), (&weight.device(), DType::F32))
    }

    /// `sum + h^T dz`, in the layout of the weight.
    fn weight_grad(&self, sum: Option<Tensor<2>>, hidden: Tensor<2>, logits_grad: Tensor<2>) -> Tensor<2> {
        let (left, right) = match self {
            Self::Columns(_) => (hidden.transpose(), logits_grad),
            Self::Rows(_) => (logits_grad.transpose(), hidden),
        };
        match sum {
            None => product(left, right),
            Some(sum) => add_product(sum, left, right),
        }
    }
}
