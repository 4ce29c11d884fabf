//! Dropout in autodiff's graph: it keeps the seed.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::DropoutBackend;

#[derive(Debug)]
struct Dropout;

impl<B: DropoutBackend> Backward<B, 1> for Dropout {
    /// The share that is dropped, and the seed.
    type State = (f64, u64);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (probability, seed) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::dropout_by_seed(grad, probability, seed));
        }
    }
}

impl<B: DropoutBackend, C: CheckpointStrategy> DropoutBackend for Autodiff<B, C> {
    fn dropout_by_seed(x: FloatTensor<Self>, probability: f64, seed: u64) -> FloatTensor<Self> {
        let prepared = Dropout.prepare::<C>([x.node()]).compute_bound().stateful();
        let output = B::dropout_by_seed(x.into_primitive(), probability, seed);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((probability, seed), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}
