//! Rotary embedding in autodiff's graph: it keeps the tables.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::RotaryBackend;

#[derive(Debug)]
struct Rotary;

impl<B: RotaryBackend> Backward<B, 1> for Rotary {
    /// The tables, and whether the forward rotated back.
    type State = (FloatTensor<B>, FloatTensor<B>, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (cos, sin, inverse) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::rotary(grad, cos, sin, !inverse));
        }
    }
}

impl<B: RotaryBackend, C: CheckpointStrategy> RotaryBackend for Autodiff<B, C> {
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let prepared = Rotary.prepare::<C>([x.node()]).compute_bound().stateful();
        let (x, cos, sin) = (x.into_primitive(), cos.into_primitive(), sin.into_primitive());
        let output = B::rotary(x, cos.clone(), sin.clone(), inverse);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((cos, sin, inverse), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}
