//! The progress of work on a model's bytes, where somebody looks on.
use crate::byte_size::gigabytes;
use blockllm_train::stderr_bar;
use indicatif::ProgressBar;
use std::time::Instant;

/// A bar on the terminal, and no word elsewhere.
pub(super) struct Bar {
    shown: ProgressBar,
    label: &'static str,
    begun: Instant,
    bytes: u64,
}

impl Bar {
    /// A bar of what `label` says is being done.
    pub(super) fn new(label: &'static str) -> Self {
        Self {
            shown: stderr_bar(label, 0, "{bytes}/{total_bytes}"),
            label,
            begun: Instant::now(),
            bytes: 0,
        }
    }

    /// `done` bytes of `all` are done.
    pub(super) fn show(&mut self, done: u64, all: u64) {
        self.bytes = done;
        self.shown.set_length(all);
        self.shown.set_position(done);
    }

    /// Takes the bar away, and tells what was done in which time.
    pub(super) fn finish(self) -> String {
        self.shown.finish_and_clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        format!("{} {} in {seconds:.1} s", self.label, gigabytes(self.bytes))
    }
}
