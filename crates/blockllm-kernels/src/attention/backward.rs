//! Attention in autodiff's graph: it keeps queries, keys and values, nothing of its own.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::{AttentionBackend, AttentionGrads, AttentionOptions, Visible};

#[derive(Debug)]
struct Attention;

impl<B: AttentionBackend> Backward<B, 3> for Attention {
    type State = ([FloatTensor<B>; 3], Visible<B>, AttentionOptions);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([queries, keys, values], visible, options) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let made = B::fused_attention_grads(queries, keys, values, grad, visible, options);
        for (node, grad) in ops
            .parents
            .into_iter()
            .zip([made.queries, made.keys, made.values])
        {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: AttentionBackend, C: CheckpointStrategy> AttentionBackend for Autodiff<B, C> {
    fn fused_attention(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        visible: Visible<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        let visible = match visible {
            Visible::All => Visible::<B>::All,
            Visible::Segments(ids) => Visible::Segments(ids),
            Visible::Keys(ids) => Visible::Keys(ids),
        };
        let prepared = Attention
            .prepare::<C>([queries.node(), keys.node(), values.node()])
            .compute_bound()
            .stateful();
        let inputs = [queries, keys, values].map(FloatTensor::<Self>::into_primitive);
        match prepared {
            OpsKind::Tracked(prepared) => {
                let [queries, keys, values] = inputs.clone();
                let output = B::fused_attention(queries, keys, values, visible.clone(), options);
                prepared.finish((inputs, visible, options), output)
            }
            OpsKind::UnTracked(prepared) => {
                let [queries, keys, values] = inputs;
                prepared.finish(B::fused_attention(queries, keys, values, visible, options))
            }
        }
    }

    fn fused_attention_grads(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Visible<Self>,
        _: AttentionOptions,
    ) -> AttentionGrads<Self> {
        panic!("attention has no gradients of gradients; `composed_attention` has")
    }
}
