//! Linear layers in autodiff's graph.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::LinearBackend;

/// Where `x` and the weight are kept, if they are.
type Kept = (Option<NodeId>, Option<NodeId>);

#[derive(Debug)]
struct LinearWithBias;

#[derive(Debug)]
struct LinearWithoutBias;

impl<B: LinearBackend> Backward<B, 3> for LinearWithBias {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x, weight, bias] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        if let Some(node) = bias {
            grads.register::<B>(node.id, B::linear_bias_grad(grad.clone()));
        }
        let nodes = [x.map(|node| node.id), weight.map(|node| node.id)];
        register::<B>(nodes, ops.state, grad, grads, checkpointer);
    }
}

impl<B: LinearBackend> Backward<B, 2> for LinearWithoutBias {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x, weight] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let nodes = [x.map(|node| node.id), weight.map(|node| node.id)];
        register::<B>(nodes, ops.state, grad, grads, checkpointer);
    }
}

/// Registers `dx` and `dW` where they are wanted.
fn register<B: LinearBackend>(
    [x_node, weight_node]: [Option<NodeId>; 2],
    (x, weight): Kept,
    grad: FloatTensor<B>,
    grads: &mut Gradients,
    checkpointer: &mut Checkpointer,
) {
    let mut kept = |id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id);
    let (x, weight) = (x.map(&mut kept), weight.map(&mut kept));
    if let (Some(node), Some(x)) = (weight_node, x) {
        grads.register::<B>(node, B::linear_weight_grad(x, grad.clone()));
    }
    if let (Some(node), Some(weight)) = (x_node, weight) {
        grads.register::<B>(node, B::linear_input_grad(grad, weight));
    }
}

impl<B: LinearBackend, C: CheckpointStrategy> LinearBackend for Autodiff<B, C> {
    fn linear_without_bias(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = LinearWithoutBias
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        match prepared {
            OpsKind::Tracked(mut prepared) => {
                let kept_x = weight.is_tracked().then(|| prepared.checkpoint(&x));
                let kept_weight = x.is_tracked().then(|| prepared.checkpoint(&weight));
                let output = B::linear_without_bias(x.into_primitive(), weight.into_primitive());
                prepared.finish((kept_x, kept_weight), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_without_bias(
                x.into_primitive(),
                weight.into_primitive(),
            )),
        }
    }

    fn linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let prepared = LinearWithBias
            .prepare::<C>([x.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful();
        let bias = bias.into_primitive();
        match prepared {
            OpsKind::Tracked(mut prepared) => {
                let kept_x = weight.is_tracked().then(|| prepared.checkpoint(&x));
                let kept_weight = x.is_tracked().then(|| prepared.checkpoint(&weight));
                let output = B::linear_with_bias(x.into_primitive(), weight.into_primitive(), bias);
                prepared.finish((kept_x, kept_weight), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_with_bias(
                x.into_primitive(),
                weight.into_primitive(),
                bias,
            )),
        }
    }
}
