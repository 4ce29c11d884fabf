//! The changed entries of one tensor, read one after the other from a delta.

use crate::bytes::Bytes;
use crate::delta_file::{Change, DeltaFile};
use crate::dtype::width;
use crate::positions::Decoder;
use crate::{DeltaError, Encoding};

/// The widest entry: a complex number of two f32, or a number of 64 bits.
const WIDEST: usize = 8;

/// What a delta changes in one tensor.
#[derive(Debug)]
pub(crate) struct Patch<'a> {
    delta: &'a DeltaFile,
    name: String,
    positions: Decoder<'a>,
    values: Bytes,
    width: usize,
    /// The position that comes next, unless all have come.
    next: Option<u64>,
}

impl<'a> Patch<'a> {
    /// The changes of the tensor `name`, if there are any.
    pub(crate) fn open(delta: &'a DeltaFile, name: &str) -> Result<Option<Self>, DeltaError> {
        let Some(change) = delta.changes.get(name) else {
            return Ok(None);
        };
        let mut positions = decoder(delta, name, change)?;
        Ok(Some(Self {
            delta,
            name: name.to_owned(),
            next: positions.next()?,
            positions,
            values: delta.bytes(&change.values)?,
            width: width(change.values.dtype),
        }))
    }

    /// Gives `with` every changed entry before entry `end` and its new bits.
    pub(crate) fn until(&mut self, end: u64, mut with: impl FnMut(u64, &[u8])) -> Result<(), DeltaError> {
        let mut value = [0; WIDEST];
        while let Some(position) = self.next.filter(|position| *position < end) {
            if self.values.left() < self.width as u64 {
                return Err(self.damaged("has fewer values than positions"));
            }
            let value = &mut value[..self.width];
            self.values.fill(value)?;
            with(position, value);
            self.next = self.positions.next()?;
        }
        Ok(())
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(&self) -> Result<(), DeltaError> {
        if self.next.is_none() && self.values.left() == 0 {
            return Ok(());
        }
        Err(self.damaged("has more values than positions"))
    }

    fn damaged(&self, found: &str) -> DeltaError {
        DeltaError::damaged(&self.delta.path, &format!("values/{}", self.name), found)
    }
}

/// The positions of `change`, which is that of the tensor `name`.
pub(crate) fn decoder<'a>(
    delta: &'a DeltaFile,
    name: &str,
    change: &Change,
) -> Result<Decoder<'a>, DeltaError> {
    let entries = delta.result.tensors[name].entries();
    let (place, bytes) = match &change.positions {
        Some(positions) => (
            format!("{}/{name}", change.encoding.name()),
            delta.bytes(positions)?,
        ),
        // Nothing is read of it.
        None => (format!("values/{name}"), delta.bytes(&change.values)?),
    };
    debug_assert_eq!(change.positions.is_none(), change.encoding == Encoding::All);
    Ok(Decoder::new(&delta.path, place, change.encoding, bytes, entries))
}
