//! The kernels of attention on GPUs.
//!
//! `CUBE_POS_X` is a block of tokens, `CUBE_POS_Y` a head, `CUBE_POS_Z` a row of the batch. Loops over the width of a head are
//! unrolled: rows are registers then, and software Vulkan, which ends a shader's loops after 65,535 turns in all, counts keys
//! alone.

use cubecl::prelude::*;

use crate::dropout::cube::factor;

/// Units of a cube: queries, or keys, that one cube serves.
pub(super) const BLOCK: u32 = 64;

/// Tokens in shared memory at a time.
const TILE: usize = 16;

/// Below every score, and its exponential is zero.
const NOTHING: f32 = -1e30;

/// Whether a query sees a key: `kind` is 0 for all, 1 for those of its segment, 2 for those that are not padding.
#[cube]
fn sees<I: Int>(
    ids: &[I],
    batch: usize,
    query: usize,
    key: usize,
    seen: usize,
    past: usize,
    #[comptime] causal: bool,
    #[comptime] kind: u32,
) -> bool {
    let mut visible = key < seen;
    if comptime!(causal) {
        visible = visible && key <= past + query;
    }
    if comptime!(kind != 0) {
        // A key beyond the last is not looked up.
        let own = ids[batch * seen + min(key, seen - 1)];
        if comptime!(kind == 1) {
            visible = visible && own == ids[batch * seen + min(query, seen - 1)];
        } else {
            visible = visible && own != I::new(0);
        }
    }
    visible
}

/// Copies rows of one head into shared memory, in f32: those of tokens `first..first + TILE`, zero beyond `tokens`.
#[cube]
fn load_tile<F: Float>(
    from: &[F],
    tile: &mut Shared<[f32]>,
    batch: usize,
    first: usize,
    tokens: usize,
    head: usize,
    heads: usize,
    #[comptime] width: usize,
) {
    let mut index = UNIT_POS as usize;
    while index < TILE * width {
        let token = first + index / width;
        let mut value = 0.0f32;
        if token < tokens {
            value = f32::cast_from(from[((batch * tokens + token) * heads + head) * width + index % width]);
        }
        tile[index] = value;
        index += CUBE_DIM as usize;
    }
}

/// Copies the row of this unit's token, zero where it has none.
#[cube]
fn load_row<F: Float>(from: &[F], start: usize, active: bool, #[comptime] width: usize) -> Array<f32> {
    let mut row = Array::<f32>::new(width);
    #[unroll]
    for i in 0..width {
        let mut value = 0.0f32;
        if active {
            value = f32::cast_from(from[start + i]);
        }
        row[i] = value;
    }
    row
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the array lives on the device; here it is a name"
)]
/// The product of a unit's row with row `index` of a tile.
#[cube]
fn dot(row: &Array<f32>, tile: &Shared<[f32]>, index: usize, #[comptime] width: usize) -> f32 {
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..width {
        sum += row[i] * tile[index * width + i];
    }
    sum
}

/// What dropout multiplies the weight at `index` of `[B, H, T, S]` with; 1 where there is none.
#[cube]
fn share_of(
    index: usize,
    first_key: u32,
    second_key: u32,
    threshold: u32,
    kept_scale: f32,
    #[comptime] drops: bool,
) -> f32 {
    let mut share = 1.0f32;
    if comptime!(drops) {
        share = factor(index as u32, first_key, second_key, threshold, kept_scale);
    }
    share
}

#[cube(launch)]
pub(super) fn forward<F: Float, I: Int>(
    queries: &[F],
    keys: &[F],
    values: &[F],
    ids: &[I],
    output: &mut [F],
    length: usize,
    seen: usize,
    groups: usize,
    past: usize,
    scale: f32,
    first_key: u32,
    second_key: u32,
    threshold: u32,
    kept_scale: f32,
    #[comptime] width: usize,
    #[comptime] causal: bool,
    #[comptime] kind: u32,
    #[comptime] drops: bool,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let (batch, head, heads) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize, CUBE_COUNT_Y as usize);
    let query = (CUBE_POS_X * BLOCK + UNIT_POS) as usize;
    let active = query < length;
    let group = head * groups / heads;
    let start = ((batch * length + query) * heads + head) * width;
    let row = load_row::<F>(queries, start, active, width);
    let mut key_tile = Shared::<[f32]>::new_slice(TILE * width);
    let mut value_tile = Shared::<[f32]>::new_slice(TILE * width);
    let mut gathered = Array::<f32>::new(width);
    #[unroll]
    for i in 0..width {
        gathered[i] = 0.0f32;
    }
    let mut largest = f32::new(NOTHING);
    let mut sum = 0.0f32;
    let mut limit = seen;
    if comptime!(causal) {
        limit = min(seen, past + ((CUBE_POS_X + 1) * BLOCK) as usize);
    }
    let mut first = 0usize;
    while first < limit {
        load_tile::<F>(keys, &mut key_tile, batch, first, seen, group, groups, width);
        load_tile::<F>(values, &mut value_tile, batch, first, seen, group, groups, width);
        sync_cube();
        for index in 0..TILE {
            if active && sees::<I>(ids, batch, query, first + index, seen, past, causal, kind) {
                let score = dot(&row, &key_tile, index, width) * scale;
                let next = max(largest, score);
                let keep = (largest - next).exp();
                let weight = (score - next).exp();
                sum = sum * keep + weight;
                let at = ((batch * heads + head) * length + query) * seen + first + index;
                let share = weight * share_of(at, first_key, second_key, threshold, kept_scale, drops);
                #[unroll]
                for i in 0..width {
                    gathered[i] = gathered[i] * keep + share * value_tile[index * width + i];
                }
                largest = next;
            }
        }
        sync_cube();
        first += TILE;
    }
    if active {
        let mut share = 0.0f32;
        if sum > 0.0f32 {
            share = sum.recip();
        }
        #[unroll]
        for i in 0..width {
            output[start + i] = F::cast_from(gathered[i] * share);
        }
    }
}

/// `dq`, and of every query the logarithm of its sum of exponentials and `delta`, `[2, B, H, T]`.
#[cube(launch)]
pub(super) fn query_grads<F: Float, I: Int>(
    queries: &[F],
    keys: &[F],
    values: &[F],
    grad: &[F],
    ids: &[I],
    output: &mut [F],
    stats: &mut [f32],
    length: usize,
    seen: usize,
    groups: usize,
    past: usize,
    scale: f32,
    first_key: u32,
    second_key: u32,
    threshold: u32,
    kept_scale: f32,
    #[comptime] width: usize,
    #[comptime] causal: bool,
    #[comptime] kind: u32,
    #[comptime] drops: bool,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let (batch, head, heads) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize, CUBE_COUNT_Y as usize);
    let query = (CUBE_POS_X * BLOCK + UNIT_POS) as usize;
    let active = query < length;
    let group = head * groups / heads;
    let start = ((batch * length + query) * heads + head) * width;
    let row = load_row::<F>(queries, start, active, width);
    let grad_row = load_row::<F>(grad, start, active, width);
    let mut key_tile = Shared::<[f32]>::new_slice(TILE * width);
    let mut value_tile = Shared::<[f32]>::new_slice(TILE * width);
    let mut largest = f32::new(NOTHING);
    let mut sum = 0.0f32;
    let mut delta = 0.0f32;
    let mut limit = seen;
    if comptime!(causal) {
        limit = min(seen, past + ((CUBE_POS_X + 1) * BLOCK) as usize);
    }
    let mut first = 0usize;
    while first < limit {
        load_tile::<F>(keys, &mut key_tile, batch, first, seen, group, groups, width);
        load_tile::<F>(values, &mut value_tile, batch, first, seen, group, groups, width);
        sync_cube();
        for index in 0..TILE {
            if active && sees::<I>(ids, batch, query, first + index, seen, past, causal, kind) {
                let score = dot(&row, &key_tile, index, width) * scale;
                let next = max(largest, score);
                let keep = (largest - next).exp();
                let weight = (score - next).exp();
                sum = sum * keep + weight;
                let at = ((batch * heads + head) * length + query) * seen + first + index;
                let share = share_of(at, first_key, second_key, threshold, kept_scale, drops);
                let change = dot(&grad_row, &value_tile, index, width) * share;
                delta = delta * keep + weight * change;
                largest = next;
            }
        }
        sync_cube();
        first += TILE;
    }
    // For a query that sees nothing every exponential below becomes zero.
    let mut logarithm = f32::new(-NOTHING);
    if sum > 0.0f32 {
        logarithm = largest + sum.ln();
        delta /= sum;
    }
    let mut change = Array::<f32>::new(width);
    #[unroll]
    for i in 0..width {
        change[i] = 0.0f32;
    }
    let mut first = 0usize;
    while first < limit {
        load_tile::<F>(keys, &mut key_tile, batch, first, seen, group, groups, width);
        load_tile::<F>(values, &mut value_tile, batch, first, seen, group, groups, width);
        sync_cube();
        for index in 0..TILE {
            if active && sees::<I>(ids, batch, query, first + index, seen, past, causal, kind) {
                let weight = (dot(&row, &key_tile, index, width) * scale - logarithm).exp();
                let at = ((batch * heads + head) * length + query) * seen + first + index;
                let share = share_of(at, first_key, second_key, threshold, kept_scale, drops);
                let of_weight = dot(&grad_row, &value_tile, index, width) * share;
                let of_score = weight * (of_weight - delta) * scale;
                #[unroll]
                for i in 0..width {
                    change[i] += of_score * key_tile[index * width + i];
                }
            }
        }
        sync_cube();
        first += TILE;
    }
    if active {
        #[unroll]
        for i in 0..width {
            output[start + i] = F::cast_from(change[i]);
        }
        let at = (batch * heads + head) * length + query;
        stats[at] = logarithm;
        stats[stats.len() / 2 + at] = delta;
    }
}

/// `dk` and `dv`: a unit per key goes through the queries of all heads that read it, always in the same order.
#[cube(launch)]
pub(super) fn key_grads<F: Float, I: Int>(
    queries: &[F],
    keys: &[F],
    values: &[F],
    grad: &[F],
    ids: &[I],
    stats: &[f32],
    key_output: &mut [F],
    value_output: &mut [F],
    length: usize,
    seen: usize,
    heads: usize,
    past: usize,
    scale: f32,
    first_key: u32,
    second_key: u32,
    threshold: u32,
    kept_scale: f32,
    #[comptime] width: usize,
    #[comptime] causal: bool,
    #[comptime] kind: u32,
    #[comptime] drops: bool,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let (batch, group, groups) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize, CUBE_COUNT_Y as usize);
    let key = (CUBE_POS_X * BLOCK + UNIT_POS) as usize;
    let active = key < seen;
    let start = ((batch * seen + key) * groups + group) * width;
    let key_row = load_row::<F>(keys, start, active, width);
    let value_row = load_row::<F>(values, start, active, width);
    let mut query_tile = Shared::<[f32]>::new_slice(TILE * width);
    let mut grad_tile = Shared::<[f32]>::new_slice(TILE * width);
    let mut of_key = Array::<f32>::new(width);
    let mut of_value = Array::<f32>::new(width);
    #[unroll]
    for i in 0..width {
        of_key[i] = 0.0f32;
        of_value[i] = 0.0f32;
    }
    let share = heads / groups;
    for head in group * share..(group + 1) * share {
        let mut first = 0usize;
        while first < length {
            load_tile::<F>(queries, &mut query_tile, batch, first, length, head, heads, width);
            load_tile::<F>(grad, &mut grad_tile, batch, first, length, head, heads, width);
            sync_cube();
            for index in 0..TILE {
                let query = first + index;
                if active && query < length && sees::<I>(ids, batch, query, key, seen, past, causal, kind) {
                    let at = (batch * heads + head) * length + query;
                    let weight = (dot(&key_row, &query_tile, index, width) * scale - stats[at]).exp();
                    let kept = share_of(
                        at * seen + key,
                        first_key,
                        second_key,
                        threshold,
                        kept_scale,
                        drops,
                    );
                    let change =
                        dot(&value_row, &grad_tile, index, width) * kept - stats[stats.len() / 2 + at];
                    let of_score = weight * change * scale;
                    let weight = weight * kept;
                    #[unroll]
                    for i in 0..width {
                        of_key[i] += of_score * query_tile[index * width + i];
                        of_value[i] += weight * grad_tile[index * width + i];
                    }
                }
            }
            sync_cube();
            first += TILE;
        }
    }
    if active {
        #[unroll]
        for i in 0..width {
            key_output[start + i] = F::cast_from(of_key[i]);
            value_output[start + i] = F::cast_from(of_value[i]);
        }
    }
}
