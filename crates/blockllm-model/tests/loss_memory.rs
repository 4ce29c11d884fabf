//! The chunked loss never holds all logits: measured by counting what is allocated on the host (flex).
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use blockllm_model::LossOptions;
use blockllm_model::loss::{HeadWeight, chunked_cross_entropy};
use burn::tensor::{Device, Distribution, Int, Tensor};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting bytes.
struct Counting;

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promises hold for the system's allocator too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Peak bytes above what was live before, of loss and backward pass.
fn peak(tokens: usize, vocab: usize, chunk: usize, train_head: bool) -> usize {
    let device = Device::flex().autodiff();
    let uniform = Distribution::Uniform(-1.0, 1.0);
    let hidden = Tensor::<2>::random([tokens, 16], uniform, &device).require_grad();
    let head = Tensor::<2>::random([16, vocab], uniform, &device).set_require_grad(train_head);
    let labels = Tensor::<1, Int>::zeros([tokens], &device);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let options = LossOptions::with_chunk_tokens(chunk);
    let loss = chunked_cross_entropy(hidden, HeadWeight::Columns(head), labels, &options);
    let _grads = loss.loss.backward();
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn peak_memory_follows_the_chunk_and_not_the_batch() {
    let (tokens, vocab) = (2048, 4096);
    let logits_bytes = tokens * vocab * 4;
    peak(64, vocab, 64, false); // threads and tables of the backend are allocated once
    for train_head in [false, true] {
        let whole = peak(tokens, vocab, tokens, train_head);
        let chunked = peak(tokens, vocab, 128, train_head);
        println!(
            "train head {train_head}: whole {whole}, in chunks {chunked}, all logits {logits_bytes} bytes"
        );
        assert!(whole >= logits_bytes && chunked < logits_bytes / 3);
    }
    // Four times the batch costs four times the hidden states and nothing else.
    let growth = peak(4 * tokens, vocab, 128, false).saturating_sub(peak(tokens, vocab, 128, false));
    assert!(growth < 3 * tokens * 16 * 4 * 8, "{growth}");
}
