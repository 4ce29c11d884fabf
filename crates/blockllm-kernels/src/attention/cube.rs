//! Attention on GPUs: a unit per query, or per key, that reads the others in tiles through shared memory.

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::{FloatKind, IntKind};
use cubecl::prelude::*;

use super::cube_kernels::{BLOCK, forward, key_grads, query_grads};
use super::{AttentionBackend, AttentionGrads, AttentionOptions, Sizes, Visible};
use crate::composed::cast;
use crate::device::{contiguous, element, empty, units};
use crate::dropout::Mask;
use crate::kernel_list::{List, buffer};

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let (b, id) = (buffer, ElemType::Int(IntKind::I32));
    let (float, brain) = (FloatKind::F32, FloatKind::BF16);
    // Each takes seconds to compile: every type, width, rule and dropout once, not all of them together.
    for (kind_of_float, width, causal, kind, drops) in [
        (float, 64, true, 0, false),
        (brain, 64, true, 0, false),
        (brain, 128, true, 1, false),
        (float, 64, false, 2, true),
    ] {
        let dtype = ElemType::Float(kind_of_float);
        let dtypes = [dtype, id];
        let order = if causal { " causal" } else { "" };
        let dropout = if drops { " dropout" } else { "" };
        let visible = ["all", "segments", "keys"][kind as usize];
        let form = format!("{width} {visible}{order}{dropout}");
        let (s, d, t) = list.beside(BLOCK);
        #[rustfmt::skip]
        let kernel = forward::Forward::new(
            s, d, t, b(), b(), b(), b(), b(),
            (), (), (), (), (), (), (), (), (), width, causal, kind, drops, dtypes,
        );
        list.add(&format!("attention::forward {form}"), dtype, kernel);
        let (s, d, t) = list.beside(BLOCK);
        #[rustfmt::skip]
        let kernel = query_grads::QueryGrads::new(
            s, d, t, b(), b(), b(), b(), b(), b(), b(),
            (), (), (), (), (), (), (), (), (), width, causal, kind, drops, dtypes,
        );
        list.add(&format!("attention::query_grads {form}"), dtype, kernel);
        let (s, d, t) = list.beside(BLOCK);
        #[rustfmt::skip]
        let kernel = key_grads::KeyGrads::new(
            s, d, t, b(), b(), b(), b(), b(), b(), b(), b(),
            (), (), (), (), (), (), (), (), (), width, causal, kind, drops, dtypes,
        );
        list.add(&format!("attention::key_grads {form}"), dtype, kernel);
    }
}

impl AttentionBackend for CubeBackend {
    fn fused_attention(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        visible: Visible<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        let [queries, keys, values] = [queries, keys, values].map(contiguous);
        let output = empty(&queries, queries.meta.shape().clone(), queries.dtype);
        let sizes = Sizes::new(queries.meta.shape(), keys.meta.shape());
        let (kind, ids) = ids_of(visible, &queries);
        let mask = options.mask().unwrap_or_else(|| Mask::new(0.0, 0));
        let dtypes = [element(&queries), element(&ids)];
        forward::launch(
            &queries.client.clone(),
            blocks(sizes.length, sizes.heads, sizes.batch),
            units(BLOCK),
            queries.into_buffer_arg(),
            keys.into_buffer_arg(),
            values.into_buffer_arg(),
            ids.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            sizes.length,
            sizes.seen,
            sizes.groups,
            options.past,
            options.scale,
            mask.keys[0],
            mask.keys[1],
            mask.threshold,
            mask.scale,
            sizes.width,
            options.causal,
            kind,
            options.dropout.is_some(),
            dtypes,
        );
        output
    }

    fn fused_attention_grads(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        visible: Visible<Self>,
        options: AttentionOptions,
    ) -> AttentionGrads<Self> {
        let grad = cast::<Self>(grad, queries.dtype);
        let [queries, keys, values, grad] = [queries, keys, values, grad].map(contiguous);
        let sizes = Sizes::new(queries.meta.shape(), keys.meta.shape());
        let (kind, ids) = ids_of(visible, &queries);
        let mask = options.mask().unwrap_or_else(|| Mask::new(0.0, 0));
        let dtypes = [element(&queries), element(&ids)];
        let grads = AttentionGrads::<Self> {
            queries: empty(&queries, queries.meta.shape().clone(), queries.dtype),
            keys: empty(&keys, keys.meta.shape().clone(), keys.dtype),
            values: empty(&values, values.meta.shape().clone(), values.dtype),
        };
        // Of every query the logarithm of its sum of exponentials, and `delta`.
        let stats = empty(&queries, [2, sizes.batch, sizes.heads, sizes.length], DType::F32);
        let client = queries.client.clone();
        query_grads::launch(
            &client,
            blocks(sizes.length, sizes.heads, sizes.batch),
            units(BLOCK),
            queries.clone().into_buffer_arg(),
            keys.clone().into_buffer_arg(),
            values.clone().into_buffer_arg(),
            grad.clone().into_buffer_arg(),
            ids.clone().into_buffer_arg(),
            grads.queries.clone().into_buffer_arg(),
            stats.clone().into_buffer_arg(),
            sizes.length,
            sizes.seen,
            sizes.groups,
            options.past,
            options.scale,
            mask.keys[0],
            mask.keys[1],
            mask.threshold,
            mask.scale,
            sizes.width,
            options.causal,
            kind,
            options.dropout.is_some(),
            dtypes,
        );
        key_grads::launch(
            &client,
            blocks(sizes.seen, sizes.groups, sizes.batch),
            units(BLOCK),
            queries.into_buffer_arg(),
            keys.into_buffer_arg(),
            values.into_buffer_arg(),
            grad.into_buffer_arg(),
            ids.into_buffer_arg(),
            stats.into_buffer_arg(),
            grads.keys.clone().into_buffer_arg(),
            grads.values.clone().into_buffer_arg(),
            sizes.length,
            sizes.seen,
            sizes.heads,
            options.past,
            options.scale,
            mask.keys[0],
            mask.keys[1],
            mask.threshold,
            mask.scale,
            sizes.width,
            options.causal,
            kind,
            options.dropout.is_some(),
            dtypes,
        );
        grads
    }
}

/// A cube for each block of tokens of each head of each row of the batch.
fn blocks(tokens: usize, heads: usize, batch: usize) -> CubeCount {
    CubeCount::Static(tokens.div_ceil(BLOCK as usize) as u32, heads as u32, batch as u32)
}

/// What the kernels call the rule, and its ids; a place holder where there are none.
fn ids_of(visible: Visible<CubeBackend>, beside: &CubeTensor) -> (u32, CubeTensor) {
    match visible {
        Visible::All => (0, empty(beside, [1], DType::I32)),
        Visible::Segments(ids) => (1, contiguous(ids)),
        Visible::Keys(ids) => (2, contiguous(ids)),
    }
}
