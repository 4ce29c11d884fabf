//! Which entries of a tensor have changed, as few bytes: gaps, a bitmap, or nothing where all have.

use crate::DeltaError;
use crate::bytes::Bytes;
use std::path::Path;

/// How positions are stored: whichever is smallest.
///
/// - **gaps**: from each changed entry to the next, how many unchanged ones lie between, as LEB128 (seven bits a byte, low
///   ones first, the high bit says that more follow). One byte up to 127: at 5 % changed that is 1.002 bytes an entry, at 1 %
///   1.28, at 0.1 % 1.9.
/// - **bitmap**: a bit for each entry, the low bits of a byte first: `1 / 8p` bytes for a changed entry at a share of `p`, so it
///   is the smaller one above one in eight. A BlockLLM selection is nearly dense in the few blocks that it takes, and there a
///   position costs an eighth of a byte.
/// - **all**: no positions.
///
/// Sizes are counted before anything is written, and gaps and bitmap are strictly rising by construction.
/// Rice codes would save another quarter of a byte at 5 % (of 3 with a bf16 value), for a format that no other tool reads in
/// three lines. The whole tensor is stored only where every entry has changed: else a delta would not tell what it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The unchanged entries before each changed one, as LEB128.
    Gaps,
    /// A bit for each entry.
    Bitmap,
    /// All entries have changed: no positions.
    All,
}

impl Encoding {
    /// Its name, which is also that of its entries in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gaps => "gaps",
            Self::Bitmap => "bitmap",
            Self::All => "all",
        }
    }
}

/// Counts changed entries, and what their positions would need.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub changed: u64,
    gap_bytes: u64,
    next: u64,
}

impl Count {
    /// Entry `position` has changed; positions rise.
    pub(crate) fn add(&mut self, position: u64) {
        self.gap_bytes += leb128_bytes(position - self.next);
        self.next = position + 1;
        self.changed += 1;
    }

    /// The smallest encoding for a tensor of `entries`, and its bytes.
    pub(crate) fn smallest(&self, entries: u64) -> (Encoding, u64) {
        let bitmap = entries.div_ceil(8);
        if self.changed == entries {
            (Encoding::All, 0)
        } else if self.gap_bytes <= bitmap {
            (Encoding::Gaps, self.gap_bytes)
        } else {
            (Encoding::Bitmap, bitmap)
        }
    }
}

/// Encodes rising positions of one tensor, a piece of the tensor at a time.
#[derive(Debug)]
pub(crate) struct Encoder {
    encoding: Encoding,
    next: u64,
}

impl Encoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, next: 0 }
    }

    /// The bytes for `changed`, all within the `entries` that begin with entry `first`, which is a multiple of 8.
    pub(crate) fn piece(&mut self, first: u64, entries: usize, changed: &[u64]) -> Vec<u8> {
        match self.encoding {
            Encoding::All => Vec::new(),
            Encoding::Bitmap => {
                let mut bits = vec![0_u8; entries.div_ceil(8)];
                for position in changed {
                    let at = (position - first) as usize;
                    bits[at / 8] |= 1 << (at % 8);
                }
                bits
            }
            Encoding::Gaps => {
                let mut bytes = Vec::with_capacity(changed.len());
                for position in changed {
                    push_leb128(position - self.next, &mut bytes);
                    self.next = position + 1;
                }
                bytes
            }
        }
    }
}

/// Decodes positions of one tensor, one at a time; each is checked to lie within it.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    path: &'a Path,
    place: String,
    encoding: Encoding,
    bytes: Bytes,
    entries: u64,
    /// The entry after the last position.
    next: u64,
    /// The bits of a bitmap's byte that have not been looked at.
    bits: u8,
    /// The entry after those of that byte.
    bits_end: u64,
}

impl<'a> Decoder<'a> {
    /// Positions in `bytes`, which is the entry `place` of `path`, for a tensor of `entries`.
    pub(crate) fn new(path: &'a Path, place: String, encoding: Encoding, bytes: Bytes, entries: u64) -> Self {
        Self {
            path,
            place,
            encoding,
            bytes,
            entries,
            next: 0,
            bits: 0,
            bits_end: 0,
        }
    }

    /// The next position, if there is one more.
    pub(crate) fn next(&mut self) -> Result<Option<u64>, DeltaError> {
        let position = match self.encoding {
            Encoding::All => Some(self.next).filter(|next| *next < self.entries),
            Encoding::Gaps => self.next_gap()?,
            Encoding::Bitmap => self.next_bit()?,
        };
        if let Some(position) = position {
            if position >= self.entries {
                let found = format!("names entry {position} of a tensor of {}", self.entries);
                return Err(DeltaError::damaged(self.path, &self.place, found));
            }
            self.next = position + 1;
        }
        Ok(position)
    }

    fn next_gap(&mut self) -> Result<Option<u64>, DeltaError> {
        let mut gap = 0_u64;
        for shift in (0..).step_by(7) {
            let Some(byte) = self.bytes.byte()? else {
                if shift == 0 {
                    return Ok(None);
                }
                return Err(self.damaged("ends within a position"));
            };
            let low = u64::from(byte & 0x7f);
            // Ten bytes hold 64 bits, and a position within a tensor never needs as many.
            if shift > 56 || (byte == 0 && shift > 0) {
                return Err(self.damaged("has a position of too many bytes"));
            }
            gap |= low << shift;
            if byte < 0x80 {
                break;
            }
        }
        match self.next.checked_add(gap) {
            Some(position) => Ok(Some(position)),
            None => Err(self.damaged("has a position beyond all numbers")),
        }
    }

    fn next_bit(&mut self) -> Result<Option<u64>, DeltaError> {
        while self.bits == 0 {
            let Some(byte) = self.bytes.byte()? else {
                return Ok(None);
            };
            self.bits = byte;
            self.bits_end += 8;
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Ok(Some(self.bits_end - 8 + u64::from(bit)))
    }

    fn damaged(&self, found: &str) -> DeltaError {
        DeltaError::damaged(self.path, &self.place, found)
    }
}

/// How many bytes [`push_leb128`] adds.
fn leb128_bytes(number: u64) -> u64 {
    let bits = u64::from(u64::BITS - number.leading_zeros());
    bits.div_ceil(7).max(1)
}

fn push_leb128(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockllm_fuzz::cases;
    use proptest::prelude::*;
    use std::fs;

    /// What comes back from `bytes`.
    fn decoded(bytes: &[u8], encoding: Encoding, entries: u64) -> Result<Vec<u64>, DeltaError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("positions");
        fs::write(&path, bytes).unwrap();
        let bytes = Bytes::open(&path, 0, bytes.len() as u64)?;
        let mut decoder = Decoder::new(&path, "gaps/w".to_owned(), encoding, bytes, entries);
        let mut positions = Vec::new();
        while let Some(position) = decoder.next()? {
            positions.push(position);
        }
        Ok(positions)
    }

    proptest! {
        #![proptest_config(cases(60))]

        #[test]
        fn positions_come_back_and_need_what_was_counted(
            changed in prop::collection::btree_set(0_u64..5000, 0..300),
            more in 1_u64..5000,
            piece in prop::sample::select(vec![8_u64, 64, 1 << 20]),
        ) {
            let entries = changed.last().map_or(0, |last| last + more);
            let mut count = Count::default();
            for position in &changed {
                count.add(*position);
            }
            for encoding in [Encoding::Gaps, Encoding::Bitmap] {
                let mut encoder = Encoder::new(encoding);
                let mut bytes = Vec::new();
                for first in (0..entries).step_by(piece as usize) {
                    let end = (first + piece).min(entries);
                    let within: Vec<u64> = changed.range(first..end).copied().collect();
                    bytes.extend(encoder.piece(first, (end - first) as usize, &within));
                }
                if encoding == Encoding::Gaps {
                    prop_assert_eq!(bytes.len() as u64, count.gap_bytes);
                } else {
                    prop_assert_eq!(bytes.len() as u64, entries.div_ceil(8));
                }
                let back = decoded(&bytes, encoding, entries).unwrap();
                prop_assert!(back.iter().eq(&changed));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            entries in prop_oneof![0_u64..200, Just(u64::MAX)],
        ) {
            for encoding in [Encoding::Gaps, Encoding::Bitmap] {
                if let Ok(positions) = decoded(&bytes, encoding, entries) {
                    prop_assert!(positions.iter().all(|position| *position < entries));
                    prop_assert!(positions.is_sorted_by(|one, other| one < other));
                }
            }
        }
    }

    #[test]
    fn what_is_no_position_is_told() {
        for (bytes, part) in [
            (&[0x80][..], "ends within"),
            (&[0x80, 0], "too many bytes"),
            (&[0xff; 11], "too many bytes"),
            (&[9], "names entry 9 of a tensor of 9"),
        ] {
            let message = decoded(bytes, Encoding::Gaps, 9).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("gaps/w"), "{message}");
        }
    }
}
