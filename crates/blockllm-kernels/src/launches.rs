//! How many kernels a piece of work launches on a GPU: what tests hold an operation to.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use cubecl::logging::{LaunchObservation, LaunchObserver};

/// The names of all kernels, ours and burn's, that this thread launches while `work` runs, in their order.
///
/// The runtime tells of every launch before it hands it to the device. It has room for one watcher: who asks while other
/// work is being watched waits, so that `work` itself must not ask. With burn's fusion the launches come from another
/// thread, and none is seen.
pub fn launches_of<R>(work: impl FnOnce() -> R) -> (R, Vec<&'static str>) {
    static ONE: Mutex<()> = Mutex::new(());
    // Work that panicked while it was watched leaves nothing behind that is worth a thought.
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let watcher = Arc::new(Watcher {
        thread: thread::current().id(),
        kernels: Mutex::default(),
    });
    let watching = LaunchObservation::new(watcher.clone());
    let result = work();
    drop(watching);
    let kernels = std::mem::take(&mut *watcher.kernels.lock().expect("no launch panics with the lock"));
    (result, kernels)
}

struct Watcher {
    thread: ThreadId,
    kernels: Mutex<Vec<&'static str>>,
}

impl LaunchObserver for Watcher {
    fn launched(&self, kernel: &'static str) {
        if thread::current().id() == self.thread {
            let mut kernels = self.kernels.lock().expect("no launch panics with the lock");
            kernels.push(kernel);
        }
    }
}
