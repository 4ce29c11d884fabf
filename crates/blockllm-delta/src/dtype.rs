//! Number formats as bits: the width of an entry, the exact way from one float format to another, and sums in f64.
//!
//! Only the `const` conversions of `half` are used: they are done in software, so that the bits, those of NaNs too, are the
//! same on every machine.

use half::{bf16, f16};
use safetensors::Dtype;

/// Bytes of an entry. Formats that do not fill whole bytes are taken byte by byte.
pub(crate) fn width(dtype: Dtype) -> usize {
    if fills_bytes(dtype) {
        dtype.bitsize() / 8
    } else {
        1
    }
}

/// The format that changed values are stored in: their own, or bytes where entries do not fill them.
pub(crate) fn of_values(dtype: Dtype) -> Dtype {
    if fills_bytes(dtype) { dtype } else { Dtype::U8 }
}

fn fills_bytes(dtype: Dtype) -> bool {
    dtype.bitsize().is_multiple_of(8)
}

/// Whether entries of `from` become entries of `to`.
pub(crate) fn is_cast(from: Dtype, to: Dtype) -> bool {
    let is_float = |dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
    from == to || (is_float(from) && is_float(to))
}

/// Entries of `from` as entries of `to`, rounded to nearest even; the same bytes where the two are one format.
pub(crate) fn cast(from: Dtype, to: Dtype, bytes: Vec<u8>) -> Vec<u8> {
    if from == to {
        return bytes;
    }
    let mut out = Vec::with_capacity(bytes.len() / width(from) * width(to));
    for entry in bytes.chunks_exact(width(from)) {
        let number = to_f32(from, entry);
        match to {
            Dtype::F16 => out.extend(f16::from_f32_const(number).to_le_bytes()),
            Dtype::BF16 => out.extend(bf16::from_f32_const(number).to_le_bytes()),
            _ => out.extend(number.to_le_bytes()),
        }
    }
    out
}

fn to_f32(dtype: Dtype, entry: &[u8]) -> f32 {
    match *entry {
        [a, b] if dtype == Dtype::F16 => f16::from_le_bytes([a, b]).to_f32_const(),
        [a, b] => bf16::from_le_bytes([a, b]).to_f32_const(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("floats of 16 and 32 bits alone are cast"),
    }
}

/// The number in `entry`, where the format is one that is reckoned with.
pub(crate) fn to_f64(dtype: Dtype, entry: &[u8]) -> Option<f64> {
    match (dtype, entry) {
        (Dtype::F64, entry) => entry.try_into().ok().map(f64::from_le_bytes),
        (Dtype::F32, entry) => entry.try_into().ok().map(|four| f32::from_le_bytes(four).into()),
        (Dtype::F16, entry) => entry
            .try_into()
            .ok()
            .map(|two| f16::from_le_bytes(two).to_f64_const()),
        (Dtype::BF16, entry) => entry
            .try_into()
            .ok()
            .map(|two| bf16::from_le_bytes(two).to_f64_const()),
        _ => None,
    }
}

/// Whether [`to_f64`] and [`put_f64`] know the format.
pub(crate) fn is_reckoned(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Writes `number` into `entry`, rounded to nearest even.
pub(crate) fn put_f64(dtype: Dtype, number: f64, entry: &mut [u8]) {
    match dtype {
        Dtype::F16 => entry.copy_from_slice(&f16::from_f64_const(number).to_le_bytes()),
        Dtype::BF16 => entry.copy_from_slice(&bf16::from_f64_const(number).to_le_bytes()),
        Dtype::F32 => entry.copy_from_slice(&(number as f32).to_le_bytes()),
        _ => entry.copy_from_slice(&number.to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back_from_f32_with_its_bits() {
        for dtype in [Dtype::F16, Dtype::BF16] {
            for bits in 0..=u16::MAX {
                let half = bits.to_le_bytes().to_vec();
                let wide = cast(dtype, Dtype::F32, half.clone());
                let is_nan = f32::from_le_bytes(wide.as_slice().try_into().unwrap()).is_nan();
                assert!(
                    is_nan || cast(Dtype::F32, dtype, wide) == half,
                    "{dtype:?} {bits:04x}"
                );
            }
        }
    }

    #[test]
    fn numbers_are_rounded_once() {
        // A double rounding by way of f32 would give 1.0 + 2^-7.
        let number = 1.0 + 2_f64.powi(-8) - 2_f64.powi(-40);
        let mut entry = [0; 2];
        put_f64(Dtype::BF16, number, &mut entry);
        assert_eq!(bf16::from_le_bytes(entry), bf16::ONE);
        assert_eq!(to_f64(Dtype::BF16, &entry), Some(1.0));
        assert_eq!(to_f64(Dtype::I32, &[0; 4]), None);
    }
}
