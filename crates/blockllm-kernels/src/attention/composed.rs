//! Attention composed of burn's own operations: what the kernels are held against, and what serves f64.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Int, Tensor};

use super::options::{AttentionDropout, AttentionOptions, Visibility};
use crate::dropout;

/// What forbidden scores become: its exponential is zero, and no infinity enters the arithmetic.
const FORBIDDEN: f32 = -1e30;

/// [`attention`](super::attention) with all scores in a buffer `[B, H, T, S]`, by burn's own operations.
///
/// # Shapes
///
/// As [`attention`](super::attention).
pub fn composed_attention(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    visibility: &Visibility,
    options: AttentionOptions,
) -> Tensor<4> {
    let [batch, length, heads, width] = queries.dims();
    let [_, seen, groups, _] = keys.dims();
    let dtype = queries.dtype();
    let rows = heads / groups * length;
    // The queries that share a key head lie below each other as rows of one matrix.
    let queries = queries.swap_dims(1, 2).reshape([batch, groups, rows, width]);
    let (keys, values) = (keys.swap_dims(1, 2), values.swap_dims(1, 2));
    let scores = queries
        .matmul(keys.transpose())
        .reshape([batch, heads, length, seen]);
    let wide = if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let scores = scores.cast(wide) * options.scale;
    let weights = match forbidden(visibility, options, [batch, length, seen], &scores) {
        Some(forbidden) => {
            let forbidden = forbidden
                .unsqueeze_dim::<4>(1)
                .expand([batch, heads, length, seen]);
            // A query that sees nothing gets nothing.
            softmax(scores.mask_fill(forbidden.clone(), FORBIDDEN), 3).mask_fill(forbidden, 0.0)
        }
        None => softmax(scores, 3),
    };
    let weights = match options.dropout {
        Some(AttentionDropout { probability, seed }) => dropout(weights, probability, seed),
        None => weights,
    };
    let weights = weights.cast(dtype).reshape([batch, groups, rows, seen]);
    let gathered = weights.matmul(values);
    gathered.reshape([batch, heads, length, width]).swap_dims(1, 2)
}

/// Which keys each query must not see, `[B, T, S]`; `None` when it may see all.
fn forbidden(
    visibility: &Visibility,
    options: AttentionOptions,
    shape: [usize; 3],
    scores: &Tensor<4>,
) -> Option<Tensor<3, Bool>> {
    let [_, length, seen] = shape;
    let device = scores.device().inner();
    let future = options.causal.then(|| {
        let index = |from: usize, to: usize| Tensor::<1, Int>::arange(from as i64..to as i64, &device);
        let rows = index(options.past, options.past + length).reshape([1, length, 1]);
        let columns = index(0, seen).reshape([1, 1, seen]);
        columns.expand(shape).greater(rows.expand(shape))
    });
    let other = match visibility {
        Visibility::All => None,
        Visibility::Segments(ids) => {
            let ids = ids.clone().inner();
            let of_query = ids.clone().unsqueeze_dim::<3>(2).expand(shape);
            Some(of_query.not_equal(ids.unsqueeze_dim::<3>(1).expand(shape)))
        }
        Visibility::Keys(ids) => Some(
            ids.clone()
                .inner()
                .unsqueeze_dim::<3>(1)
                .expand(shape)
                .equal_elem(0),
        ),
    };
    match (future, other) {
        (Some(future), Some(other)) => Some(future.bool_or(other)),
        (one, another) => one.or(another),
    }
}
