//! Memory, measured: a counting allocator where the CPU is the device, the device's own pool elsewhere.
mod block_pool;
mod counting_allocator;
mod meter;

pub use counting_allocator::CountingAllocator;
pub use meter::{MemoryMeter, MemoryReport, MemorySource, StateBytes};
