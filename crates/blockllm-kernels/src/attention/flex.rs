//! Attention on the CPU: blocks of queries against all keys that they see, whose scores never leave the caches.

#![allow(
    unsafe_code,
    reason = "heads lie side by side in each row, so that the tasks' parts of an output are no slices of their own"
)]

use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_flex::Flex;

use super::{AttentionBackend, AttentionGrads, AttentionOptions, Sizes, Visible};
use crate::dropout::Mask;
use crate::host::gemm::{Matrix, MatrixMut, Target, product};
use crate::host::simd::{exp, max_of, sum_of, vectorized};
use crate::host::{in_f32, in_tasks, integers, numbers, tensor};

/// Queries of one task.
const BLOCK: usize = 64;

impl AttentionBackend for Flex {
    fn fused_attention(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        visible: Visible<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (queries.dtype(), queries.layout().shape().clone());
        let inputs = [queries, keys, values].map(in_f32);
        let sizes = Sizes::new(inputs[0].layout().shape(), inputs[1].layout().shape());
        let heads = Heads::new(
            inputs.each_ref().map(numbers),
            sizes,
            Rule::new(visible, options, sizes),
        );
        tensor(heads.forward(), shape, dtype)
    }

    fn fused_attention_grads(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        visible: Visible<Self>,
        options: AttentionOptions,
    ) -> AttentionGrads<Self> {
        let dtype = queries.dtype();
        let shapes = [&queries, &keys].map(|input| input.layout().shape().clone());
        let [queries, keys, values, grad] = [queries, keys, values, grad].map(in_f32);
        let sizes = Sizes::new(&shapes[0], &shapes[1]);
        let inputs = [&queries, &keys, &values].map(numbers);
        let heads = Heads::new(inputs, sizes, Rule::new(visible, options, sizes));
        let [queries, keys, values] = heads.backward(numbers(&grad));
        let made = |values, shape: &Shape, dtype: DType| tensor(values, shape.clone(), dtype);
        AttentionGrads {
            queries: made(queries, &shapes[0], dtype),
            keys: made(keys, &shapes[1], dtype),
            values: made(values, &shapes[1], dtype),
        }
    }
}

/// Which keys a query sees.
struct Rule {
    options: AttentionOptions,
    mask: Option<Mask>,
    /// `[B, S]`, where there are any.
    ids: Vec<i64>,
    by_segment: bool,
    seen: usize,
}

impl Rule {
    fn new(visible: Visible<Flex>, options: AttentionOptions, sizes: Sizes) -> Self {
        let by_segment = matches!(visible, Visible::Segments(_));
        let ids = match visible {
            Visible::All => Vec::new(),
            Visible::Segments(ids) | Visible::Keys(ids) => integers(&ids),
        };
        Self {
            mask: options.mask(),
            options,
            ids,
            by_segment,
            seen: sizes.seen,
        }
    }

    /// Keys before which query `last` and all queries above it see nothing more.
    fn limit(&self, last: usize) -> usize {
        if self.options.causal {
            self.seen.min(self.options.past + last + 1)
        } else {
            self.seen
        }
    }

    /// Makes scores minus infinity where the query must not see the key.
    #[inline(always)]
    fn forbid(&self, batch: usize, query: usize, scores: &mut [f32]) {
        let limit = self.limit(query).min(scores.len());
        scores[limit..].fill(f32::NEG_INFINITY);
        if self.ids.is_empty() {
            return;
        }
        let ids = &self.ids[batch * self.seen..][..self.seen];
        let own = if self.by_segment { ids[query] } else { 0 };
        for (score, id) in scores.iter_mut().zip(ids) {
            let hidden = if self.by_segment { *id != own } else { *id == 0 };
            *score = if hidden { f32::NEG_INFINITY } else { *score };
        }
    }
}

/// Queries, keys and values of all heads.
struct Heads<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    sizes: Sizes,
    rule: Rule,
}

/// The start of a buffer that several tasks write, each its own part.
struct Output(*mut f32);

// SAFETY: every task writes other entries, see the calls of `matrix`.
unsafe impl Sync for Output {}

impl Output {
    /// The rows of one head from `offset` on.
    ///
    /// # Safety
    ///
    /// The rows lie within the buffer, and no other task writes them.
    unsafe fn matrix(&self, offset: usize, row_stride: usize) -> MatrixMut<'_> {
        // SAFETY: promised by the caller.
        unsafe { MatrixMut::shared(self.0.add(offset), row_stride) }
    }
}

impl<'a> Heads<'a> {
    fn new([queries, keys, values]: [&'a [f32]; 3], sizes: Sizes, rule: Rule) -> Self {
        Self {
            queries,
            keys,
            values,
            sizes,
            rule,
        }
    }

    /// Where head `head` of token `token` begins among `heads` heads.
    fn at(&self, batch: usize, token: usize, tokens: usize, head: usize, heads: usize) -> usize {
        ((batch * tokens + token) * heads + head) * self.sizes.width
    }

    /// The output, `[B, T, H, head_dim]`.
    fn forward(&self) -> Vec<f32> {
        let Sizes {
            batch,
            length,
            heads,
            width,
            ..
        } = self.sizes;
        // Zero where a query sees nothing at all.
        let mut output = vec![0.0_f32; batch * length * heads * width];
        let shared = Output(output.as_mut_ptr());
        let blocks = length.div_ceil(BLOCK);
        in_tasks(batch * heads * blocks, |task| {
            // The longest blocks first, so that the cores end together.
            let (block, head) = (blocks - 1 - task / (batch * heads), task % (batch * heads));
            let (batch, head) = (head / heads, head % heads);
            let first = block * BLOCK;
            let rows = BLOCK.min(length - first);
            let mut weights = Vec::new();
            let seen = self.weights(batch, head, first, rows, &mut weights);
            if seen == 0 {
                return;
            }
            self.drop(batch, head, first, &mut weights, rows);
            let values = self.values_of(batch, head);
            // SAFETY: these rows of this head belong to this task alone.
            let mut target =
                unsafe { shared.matrix(self.at(batch, first, length, head, heads), heads * width) };
            let weights = Matrix::rows(&weights, seen);
            product(
                &mut target,
                weights,
                values,
                [rows, width, seen],
                Target::Overwrite,
            );
        });
        output
    }

    /// `p` of some queries of a head, `[rows, seen]`; returns how many keys they see at most.
    fn weights(&self, batch: usize, head: usize, first: usize, rows: usize, weights: &mut Vec<f32>) -> usize {
        let seen = self.rule.limit(first + rows - 1);
        weights.clear();
        weights.resize(rows * seen, 0.0);
        if seen == 0 {
            return 0;
        }
        let queries = self.queries_of(self.queries, batch, head, first);
        let keys = self.keys_of(batch, head).transposed();
        let mut scores = MatrixMut::rows(weights, rows, seen);
        product(
            &mut scores,
            queries,
            keys,
            [rows, seen, self.sizes.width],
            Target::Overwrite,
        );
        let scale = self.rule.options.scale;
        vectorized(
            #[inline(always)]
            || {
                for (row, scores) in weights.chunks_exact_mut(seen).enumerate() {
                    self.rule.forbid(batch, first + row, scores);
                    softmax(scores, scale);
                }
            },
        );
        seen
    }

    /// `dq`, `dk` and `dv`. One task is all queries that read one key head of one row of the batch.
    fn backward(&self, grad: &[f32]) -> [Vec<f32>; 3] {
        let Sizes { batch, groups, .. } = self.sizes;
        let mut outputs =
            [self.queries.len(), self.keys.len(), self.values.len()].map(|len| vec![0.0_f32; len]);
        let shared = outputs.each_mut().map(|output| Output(output.as_mut_ptr()));
        in_tasks(batch * groups, |task| {
            self.backward_of(task / groups, task % groups, grad, &shared);
        });
        outputs
    }

    fn backward_of(&self, batch: usize, group: usize, grad: &[f32], [dq, dk, dv]: &[Output; 3]) {
        let Sizes {
            length,
            seen: tokens,
            heads,
            groups,
            width,
            ..
        } = self.sizes;
        let at_keys = self.at(batch, 0, tokens, group, groups);
        // SAFETY: this key head of this row of the batch belongs to this task alone.
        let (mut dk, mut dv) = unsafe {
            let stride = groups * width;
            (dk.matrix(at_keys, stride), dv.matrix(at_keys, stride))
        };
        let (mut weights, mut kept, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        let share = heads / groups;
        for head in group * share..(group + 1) * share {
            for first in (0..length).step_by(BLOCK) {
                let rows = BLOCK.min(length - first);
                let seen = self.weights(batch, head, first, rows, &mut weights);
                if seen == 0 {
                    continue;
                }
                let grad = self.queries_of(grad, batch, head, first);
                kept.clone_from(&weights);
                self.drop(batch, head, first, &mut kept, rows);
                let p = Matrix::rows(&kept, seen);
                product(&mut dv, p.transposed(), grad, [seen, width, rows], Target::Add);
                self.score_grads([batch, head, first], grad, &weights, rows, &mut changes);
                let ds = Matrix::rows(&changes, seen);
                let queries = self.queries_of(self.queries, batch, head, first);
                product(
                    &mut dk,
                    ds.transposed(),
                    queries,
                    [seen, width, rows],
                    Target::Add,
                );
                // SAFETY: these rows of this query head belong to this task alone.
                let mut dq = unsafe { dq.matrix(self.at(batch, first, length, head, heads), heads * width) };
                product(
                    &mut dq,
                    ds,
                    self.keys_of(batch, head),
                    [rows, width, seen],
                    Target::Overwrite,
                );
            }
        }
    }

    /// `scale ds` of some queries, `[rows, seen]`.
    fn score_grads(
        &self,
        [batch, head, first]: [usize; 3],
        grad: Matrix<'_>,
        weights: &[f32],
        rows: usize,
        changes: &mut Vec<f32>,
    ) {
        let seen = weights.len() / rows;
        changes.clear();
        changes.resize(rows * seen, 0.0);
        let values = self.values_of(batch, head).transposed();
        let mut target = MatrixMut::rows(changes, rows, seen);
        product(
            &mut target,
            grad,
            values,
            [rows, seen, self.sizes.width],
            Target::Overwrite,
        );
        self.drop(batch, head, first, changes, rows);
        let scale = self.rule.options.scale;
        vectorized(
            #[inline(always)]
            || {
                for (changes, weights) in changes.chunks_exact_mut(seen).zip(weights.chunks_exact(seen)) {
                    let delta = sum_of(
                        seen,
                        #[inline(always)]
                        |key| weights[key] * changes[key],
                    );
                    for (change, weight) in changes.iter_mut().zip(weights) {
                        *change = weight * (*change - delta) * scale;
                    }
                }
            },
        );
    }

    /// Multiplies what stands where the weights of some queries do with the mask of dropout, if there is one.
    fn drop(&self, batch: usize, head: usize, first: usize, weights: &mut [f32], rows: usize) {
        let Some(mask) = self.rule.mask else { return };
        let Sizes {
            length, seen, heads, ..
        } = self.sizes;
        let width = weights.len() / rows;
        vectorized(
            #[inline(always)]
            || {
                for (row, weights) in weights.chunks_exact_mut(width).enumerate() {
                    let start = (((batch * heads + head) * length + first + row) * seen) as u32;
                    for (key, weight) in weights.iter_mut().enumerate() {
                        *weight *= mask.factor(start + key as u32);
                    }
                }
            },
        );
    }

    /// Some queries of a head, or what has their shape.
    fn queries_of<'b>(&self, of: &'b [f32], batch: usize, head: usize, first: usize) -> Matrix<'b> {
        let Sizes {
            length, heads, width, ..
        } = self.sizes;
        Matrix::rows(&of[self.at(batch, first, length, head, heads)..], heads * width)
    }

    fn keys_of(&self, batch: usize, head: usize) -> Matrix<'a> {
        Matrix::rows(
            &self.keys[self.at_key(batch, head)..],
            self.sizes.groups * self.sizes.width,
        )
    }

    fn values_of(&self, batch: usize, head: usize) -> Matrix<'a> {
        Matrix::rows(
            &self.values[self.at_key(batch, head)..],
            self.sizes.groups * self.sizes.width,
        )
    }

    /// Where the first key that query head `head` reads begins.
    fn at_key(&self, batch: usize, head: usize) -> usize {
        let Sizes {
            seen, heads, groups, ..
        } = self.sizes;
        self.at(batch, 0, seen, head * groups / heads, groups)
    }
}

/// `softmax(scale scores)` in place; zeros when all scores are minus infinity.
#[inline(always)]
fn softmax(scores: &mut [f32], scale: f32) {
    let largest = max_of(scores);
    if largest == f32::NEG_INFINITY {
        // Nothing is seen, or the numbers are no numbers any more: those must stay visible.
        let broken = scores.iter().any(|score| score.is_nan());
        scores.fill(if broken { f32::NAN } else { 0.0 });
        return;
    }
    for score in scores.iter_mut() {
        *score = exp((*score - largest) * scale);
    }
    let sum = sum_of(
        scores.len(),
        #[inline(always)]
        |key| scores[key],
    );
    let share = 1.0 / sum;
    for score in scores.iter_mut() {
        *score *= share;
    }
}
