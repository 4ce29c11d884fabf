//! Buffers on paper: what is live, what each is there for, and the most that ever was at once.

use super::parts::{Moment, Part, PlanParts};
use std::collections::BTreeMap;

/// A buffer of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffer(usize);

#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes: u64,
    part: Part,
    holders: u32,
}

/// The most that was live at one kind of moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peak {
    pub total: u64,
    pub parts: PlanParts,
}

/// Counts buffers by part; a buffer is free when its last holder lets go.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    free: Vec<usize>,
    live: PlanParts,
    total: u64,
    moment: Moment,
    peaks: BTreeMap<Moment, Peak>,
    /// The most of each part, whenever it was.
    most: PlanParts,
    /// The most that was live when the trainer looked.
    sampled: Peak,
    /// Whether more was live than can be counted; what is counted means nothing then.
    overflowed: bool,
}

impl Ledger {
    /// Says what the run is at.
    pub fn enter(&mut self, moment: Moment) {
        self.moment = moment;
        self.look();
    }

    /// A new buffer with one holder.
    pub fn take(&mut self, bytes: u64, part: Part) -> Buffer {
        let entry = Entry {
            bytes,
            part,
            holders: 1,
        };
        self.live.add(part, bytes);
        let total = self.total.checked_add(bytes);
        self.overflowed |= total.is_none();
        self.total = total.unwrap_or(u64::MAX);
        self.look();
        if let Some(place) = self.free.pop() {
            self.entries[place] = entry;
            return Buffer(place);
        }
        self.entries.push(entry);
        Buffer(self.entries.len() - 1)
    }

    /// The same buffer with one holder more.
    pub fn hold(&mut self, buffer: Buffer) -> Buffer {
        self.entries[buffer.0].holders += 1;
        buffer
    }

    /// One holder lets go.
    pub fn release(&mut self, buffer: Buffer) {
        let entry = &mut self.entries[buffer.0];
        entry.holders -= 1;
        if entry.holders == 0 {
            self.live.subtract(entry.part, entry.bytes);
            self.total = self.total.saturating_sub(entry.bytes);
            self.free.push(buffer.0);
        }
    }

    /// Whether nobody else holds it, so that a result may take its memory.
    pub fn is_alone(&self, buffer: Buffer) -> bool {
        self.entries[buffer.0].holders == 1
    }

    /// Its size.
    pub fn bytes(&self, buffer: Buffer) -> u64 {
        self.entries[buffer.0].bytes
    }

    /// Whether more was live at once than 64 bits can count. Sizes that are too large themselves are `u64::MAX`.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// From now on the buffer is there for something else.
    pub fn book(&mut self, buffer: Buffer, part: Part) {
        let entry = &mut self.entries[buffer.0];
        self.live.subtract(entry.part, entry.bytes);
        self.live.add(part, entry.bytes);
        entry.part = part;
        self.look();
    }

    /// Bytes that come and go at once.
    pub fn pass(&mut self, bytes: u64, part: Part) {
        let buffer = self.take(bytes, part);
        self.release(buffer);
    }

    /// The trainer looks at the device's pool.
    pub fn sample(&mut self) {
        if self.total > self.sampled.total {
            self.sampled = Peak {
                total: self.total,
                parts: self.live,
            };
        }
    }

    /// The most that was live when the trainer looked.
    pub fn sampled(&self) -> PlanParts {
        self.sampled.parts
    }

    /// What is live now.
    pub fn live(&self) -> PlanParts {
        self.live
    }

    /// The most of each part, whenever it was.
    pub fn most(&self) -> PlanParts {
        self.most
    }

    /// The most that was live at each kind of moment.
    pub fn peaks(&self) -> &BTreeMap<Moment, Peak> {
        &self.peaks
    }

    fn look(&mut self) {
        let peak = self.peaks.entry(self.moment).or_default();
        if self.total > peak.total {
            *peak = Peak {
                total: self.total,
                parts: self.live,
            };
        }
        self.most = self.most.max(&self.live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_can_be_counted_is_known_and_wraps_nowhere() {
        let mut ledger = Ledger::default();
        ledger.take(1, Part::Weights);
        let all = ledger.take(u64::MAX - 1, Part::Activations);
        assert!(!ledger.has_overflowed());
        let more = ledger.take(u64::MAX, Part::Activations);
        assert!(ledger.has_overflowed());
        ledger.release(all);
        ledger.release(more);
        ledger.enter(Moment::Update);
        assert!(ledger.has_overflowed() && ledger.most().total() == u64::MAX);
    }

    #[test]
    fn a_peak_is_the_parts_that_were_live_together() {
        let mut ledger = Ledger::default();
        let weights = ledger.take(100, Part::Weights);
        ledger.enter(Moment::Forward);
        let kept = ledger.take(30, Part::Activations);
        ledger.hold(kept);
        ledger.release(kept);
        ledger.release(kept);
        let gradient = ledger.take(20, Part::Gradients);
        ledger.enter(Moment::Update);
        ledger.release(gradient);
        let forward = ledger.peaks()[&Moment::Forward];
        assert_eq!((forward.total, forward.parts.of(Part::Activations)), (130, 30));
        assert_eq!(forward.parts.of(Part::Gradients), 0);
        assert_eq!(ledger.peaks()[&Moment::Update].total, 120);
        assert_eq!(ledger.most().total(), 150);
        ledger.release(weights);
        assert_eq!(ledger.live().total(), 0);
    }
}
