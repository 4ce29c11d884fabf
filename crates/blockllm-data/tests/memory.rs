//! The loader's memory does not grow with the corpus: measured by counting what is allocated.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blockllm_data::{Corpus, Loader, LoaderConfig, Tokenizer};
use flate2::{Compression, write::GzEncoder};

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

const DOCUMENTS: usize = 20;

/// All words are among the first hundred texts, so that the tokenizer's own cache of words is soon complete.
fn text(number: usize) -> String {
    let number = number % 100;
    let words = (0..40).map(|word| ["block", "descent", "of", "memory"][(number * 7 + word * word) % 4]);
    format!("{number} {}", words.collect::<Vec<_>>().join(" "))
}

/// A folder of shards with 20 documents each.
fn write_shards(folder: &Path, shards: usize) {
    let write = |name: String, shard: usize| {
        let file = File::create(folder.join(name)).unwrap();
        let mut out = GzEncoder::new(file, Compression::fast());
        for number in shard * DOCUMENTS..(shard + 1) * DOCUMENTS {
            writeln!(out, "{}", serde_json::json!({ "text": text(number) })).unwrap();
        }
        out.finish().unwrap();
    };
    for shard in 0..shards {
        write(format!("c4-train.{shard:05}-of-{shards:05}.json.gz"), shard);
    }
    write("c4-validation.0.json.gz".to_owned(), shards);
}

/// Peak bytes of opening a corpus and reading all of it once, and a part again.
fn peak(shards: usize, tokenizer: &Arc<Tokenizer>) -> usize {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), shards);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let corpus = Corpus::from_path(folder.path()).unwrap();
    let config = LoaderConfig {
        batch_size: 4,
        seq_len: 32,
        shuffle_buffer: 50,
        // Ten shards could be kept in memory, a thousand could not.
        cache_tokens: 400,
        threads: 2,
        ..LoaderConfig::default()
    };
    let mut loader = Loader::new(corpus, tokenizer.clone(), config).unwrap();
    while loader.cursor().next.epoch < 1 || loader.cursor().next.document < 30 {
        loader.next_batch().unwrap();
    }
    drop(loader);
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn a_thousand_shards_take_no_more_memory_than_ten() {
    let texts: Vec<String> = (0..100).map(text).collect();
    let tokenizer = Arc::new(Tokenizer::train_byte_level_bpe(texts, 300).unwrap());
    peak(10, &tokenizer); // Caches of the library and of the threads are filled once.
    let (few, many) = (peak(10, &tokenizer), peak(1000, &tokenizer));
    println!("10 shards: {few} bytes, 1000 shards: {many} bytes");
    // A shard's path and hash are all that may be kept of it.
    assert!(
        many < few + 990 * 700,
        "10 shards: {few} bytes, 1000 shards: {many} bytes"
    );
    assert!(few < 16 << 20, "{few} bytes");
}
