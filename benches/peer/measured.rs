//! What one side of the comparison measures: times of repetitions, and memory above what there was before the work.
use blockllm::train::CountingAllocator;
use std::time::Instant;

/// Where the time of one repetition goes, in milliseconds.
#[derive(Clone, Copy, Default)]
pub struct Times {
    pub forward: f64,
    pub backward: f64,
    pub optimizer: f64,
    pub whole: f64,
}

/// All that the JSON line tells.
pub struct Measured {
    pub times: Vec<Times>,
    pub memory: Peaks,
    /// Bytes of the weights; zero for work without any.
    pub weights_bytes: u64,
    /// Paths of the tensors that a selection chose; empty where nothing is chosen.
    pub trained: Vec<String>,
}

/// Memory before the work.
#[derive(Clone, Copy)]
pub struct Memory {
    live: u64,
    resident: Option<u64>,
}

/// Peaks above [`Memory`].
pub struct Peaks {
    live: u64,
    resident: Option<u64>,
}

/// Milliseconds since `start`.
pub fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

impl Memory {
    /// What is in use now.
    pub fn now() -> Self {
        Self {
            live: CountingAllocator::live_bytes(),
            resident: status_bytes("VmRSS:"),
        }
    }

    /// The peaks since [`forget_peaks`] above this.
    pub fn peaks_above(self) -> Peaks {
        let above = |peak: u64, base: u64| peak.saturating_sub(base);
        let resident = status_bytes("VmHWM:").zip(self.resident);
        Peaks {
            live: above(CountingAllocator::peak_bytes(), self.live),
            resident: resident.map(|(peak, base)| above(peak, base)),
        }
    }
}

/// Lets peaks begin here: what the first repetition needs, a selection for instance, is not part of them.
pub fn forget_peaks() {
    CountingAllocator::reset_peak();
    // Only Linux has this file, as it alone has the figures that are read afterwards.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// A figure of the process from Linux; `None` elsewhere.
fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

impl Measured {
    /// One line of JSON, with the fields that `benches/peer/step.py` prints as well.
    pub fn json(&self, work: &str, method: &str) -> serde_json::Value {
        let rounded = |value: f64| (value * 1e3).round() / 1e3;
        let median = |of: fn(&Times) -> f64| {
            let mut values: Vec<f64> = self.times.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            rounded(values[values.len() / 2])
        };
        let wholes = self.times.iter().map(|times| times.whole);
        serde_json::json!({
            "work": work,
            "method": method,
            "median_ms": median(|times| times.whole),
            "min_ms": rounded(wholes.fold(f64::INFINITY, f64::min)),
            "forward_ms": median(|times| times.forward),
            "backward_ms": median(|times| times.backward),
            "optimizer_ms": median(|times| times.optimizer),
            "peak_bytes": self.memory.live,
            "resident_bytes": self.memory.resident,
            "weights_bytes": self.weights_bytes,
            "trained": self.trained,
        })
    }
}
