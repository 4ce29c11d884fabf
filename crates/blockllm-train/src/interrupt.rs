//! A request to stop: set from anywhere, such as a signal handler, and seen by the training loop after its step.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// A flag that all of its clones share.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    signal: Arc<AtomicI32>,
    training: Arc<AtomicBool>,
}

/// While it lives, a request is heeded: by a training loop, which looks for one after every step, or whoever waits for one.
#[derive(Debug)]
pub struct Listening(Arc<AtomicBool>);

impl Interrupt {
    /// Asks for a stop because of `signal`, a number above 0.
    pub fn request(&self, signal: i32) {
        self.signal.store(signal, Ordering::SeqCst);
    }

    /// The signal that asked for a stop.
    pub fn requested(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal > 0)
    }

    /// Whether a training loop will see a request, save, and end; elsewhere there is nothing to be saved.
    pub fn is_heeded(&self) -> bool {
        self.training.load(Ordering::SeqCst)
    }

    /// From now on, while the result lives, a request is heeded.
    pub fn listen(&self) -> Listening {
        self.training.store(true, Ordering::SeqCst);
        Listening(Arc::clone(&self.training))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
