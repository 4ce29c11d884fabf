//! A global allocator that counts live bytes and their peak, for devices whose memory is the heap (flex), and keeps large
//! blocks for the next buffer of their size.
use super::block_pool::BlockPool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static LIVE: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

static POOL: BlockPool = BlockPool::new();

/// The system's allocator behind a pool of large blocks, counted. What is counted are the bytes asked for and not freed:
/// blocks that wait in the pool are free. A binary installs it with
/// `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// Bytes allocated now by the whole process; 0 when it is not installed.
    pub fn live_bytes() -> u64 {
        LIVE.load(Ordering::Relaxed)
    }

    /// The most bytes that were live at once since the last [`reset_peak`](Self::reset_peak).
    pub fn peak_bytes() -> u64 {
        PEAK.load(Ordering::Relaxed)
    }

    /// Starts a new peak from what is live now.
    pub fn reset_peak() {
        PEAK.store(Self::live_bytes(), Ordering::Relaxed);
    }
}

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

fn shrunk(bytes: usize) {
    LIVE.fetch_sub(bytes as u64, Ordering::Relaxed);
}

#[allow(
    unsafe_code,
    reason = "counting allocations needs a global allocator, which is an unsafe trait"
)]
// SAFETY: every block comes from the pool or from the system's allocator, as its layout says, and goes back there; the
// counters touch no memory of theirs.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let pointer = if BlockPool::serves(layout) {
            POOL.allocate(layout)
        } else {
            // SAFETY: the caller keeps `alloc`'s contract.
            unsafe { System.alloc(layout) }
        };
        if !pointer.is_null() {
            grown(layout.size());
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if BlockPool::serves(layout) {
            // SAFETY: the caller keeps the contract; the block has the layout's size.
            return unsafe {
                let pointer = self.alloc(layout);
                if !pointer.is_null() {
                    pointer.write_bytes(0, layout.size());
                }
                pointer
            };
        }
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            grown(layout.size());
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and the same layout chose where the block came from.
        unsafe {
            if BlockPool::serves(layout) {
                POOL.free(pointer, layout);
            } else {
                System.dealloc(pointer, layout);
            }
        }
        shrunk(layout.size());
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises a size that makes a layout.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if BlockPool::serves(layout) && BlockPool::fits(layout, new_layout) {
            grown(new_size);
            shrunk(layout.size());
            return pointer;
        }
        if BlockPool::serves(layout) || BlockPool::serves(new_layout) {
            // SAFETY: the caller keeps `realloc`'s contract; both blocks hold what is copied.
            return unsafe {
                let new = self.alloc(new_layout);
                if !new.is_null() {
                    pointer.copy_to_nonoverlapping(new, layout.size().min(new_size));
                    self.dealloc(pointer, layout);
                }
                new
            };
        }
        // SAFETY: the caller keeps `realloc`'s contract.
        let new = unsafe { System.realloc(pointer, layout, new_size) };
        if !new.is_null() {
            grown(new_size);
            shrunk(layout.size());
        }
        new
    }
}
