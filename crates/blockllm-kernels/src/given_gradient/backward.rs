//! A value with a given gradient in autodiff's graph.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::GivenGradientBackend;

#[derive(Debug)]
struct GivenGradient;

impl<B: GivenGradientBackend> Backward<B, 2> for GivenGradient {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [value_node, input_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        if let Some(node) = value_node {
            grads.register::<B>(node.id, grad.clone());
        }
        if let Some(node) = input_node {
            grads.register::<B>(node.id, B::scaled_by(ops.state, grad));
        }
    }
}

impl<B: GivenGradientBackend, C: CheckpointStrategy> GivenGradientBackend for Autodiff<B, C> {
    fn with_gradient(
        value: FloatTensor<Self>,
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let prepared = GivenGradient
            .prepare::<C>([value.node(), input.node()])
            .compute_bound()
            .stateful();
        let value = value.into_primitive();
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(gradient.into_primitive(), value),
            OpsKind::UnTracked(prepared) => prepared.finish(value),
        }
    }
}
