//! A token of a batch costs no copy of the cache: measured by counting what is allocated on the host (flex).
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use blockllm_model::llama::{GenerateConfig, LlamaConfig};
use burn::tensor::Device;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting bytes.
struct Counting;

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises hold for the system's allocator too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_token_allocates_far_less_than_the_keys_and_values_of_one_layer() {
    let config = LlamaConfig {
        head_dim: 64,
        ..LlamaConfig::new(96, 64, 64, 2, 4)
    };
    let model = config.init(0, &Device::flex());
    for lengths in [&[900][..], &[700, 900, 800, 850]] {
        let prompts: Vec<Vec<u32>> = lengths
            .iter()
            .map(|length| (0..*length).map(|i| i * 7 % 96).collect())
            .collect();
        let layer_bytes = lengths.len() * 900 * 4 * 64 * 2 * 4;
        let mut stream = model.stream_batch(&prompts, &GenerateConfig::greedy(40)).unwrap();
        let mut round = || {
            let before = ALLOCATED.load(Ordering::Relaxed);
            for _ in lengths {
                stream.next().unwrap().unwrap();
            }
            ALLOCATED.load(Ordering::Relaxed) - before
        };
        let of_prompts = round();
        let most = (0..20).map(|_| round()).max().unwrap();
        println!(
            "{} rows: {most} bytes a round, {layer_bytes} in a layer's cache, {of_prompts} for the prompts",
            lengths.len()
        );
        assert!(
            most < layer_bytes / 4 && of_prompts > layer_bytes,
            "{most} of {layer_bytes}"
        );
    }
}
