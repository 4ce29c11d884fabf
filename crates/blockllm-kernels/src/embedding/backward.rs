//! Embeddings in autodiff's graph: the ids are all that is kept.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, TensorMetadata};

use super::EmbeddingBackend;

#[derive(Debug)]
struct RowsById;

impl<B: EmbeddingBackend> Backward<B, 1> for RowsById {
    type State = (IntTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (ids, rows) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::rows_by_id_grad(grad, ids, rows));
        }
    }
}

impl<B: EmbeddingBackend, C: CheckpointStrategy> EmbeddingBackend for Autodiff<B, C> {
    fn rows_by_id(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let prepared = RowsById.prepare::<C>([table.node()]).compute_bound().stateful();
        let table = table.into_primitive();
        match prepared {
            OpsKind::Tracked(prepared) => {
                let rows = table.shape()[0];
                let output = B::rows_by_id(table, ids.clone());
                prepared.finish((ids, rows), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::rows_by_id(table, ids)),
        }
    }
}
