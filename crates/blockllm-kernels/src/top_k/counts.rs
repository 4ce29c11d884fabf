//! Counts on the device: made as zeros, and read back.

use burn::tensor::{DType, Device, Int, Tensor};

/// The device did not give the counts.
#[derive(Debug)]
pub struct ReadBackError(String);

impl std::fmt::Display for ReadBackError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "counts of magnitudes could not be read: {}", self.0)
    }
}

impl std::error::Error for ReadBackError {}

/// Zeros to count in.
pub(super) fn counts(shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::zeros(shape, (device, DType::I32))
}

/// Counts as the device has them, in 32 bits without a sign.
pub(super) fn read_counts(counts: Tensor<2, Int>) -> Result<Vec<u64>, ReadBackError> {
    let data = counts
        .try_into_data()
        .map_err(|error| ReadBackError(error.to_string()))?;
    Ok(data.iter::<i32>().map(|count| u64::from(count as u32)).collect())
}
