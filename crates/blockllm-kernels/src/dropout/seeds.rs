//! Where the seeds of dropout come from: a sequence per thread, which a training loop begins anew at every step.
//!
//! burn's own dropout keeps a random tensor as large as its input until the backward pass, drawn from the device's
//! generator; ours keeps the seed. A step whose sequence begins with [`seed_dropout`] drops the same entries wherever and
//! whenever it runs: a resumed run goes on as if it had not stopped, and a layer that is computed again for its backward
//! pass drops what it dropped before.

use std::cell::Cell;

/// The golden ratio's bits, by which splitmix64 counts.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Begins this thread's sequence of dropout seeds anew; until then it is that of seed 0.
pub fn seed_dropout(seed: u64) {
    STATE.set(seed);
}

/// Where this thread's sequence stands: with it as its seed, [`seed_dropout`] goes back to here.
pub fn dropout_state() -> u64 {
    STATE.get()
}

/// The next seed of this thread's sequence.
pub fn next_dropout_seed() -> u64 {
    let seed = STATE.get().wrapping_add(STRIDE);
    STATE.set(seed);
    seed
}
