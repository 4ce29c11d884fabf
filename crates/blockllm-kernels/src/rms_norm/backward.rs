//! Root-mean-square normalization in autodiff's graph: it keeps `x` and the weight, nothing of its own.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::RmsNormBackend;

#[derive(Debug)]
struct RmsNorm;

impl<B: RmsNormBackend> Backward<B, 2> for RmsNorm {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let (x, weight, epsilon) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        if let Some(node) = weight_node {
            let grad = B::rms_norm_weight_grad(x.clone(), weight.clone(), grad.clone(), epsilon);
            grads.register::<B>(node.id, grad);
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::rms_norm_input_grad(x, weight, grad, epsilon));
        }
    }
}

impl<B: RmsNormBackend, C: CheckpointStrategy> RmsNormBackend for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        let prepared = RmsNorm
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let normed = B::rms_norm(x.clone(), weight.clone(), epsilon);
                prepared.finish((x, weight, epsilon), normed)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::rms_norm(x, weight, epsilon)),
        }
    }
}
