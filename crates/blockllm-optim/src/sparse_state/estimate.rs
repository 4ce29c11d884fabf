//! What a parameter's state should take, by the formulas of ALGORITHM ("State"), and which form is the cheaper.
use crate::MomentPrecision;

/// Bytes of one f32 or one index.
const WORD_BYTES: u64 = 4;

/// What a parameter's state should take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateEstimate {
    /// Entries of the parameter, `n_l`.
    pub numel: u64,
    /// Entries trained, `k`.
    pub trained: u64,
    /// State arrays of the update rule.
    pub arrays: u64,
    /// In what they are to be kept.
    pub moments: MomentPrecision,
    /// Whether an f32 master copy of the weights is kept.
    pub master: bool,
}

/// How the trained entries are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Every entry is trained.
    Whole,
    /// Arrays over all entries, a sentinel for those that are not trained.
    Dense,
    /// Arrays over the trained entries, and their indices.
    Compact,
}

impl StateEstimate {
    /// For f32 moments and no master copy: 8 bytes per entry or 12 per trained entry with `AdamW`.
    pub fn new(numel: u64, trained: u64, arrays: u64) -> Self {
        Self {
            numel,
            trained,
            arrays,
            moments: MomentPrecision::F32,
            master: false,
        }
    }

    /// Bytes of the form that is chosen.
    pub fn bytes(&self) -> u64 {
        match self.layout() {
            Layout::Whole | Layout::Dense => self.over(self.numel, self.moments),
            Layout::Compact => self.compact_bytes(),
        }
    }

    /// Bytes of the moments alone.
    pub fn moment_bytes(&self) -> u64 {
        self.bytes() - self.index_bytes() - self.master_bytes()
    }

    /// Bytes that tell which entries the moments belong to.
    pub fn index_bytes(&self) -> u64 {
        match self.layout() {
            Layout::Whole | Layout::Dense => 0,
            Layout::Compact => self.trained * WORD_BYTES,
        }
    }

    /// Bytes of the master copy.
    pub fn master_bytes(&self) -> u64 {
        let entries = match self.layout() {
            Layout::Whole | Layout::Dense => self.numel,
            Layout::Compact => self.trained,
        };
        u64::from(self.master) * entries * WORD_BYTES
    }

    /// Whether the moments are kept in codes.
    pub fn is_coded(&self) -> bool {
        let entries = match self.layout() {
            Layout::Whole | Layout::Dense => self.numel,
            Layout::Compact => self.trained,
        };
        self.moments.codes(entries)
    }

    /// The cheaper form.
    pub(crate) fn layout(&self) -> Layout {
        if self.trained == self.numel {
            Layout::Whole
        } else if self.compact_bytes() < self.over(self.numel, self.moments) {
            Layout::Compact
        } else {
            Layout::Dense
        }
    }

    fn compact_bytes(&self) -> u64 {
        self.over(self.trained, self.moments) + self.trained * WORD_BYTES
    }

    fn over(&self, entries: u64, moments: MomentPrecision) -> u64 {
        self.arrays * moments.bytes(entries) + u64::from(self.master) * entries * WORD_BYTES
    }
}
