//! Memory, planned and measured: a ledger of what a run will need; a counting allocator where the CPU is the device, the
//! device's own pool elsewhere.
mod block_pool;
mod counting_allocator;
mod machine;
mod meter;
pub mod plan;

pub use counting_allocator::CountingAllocator;
pub use machine::memory_of;
pub use meter::{CountedBytes, MemoryMeter, MemoryReport, MemorySource, StateBytes};
pub use plan::{
    Assumed, BackwardMode, MemoryPlan, ModelShape, Moment, MomentPlan, Part, PlanParts, Workload,
};
