//! The meter of a run: baseline, peak, and the parts that the peak is made of.
use super::CountingAllocator;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Where measured bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemorySource {
    /// The counting allocator: live heap bytes above those at the start of the run.
    CountingAllocator,
    /// The device's memory pool: bytes reserved in pages, above those at the start of the run.
    DevicePool,
    /// Neither is there: only the counted tensors are known.
    Unmeasured,
}

/// Optimizer state: what the tensors hold beside what the formula says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateBytes {
    /// Counted from the tensors held.
    pub measured: u64,
    /// By the formula of ALGORITHM ("State").
    pub estimated: u64,
}

/// Tensors that can be counted, as they were when the peak was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedBytes {
    /// Gradients of parameters, at the end of the passage in which the peak was.
    pub gradients: u64,
    /// Optimizer state.
    pub state: u64,
}

/// Memory of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Where the peak was measured.
    pub source: MemorySource,
    /// The most bytes that were live at once.
    pub peak_bytes: u64,
    /// Weights: counted from the parameters.
    pub weights_bytes: u64,
    /// Gradients: the most that existed at once, counted from the parameters that required them.
    pub gradients_bytes: u64,
    /// Optimizer state, at its largest.
    pub optimizer_state_bytes: StateBytes,
    /// What remains of the peak: activations, and temporaries of forward, backward and update. None where the most of the other
    /// parts was not there at once, as a sweep's gradients before there is any state: they are then more than the peak.
    pub activations_bytes: u64,
    /// How often the pool was looked at; 0 where the allocator keeps the peak by itself.
    #[serde(default)]
    pub samples: u64,
    /// The most bytes in use whenever a device's pool was looked at: what it serves, without the rest of its pages. Of the
    /// heap the peak itself.
    #[serde(default)]
    pub in_use_bytes: u64,
    /// What was counted when the peak was seen.
    #[serde(default)]
    pub at_peak: CountedBytes,
}

/// Bytes of a device's memory pool.
#[derive(Clone, Copy, Debug)]
struct Pool {
    /// Of the buffers that it serves.
    in_use: u64,
    /// Of its pages.
    reserved: u64,
}

/// Measures one run on one device.
#[derive(Debug)]
pub struct MemoryMeter {
    device: Device,
    source: MemorySource,
    baseline: u64,
    /// Bytes in use before the run.
    in_use_baseline: u64,
    pool_peak: u64,
    in_use_peak: u64,
    /// What is counted now, and what was when the peak was seen.
    counted: CountedBytes,
    at_peak: CountedBytes,
    /// The peak of the heap when it was last looked at.
    seen_peak: u64,
    /// The run's bytes when the pool was last looked at.
    pool_bytes: u64,
    samples: u64,
    /// Steps between those that are sampled.
    sample_every: u64,
    /// Whether this step is sampled.
    sampling: bool,
    /// Peak of the same run before it was resumed.
    earlier_peak: u64,
}

impl MemoryMeter {
    /// Starts measuring: whatever is live now is not the run's. Start it before the model is made.
    pub fn start(device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        device.memory_cleanup();
        let source = match device.memory_pool_usage() {
            Some(_) => MemorySource::DevicePool,
            None if CountingAllocator::live_bytes() > 0 => MemorySource::CountingAllocator,
            None => MemorySource::Unmeasured,
        };
        if source == MemorySource::CountingAllocator {
            fill_thread_buffers(&device);
        }
        CountingAllocator::reset_peak();
        let mut meter = Self {
            device,
            source,
            baseline: 0,
            in_use_baseline: 0,
            pool_peak: 0,
            in_use_peak: 0,
            counted: CountedBytes::default(),
            at_peak: CountedBytes::default(),
            seen_peak: 0,
            pool_bytes: 0,
            samples: 0,
            sample_every: 1,
            sampling: true,
            earlier_peak: 0,
        };
        meter.baseline = meter.live_bytes();
        meter.in_use_baseline = meter.pool().map_or(0, |pool| pool.in_use);
        meter
    }

    /// Where the bytes come from.
    pub fn source(&self) -> MemorySource {
        self.source
    }

    /// Looks at the pool only in every `steps`-th step: to ask it waits for the device's thread, which keeps the host from
    /// running ahead.
    pub fn sample_every(&mut self, steps: u64) {
        self.sample_every = steps.max(1);
    }

    /// Says which step begins; the first of a run, from 1, is always sampled, since it allocates most.
    pub(crate) fn begin_step(&mut self, step: u64) {
        self.sampling = self.samples == 0 || step.is_multiple_of(self.sample_every);
    }

    /// Says how many bytes of gradients and of state there are from now on.
    pub(crate) fn count(&mut self, gradients: u64, state: u64) {
        self.counted = CountedBytes { gradients, state };
    }

    /// The same for gradients alone.
    pub(crate) fn count_gradients(&mut self, bytes: u64) {
        self.counted.gradients = bytes;
    }

    /// Looks at the pool if this step is sampled; of the heap, whose peak the allocator keeps, only whether it has risen.
    pub fn sample(&mut self) {
        if self.sampling || self.source != MemorySource::DevicePool {
            self.sample_now();
        }
    }

    /// Looks at the pool whatever the step.
    pub(crate) fn sample_now(&mut self) {
        let peak = if let Some(pool) = self.pool() {
            self.pool_bytes = pool.reserved;
            self.pool_peak = self.pool_peak.max(pool.reserved);
            self.in_use_peak = self.in_use_peak.max(pool.in_use);
            self.samples += 1;
            self.in_use_peak
        } else {
            CountingAllocator::peak_bytes()
        };
        if peak > self.seen_peak {
            self.seen_peak = peak;
            self.at_peak = self.counted;
        }
    }

    /// Goes on from the peak that an earlier part of the run had.
    pub(crate) fn resume(&mut self, peak_bytes: u64) {
        self.earlier_peak = peak_bytes;
    }

    /// The run's bytes now; of a pool, when it was last looked at.
    pub fn current_bytes(&self) -> u64 {
        let bytes = match self.source {
            MemorySource::DevicePool => self.pool_bytes,
            _ => self.live_bytes(),
        };
        bytes.saturating_sub(self.baseline)
    }

    /// The run's peak so far.
    pub fn peak_bytes(&self) -> u64 {
        let peak = match self.source {
            MemorySource::CountingAllocator => CountingAllocator::peak_bytes(),
            MemorySource::DevicePool => self.pool_peak,
            MemorySource::Unmeasured => 0,
        };
        peak.saturating_sub(self.baseline).max(self.earlier_peak)
    }

    /// The peak with its parts; they add up to it where the most of each was there at once.
    pub fn report(&self, weights_bytes: u64, gradients_bytes: u64, state: StateBytes) -> MemoryReport {
        let counted = weights_bytes + gradients_bytes + state.measured;
        let peak_bytes = match self.source {
            MemorySource::CountingAllocator => self.peak_bytes(),
            // A pool may serve a run from pages that were reserved before it: what was counted was there all the same.
            MemorySource::DevicePool | MemorySource::Unmeasured => self.peak_bytes().max(counted),
        };
        MemoryReport {
            source: self.source,
            peak_bytes,
            weights_bytes,
            gradients_bytes,
            optimizer_state_bytes: state,
            activations_bytes: peak_bytes.saturating_sub(counted),
            samples: self.samples,
            in_use_bytes: match self.source {
                MemorySource::DevicePool => self.in_use_peak.saturating_sub(self.in_use_baseline),
                _ => peak_bytes,
            },
            at_peak: self.at_peak,
        }
    }

    /// What the device's pool holds, where that is what is measured.
    fn pool(&self) -> Option<Pool> {
        match self.source {
            MemorySource::DevicePool => self.device.memory_pool_usage().map(|usage| Pool {
                in_use: usage.bytes_in_use,
                reserved: usage.bytes_reserved,
            }),
            MemorySource::CountingAllocator | MemorySource::Unmeasured => None,
        }
    }

    fn live_bytes(&self) -> u64 {
        match self.source {
            MemorySource::CountingAllocator => CountingAllocator::live_bytes(),
            MemorySource::DevicePool => self.pool().map_or(0, |pool| pool.reserved),
            MemorySource::Unmeasured => 0,
        }
    }
}

/// Has every thread make the buffer that matrix products keep for good, of the size of its cache. It belongs to the process:
/// else the first run of several would be charged for it, and more on a machine with larger caches.
fn fill_thread_buffers(device: &Device) {
    const SIDE: usize = 512;
    const PRODUCTS: usize = 8;
    let ones = Tensor::<2>::ones([SIDE, SIDE], device);
    for _ in 0..PRODUCTS {
        // To the host: a product that nobody reads need not be computed.
        let _ = ones.clone().matmul(ones.clone()).into_data();
    }
}
