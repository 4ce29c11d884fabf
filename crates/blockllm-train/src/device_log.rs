//! What a device's thread says when it fails: kept until the next read-back of a step, and then the run's error.
//!
//! A GPU backend runs its work on a thread of its own. When that panics, the panic is caught and told to nobody but the
//! `log` facade, and operations that come after it read memory that was never written. Only a logger hears of it.
use crate::TrainError;
use crate::tell_line;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where a warning means that work was lost: the thread's own channel, the streams of fused operations, a poisoned wgpu
/// device. Others, such as an autotuning that could not be stored, are only shown.
const WORK_LOST: [&str; 3] = [
    "cubecl_common::device",
    "burn_fusion::stream",
    "cubecl_wgpu::compute::device_poison",
];

/// What was heard since the process began.
#[derive(Default)]
struct Heard {
    /// Failures that no run has taken yet.
    failures: Vec<String>,
    /// What was shown already: a warning of every launch is shown once.
    shown: BTreeSet<String>,
}

static HEARD: Mutex<Heard> = Mutex::new(Heard {
    failures: Vec::new(),
    shown: BTreeSet::new(),
});

struct DeviceLog;

impl Log for DeviceLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && is_backend(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = format!("{} ({})", record.args(), record.target());
        let mut heard = heard();
        if means_lost_work(record.target()) {
            heard.failures.push(message);
        } else if heard.shown.insert(message.clone()) {
            tell_line!("device: {message}");
        }
    }

    fn flush(&self) {}
}

/// Listens to the backends from now on; for `main`, before a device is opened. A program with a logger of its own keeps
/// that one, and this does nothing.
pub fn install() {
    if log::set_logger(&DeviceLog).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Fails with what the device's thread said since the last call.
///
/// # Errors
/// When it said that work was lost.
pub fn check() -> Result<(), TrainError> {
    let failures = std::mem::take(&mut heard().failures);
    if failures.is_empty() {
        return Ok(());
    }
    // The first failure is the cause, most others are what follows from it.
    let more = match failures.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Err(TrainError::DeviceThread {
        message: format!("{}{more}", failures[0]),
    })
}

fn heard() -> MutexGuard<'static, Heard> {
    // A panic while this lock is held leaves nothing half done that matters.
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_backend(target: &str) -> bool {
    ["cubecl", "burn", "wgpu"]
        .iter()
        .any(|name| target.starts_with(name))
}

fn means_lost_work(target: &str) -> bool {
    WORK_LOST.iter().any(|place| target.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_that_lose_work_fail_a_run() {
        assert!(means_lost_work("cubecl_common::device::handle::channel"));
        assert!(means_lost_work("burn_fusion::stream::queue::execution"));
        assert!(!means_lost_work("cubecl_runtime::tune::tune_cache"));
        assert!(is_backend("wgpu_hal::vulkan") && !is_backend("tokenizers"));
    }
}
