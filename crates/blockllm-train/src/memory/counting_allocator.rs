//! A global allocator that counts live bytes and their peak, for devices whose memory is the heap (flex), and keeps large
//! blocks for the next buffer of their size.
use super::block_pool::BlockPool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// Signed, since what one side has allocated the other may free.
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);
static APART: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// Whether this thread's bytes are booked apart.
    static IS_APART: Cell<bool> = const { Cell::new(false) };
}

static POOL: BlockPool = BlockPool::new();

/// The system's allocator behind a pool of large blocks, counted. What is counted are the bytes asked for and not freed:
/// blocks that wait in the pool are free. A binary installs it with
/// `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// Bytes allocated now by the whole process, but for those booked apart; 0 when it is not installed.
    pub fn live_bytes() -> u64 {
        LIVE.load(Ordering::Relaxed).max(0).cast_unsigned()
    }

    /// The most bytes that were live at once since the last [`reset_peak`](Self::reset_peak).
    pub fn peak_bytes() -> u64 {
        PEAK.load(Ordering::Relaxed).max(0).cast_unsigned()
    }

    /// Bytes that are booked apart: texts, tokens and batches that are being prepared.
    pub fn apart_bytes() -> u64 {
        APART.load(Ordering::Relaxed).max(0).cast_unsigned()
    }

    /// Starts a new peak from what is live now.
    pub fn reset_peak() {
        PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Books what this thread allocates and frees apart, from now on: for threads that prepare data.
    pub fn book_this_thread_apart() {
        IS_APART.set(true);
    }

    /// Books what `work` allocates and frees apart. What it gives out is best made by [`beside`](Self::beside): whoever
    /// frees it would else take it from the wrong account.
    pub fn apart<T>(work: impl FnOnce() -> T) -> T {
        booked(true, work)
    }

    /// Within [`apart`](Self::apart): books what `work` allocates and frees as the model's.
    pub fn beside<T>(work: impl FnOnce() -> T) -> T {
        booked(false, work)
    }
}

fn booked<T>(apart: bool, work: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            IS_APART.set(self.0);
        }
    }
    let _back = Back(IS_APART.replace(apart));
    work()
}

/// Whether this thread is booked apart; one that ends is not.
fn is_apart() -> bool {
    IS_APART.try_with(Cell::get).unwrap_or(false)
}

fn grown(bytes: usize) {
    let bytes = bytes.cast_signed() as i64;
    if is_apart() {
        APART.fetch_add(bytes, Ordering::Relaxed);
    } else {
        let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
}

fn shrunk(bytes: usize) {
    let account = if is_apart() { &APART } else { &LIVE };
    account.fetch_sub(bytes.cast_signed() as i64, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_booked_apart_and_freed_apart_leaves_the_rest_as_it_was() {
        // The tests' binary has another allocator, so that nobody else is on these accounts.
        let accounts = || [&APART, &LIVE].map(|account| account.load(Ordering::Relaxed));
        let [apart, live] = accounts();
        CountingAllocator::apart(|| {
            grown(1000);
            CountingAllocator::beside(|| grown(10));
            assert_eq!(accounts(), [apart + 1000, live + 10]);
            shrunk(1000);
        });
        shrunk(10);
        assert_eq!(accounts(), [apart, live]);
        let other = std::thread::spawn(|| {
            CountingAllocator::book_this_thread_apart();
            is_apart()
        });
        assert!(other.join().unwrap() && !is_apart());
    }
}
