//! How far a piece of work is: bytes of tensors that were read, of all that will be.

/// Counts bytes and tells somebody.
pub(crate) struct Meter<'a> {
    done: u64,
    total: u64,
    report: &'a mut dyn FnMut(u64, u64),
}

impl<'a> Meter<'a> {
    /// Work on `total` bytes; `report` is given those done and these.
    pub(crate) fn new(total: u64, report: &'a mut dyn FnMut(u64, u64)) -> Self {
        report(0, total);
        Self {
            done: 0,
            total,
            report,
        }
    }

    /// Work on so many more bytes than was known at first.
    pub(crate) fn expect(&mut self, bytes: u64) {
        self.total = self.total.saturating_add(bytes);
    }

    /// `bytes` more are done.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        (self.report)(self.done, self.total);
    }
}
