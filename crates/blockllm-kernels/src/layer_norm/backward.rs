//! Layer normalization in autodiff's graph: it keeps `x` and the weight, nothing of its own.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::LayerNormBackend;

#[derive(Debug)]
struct LayerNorm;

impl<B: LayerNormBackend> Backward<B, 3> for LayerNorm {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (x, weight, epsilon) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        if weight_node.is_some() || bias_node.is_some() {
            let (weight_grad, bias_grad) =
                B::layer_norm_parameter_grads(x.clone(), weight.clone(), grad.clone(), epsilon);
            if let Some(node) = weight_node {
                grads.register::<B>(node.id, weight_grad);
            }
            if let Some(node) = bias_node {
                grads.register::<B>(node.id, bias_grad);
            }
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::layer_norm_input_grad(x, weight, grad, epsilon));
        }
    }
}

impl<B: LayerNormBackend, C: CheckpointStrategy> LayerNormBackend for Autodiff<B, C> {
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let prepared = LayerNorm
            .prepare::<C>([x.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful();
        let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let output = B::layer_norm_rows(x.clone(), weight.clone(), bias, epsilon);
                prepared.finish((x, weight, epsilon), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::layer_norm_rows(x, weight, bias, epsilon)),
        }
    }
}
