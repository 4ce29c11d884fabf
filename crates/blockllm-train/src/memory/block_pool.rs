//! Large blocks of the heap, kept for the next buffer of their size instead of handed back to the system.
//!
//! A training step frees and asks for the same hundreds of large buffers again and again. The system's allocator returns
//! such blocks at once, and every page of the next one is cleared by a fault. Here they wait in lists by size. No more is
//! held than was needed at once before: what is in use and what waits never exceed the largest amount ever in use by more
//! than an eighth.

#![allow(unsafe_code, reason = "an allocator hands out raw memory")]
#![allow(clippy::cast_ptr_alignment, reason = "every block begins at a page at least")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller blocks are the system's affair.
const SMALLEST: usize = 64 << 10;
/// Blocks begin at a page at least, so that wide vectors and the system's huge pages find them aligned.
const ALIGNMENT: usize = 4096;
/// From here on blocks begin where a huge page does.
const HUGE: usize = 2 << 20;
/// Sizes between two powers of two.
const STEPS: usize = 8;
/// Enough for every size that a process can address.
const CLASSES: usize = 48 * STEPS;

/// The lists of waiting blocks.
pub(super) struct BlockPool {
    lists: Mutex<Lists>,
}

struct Lists {
    /// The first waiting block of each size; each block begins with the address of the next.
    first: [*mut u8; CLASSES],
    in_use: usize,
    waiting: usize,
    most_in_use: usize,
}

// SAFETY: the blocks in the lists belong to nobody else.
unsafe impl Send for Lists {}

impl BlockPool {
    pub const fn new() -> Self {
        Self {
            lists: Mutex::new(Lists {
                first: [null_mut(); CLASSES],
                in_use: 0,
                waiting: 0,
                most_in_use: 0,
            }),
        }
    }

    /// Whether blocks of this layout come from the pool.
    pub fn serves(layout: Layout) -> bool {
        layout.size() >= SMALLEST && layout.align() <= ALIGNMENT
    }

    /// A block for `layout`, not cleared; null when the system has none.
    pub fn allocate(&self, layout: Layout) -> *mut u8 {
        let class = Class::of(layout.size());
        let mut lists = self.lists();
        lists.in_use += class.size;
        lists.most_in_use = lists.most_in_use.max(lists.in_use);
        let block = lists.first[class.index];
        if !block.is_null() {
            // SAFETY: a waiting block begins with the address of the next.
            lists.first[class.index] = unsafe { block.cast::<*mut u8>().read() };
            lists.waiting -= class.size;
            return block;
        }
        let held = lists.most_in_use + lists.most_in_use / 8;
        let most = held.saturating_sub(lists.in_use);
        lists.shrink(most);
        drop(lists);
        let block = class.allocated();
        if block.is_null() {
            let mut lists = self.lists();
            lists.in_use -= class.size;
        }
        block
    }

    /// Takes back a block that [`allocate`](Self::allocate) gave for `layout`.
    ///
    /// # Safety
    /// It did, and nobody uses the block any more.
    pub unsafe fn free(&self, block: *mut u8, layout: Layout) {
        let class = Class::of(layout.size());
        let mut lists = self.lists();
        // SAFETY: the block is at least as large as an address, aligned for one, and ours again.
        unsafe { block.cast::<*mut u8>().write(lists.first[class.index]) };
        lists.first[class.index] = block;
        lists.in_use -= class.size;
        lists.waiting += class.size;
    }

    /// Whether a block for `old` is one for `new` as well.
    pub fn fits(old: Layout, new: Layout) -> bool {
        Self::serves(new) && Class::of(old.size()).index == Class::of(new.size()).index
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Nothing in here panics between two changes that belong together.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    /// Hands blocks back to the system, the largest first, until no more than `most` bytes wait.
    fn shrink(&mut self, most: usize) {
        let mut index = CLASSES;
        while self.waiting > most && index > 0 {
            index -= 1;
            while self.waiting > most && !self.first[index].is_null() {
                let block = self.first[index];
                // SAFETY: a waiting block begins with the address of the next, and belongs to the pool.
                self.first[index] = unsafe { block.cast::<*mut u8>().read() };
                let class = Class::at(index);
                self.waiting -= class.size;
                // SAFETY: it was allocated with this layout.
                unsafe { System.dealloc(block, class.layout()) };
            }
        }
    }
}

/// One size of blocks.
#[derive(Clone, Copy)]
struct Class {
    index: usize,
    size: usize,
}

impl Class {
    /// The smallest that holds `size` bytes: at most an eighth larger.
    fn of(size: usize) -> Self {
        let units = size.div_ceil(SMALLEST / STEPS).max(STEPS);
        let power = units.ilog2() as usize - STEPS.ilog2() as usize;
        let step = units.div_ceil(1 << power); // STEPS..=2 * STEPS
        Self::at(power * STEPS + step - STEPS)
    }

    fn at(index: usize) -> Self {
        let (power, step) = (index / STEPS, index % STEPS);
        Self {
            index,
            size: ((STEPS + step) << power) * (SMALLEST / STEPS),
        }
    }

    fn layout(self) -> Layout {
        let alignment = if self.size >= HUGE { HUGE } else { ALIGNMENT };
        Layout::from_size_align(self.size, alignment).expect("sizes are far below the address space")
    }

    fn allocated(self) -> *mut u8 {
        // SAFETY: the size is not zero.
        let block = unsafe { System.alloc(self.layout()) };
        #[cfg(target_os = "linux")]
        if !block.is_null() && self.size >= HUGE {
            // Advice only: where the system does not follow it, pages stay small.
            // SAFETY: the block is ours, and begins at a page.
            unsafe { libc::madvise(block.cast(), self.size, libc::MADV_HUGEPAGE) };
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn classes_hold_their_sizes_and_waste_an_eighth_at_most() {
        for size in (SMALLEST..1 << 22).step_by(4093).chain([1 << 34, (1 << 34) + 1]) {
            let class = Class::of(size);
            assert!(
                class.size >= size && class.size <= size + size / 8 + SMALLEST / STEPS,
                "{size}"
            );
            assert_eq!(Class::at(class.index).size, class.size);
            assert_eq!(Class::of(class.size).index, class.index);
        }
    }

    #[test]
    fn a_freed_block_serves_the_next_of_its_size() {
        let pool = BlockPool::new();
        let first = pool.allocate(layout(100_000));
        // SAFETY: it was just given out.
        unsafe { pool.free(first, layout(100_000)) };
        assert_eq!(pool.allocate(layout(100_001)), first);
    }

    #[test]
    fn no_more_waits_than_was_in_use_at_once() {
        let pool = BlockPool::new();
        for size in [1 << 20, 3 << 20, 1 << 19, 5 << 20, 7 << 19] {
            let block = pool.allocate(layout(size));
            // SAFETY: it was just given out.
            unsafe { pool.free(block, layout(size)) };
            let lists = pool.lists();
            let most = lists.most_in_use + lists.most_in_use / 8;
            assert!(
                lists.in_use == 0 && lists.waiting <= most,
                "{} wait",
                lists.waiting
            );
        }
    }
}
