//! Attention in a sliding window (Beltagy et al. 2020): a token sees the last `W` tokens of its text, itself among them.
//!
//! Token `i` sees the tokens `j` with `i - W < j <= i`, and of them those that it would see without a window. Only what a window
//! hides something from comes here: the first `W` tokens of a row are computed as without one, the others in blocks, each against
//! the keys that its window reaches. So scores are there for `W` keys and a block, not for all of a long text.

use blockllm_kernels::{AttentionOptions, Visibility, attention};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Int, Tensor};

/// Queries whose scores are there at a time, at most.
const BLOCK: usize = 128;

/// What the scores of hidden keys become: its exponential is zero, and no infinity enters the arithmetic.
const HIDDEN: f32 = -1e30;

/// What a window hides from new tokens.
#[derive(Debug, Clone)]
pub(super) enum Window {
    /// Of one new token in every row: `[B, S]`, zero for the keys that it does not see.
    Keys(Tensor<2, Int>),
    /// Of several.
    Band(Band),
}

/// A window that goes along with the tokens of a row.
#[derive(Debug, Clone)]
pub(super) struct Band {
    /// How many tokens a token sees, itself among them: `W`.
    pub size: usize,
    /// The place of every key in its text, `[B, S]`, whatever for padding; `None` where a key has its place in the row.
    pub places: Option<Tensor<2, Int>>,
    /// Keys of padding that stand between tokens of a row, at most.
    pub gaps: usize,
}

impl Window {
    /// The window of that size over rows of `length` tokens; nothing where it hides nothing.
    pub(super) fn of_rows(size: Option<usize>, length: usize) -> Option<Self> {
        let size = size.filter(|size| length > *size)?;
        Some(Self::Band(Band {
            size,
            places: None,
            gaps: 0,
        }))
    }

    /// [`attention`] within the window; options are causal and without dropout.
    ///
    /// # Shapes
    ///
    /// As [`attention`].
    pub(super) fn attention(
        &self,
        queries: Tensor<4>,
        keys: Tensor<4>,
        values: Tensor<4>,
        visibility: &Visibility,
        options: AttentionOptions,
    ) -> Tensor<4> {
        match self {
            Self::Keys(seen) => attention(queries, keys, values, &Visibility::Keys(seen.clone()), options),
            Self::Band(band) => band.attention(&queries, &keys, &values, visibility, options),
        }
    }
}

impl Band {
    /// The queries that see all before them, and then the others, block by block.
    fn attention(
        &self,
        queries: &Tensor<4>,
        keys: &Tensor<4>,
        values: &Tensor<4>,
        visibility: &Visibility,
        options: AttentionOptions,
    ) -> Tensor<4> {
        let [_, length, _, _] = queries.dims();
        // A token's place is not beyond that of its key, so the window of these reaches their beginning.
        let whole = self.size.saturating_sub(options.past).min(length);
        let mut parts = Vec::new();
        if whole > 0 {
            let queries = queries.clone().narrow(1, 0, whole);
            parts.push(whole_attention(queries, keys, values, visibility, options));
        }
        let block = self.size.min(BLOCK);
        for first in (whole..length).step_by(block) {
            let queries = queries.clone().narrow(1, first, block.min(length - first));
            let options = AttentionOptions {
                past: options.past + first,
                ..options
            };
            parts.push(self.block(queries, keys, values, visibility, options));
        }
        Tensor::cat(parts, 1)
    }

    /// Attention of some queries, which stand behind `options.past` keys, to the keys that their windows reach.
    fn block(
        &self,
        queries: Tensor<4>,
        keys: &Tensor<4>,
        values: &Tensor<4>,
        visibility: &Visibility,
        options: AttentionOptions,
    ) -> Tensor<4> {
        let [batch, count, heads, width] = queries.dims();
        let [_, _, groups, _] = keys.dims();
        let end = options.past + count;
        let start = options.past.saturating_sub(self.size - 1 + self.gaps);
        let seen = end - start;
        let dtype = queries.dtype();
        // Scores and sums are in f32 at least, as those of the kernels are.
        let wide = if dtype == DType::F64 {
            DType::F64
        } else {
            DType::F32
        };
        // The queries that share a key head lie below each other as rows of one matrix.
        let rows = heads / groups * count;
        let queries = queries
            .cast(wide)
            .swap_dims(1, 2)
            .reshape([batch, groups, rows, width]);
        let [keys, values] = [keys, values].map(|tensor| {
            let reached = tensor.clone().narrow(1, start, seen);
            reached.cast(wide).swap_dims(1, 2) // [B, K, s, head_dim]
        });
        let scores = queries.matmul(keys.transpose()) * options.scale;
        let hidden = self
            .hidden(visibility, [batch, start, options.past, end], &scores)
            .unsqueeze_dim::<4>(1)
            .expand([batch, heads, count, seen]);
        let scores = scores.reshape([batch, heads, count, seen]);
        // A query of padding may see nothing, and gathers what nobody reads; it stays a number.
        let weights = softmax(scores.mask_fill(hidden, HIDDEN), 3);
        let weights = weights.reshape([batch, groups, rows, seen]);
        let gathered = weights.matmul(values).reshape([batch, heads, count, width]);
        gathered.swap_dims(1, 2).cast(dtype)
    }

    /// Which of the keys `start..end` the queries `first..end` of every row must not see: `[B, count, s]`, on the device of the
    /// scores, outside autodiff.
    fn hidden(
        &self,
        visibility: &Visibility,
        [batch, start, first, end]: [usize; 4],
        scores: &Tensor<4>,
    ) -> Tensor<3, Bool> {
        let device = scores.device().inner();
        let shape = [batch, end - first, end - start];
        let of_queries = |rows: &Tensor<2, Int>| {
            let some = rows.clone().narrow(1, first, end - first);
            some.unsqueeze_dim::<3>(2).expand(shape)
        };
        let of_keys = |rows: &Tensor<2, Int>| {
            let some = rows.clone().narrow(1, start, end - start);
            some.unsqueeze_dim::<3>(1).expand(shape)
        };
        let order = Tensor::<1, Int>::arange(0..end as i64, &device).unsqueeze::<2>(); // [1, end]
        let places = match &self.places {
            Some(places) => places.clone().inner(),
            None => order.clone(),
        };
        let later = of_keys(&order).greater(of_queries(&order));
        let too_old = of_keys(&places).lower_equal(of_queries(&places) - self.size as i64);
        let hidden = later.bool_or(too_old);
        match visibility {
            Visibility::All => hidden,
            Visibility::Segments(ids) => {
                let ids = ids.clone().inner();
                hidden.bool_or(of_keys(&ids).not_equal(of_queries(&ids)))
            }
            Visibility::Keys(ids) => hidden.bool_or(of_keys(&ids.clone().inner()).equal_elem(0)),
        }
    }
}

/// [`attention`] of queries that no window hides anything from.
fn whole_attention(
    queries: Tensor<4>,
    keys: &Tensor<4>,
    values: &Tensor<4>,
    visibility: &Visibility,
    options: AttentionOptions,
) -> Tensor<4> {
    let (keys, values) = (keys.clone(), values.clone());
    let Visibility::Segments(ids) = visibility else {
        return attention(queries, keys, values, visibility, options);
    };
    // There the queries are all keys.
    let [_, count, _, _] = queries.dims();
    let ids = Visibility::Segments(ids.clone().narrow(1, 0, count));
    let (keys, values) = (keys.narrow(1, 0, count), values.narrow(1, 0, count));
    attention(queries, keys, values, &ids, options)
}
