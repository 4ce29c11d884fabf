//! Sizes of memory, as they are typed and shown.
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// Units and their bytes, the longest names first.
const UNITS: [(&str, f64); 7] = [
    ("gib", (1_u64 << 30) as f64),
    ("mib", (1_u64 << 20) as f64),
    ("kib", 1024.0),
    ("gb", 1e9),
    ("mb", 1e6),
    ("kb", 1e3),
    ("b", 1.0),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let refused = || format!("`{text}` is no size of memory: write 16GB, 24GiB or 800MB");
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, bytes)| Some((lower.strip_suffix(name)?, *bytes)))
            .ok_or_else(refused)?;
        let number: f64 = number.trim().parse().map_err(|_| refused())?;
        if number.is_finite() && number > 0.0 {
            Ok(Self((number * unit) as u64))
        } else {
            Err(refused())
        }
    }
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&gigabytes(self.0))
    }
}

/// Bytes in powers of ten, the unit of cards' names: `14.95 GB`, `312.4 MB`.
pub fn gigabytes(bytes: u64) -> String {
    let value = bytes as f64;
    if value >= 999.95e6 {
        format!("{:.2} GB", value / 1e9)
    } else {
        format!("{:.1} MB", value / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_its_unit_and_refused_without() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        assert_eq!(bytes("16GB"), Ok(16_000_000_000));
        assert_eq!(bytes("16 gib"), Ok(17_179_869_184));
        assert_eq!(bytes("0.5MB"), Ok(500_000));
        for wrong in ["16", "GB", "-1GB", "many GB"] {
            assert!(bytes(wrong).unwrap_err().contains("write 16GB"), "{wrong}");
        }
        assert_eq!(gigabytes(14_950_000_000), "14.95 GB");
        assert_eq!(gigabytes(999_999_999), "1.00 GB");
    }
}
