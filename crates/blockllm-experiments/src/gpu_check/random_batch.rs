//! Batches of random tokens, the same on every machine.
use blockllm_data::LmBatch;

/// `rows` of `positions` tokens below `vocab`, the same on every machine.
pub(super) fn random_batch(rows: usize, positions: usize, vocab: usize, seed: u64) -> LmBatch {
    let mut state = seed;
    let mut token = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % vocab as u64) as i32
    };
    let tokens: Vec<i32> = (0..=rows * positions).map(|_| token()).collect();
    LmBatch {
        batch_size: rows,
        seq_len: positions,
        input_ids: tokens[..rows * positions].to_vec(),
        labels: tokens[1..].to_vec(),
        segment_ids: None,
    }
}
