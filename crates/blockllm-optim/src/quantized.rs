//! 8-bit blockwise codes for moments: 1 byte and 1/64 of an f32 per entry in place of 4 bytes.
use burn::tensor::{DType, Int, Tensor};

/// Entries that share a scale.
pub(crate) const BLOCK: usize = 256;
/// Codes in one 32-bit word.
const PER_WORD: usize = 4;
/// Words of a block.
pub(crate) const WORDS: usize = BLOCK / PER_WORD;
/// A smaller scale would be flushed to zero by some devices, and divide by it.
const SMALLEST_SCALE: f32 = 1e-30;

/// Moments in 8-bit codes, in blocks of [`BLOCK`] entries with the largest magnitude of each as its scale, the idea of
/// 8-bit optimizers (arXiv 2110.02861).
///
/// The codes are powers rather than that paper's table, so that coding is plain arithmetic on every backend. A signed
/// array is coded as the sign and the square root of its magnitude in 127 steps: what is a thousandth of its block's
/// largest still has 4 of them. An array without negative numbers, such as Adam's second moment, is coded as its fourth
/// root in 255 steps, which spans ten decades, and what is above zero never becomes zero: the root of a second moment
/// of zero would make the next step as long as `epsilon` allows.
///
/// Four codes are packed into a 32-bit word, because not every backend has 8-bit integers.
#[derive(Debug)]
pub(crate) struct Int8Blocks {
    /// `[blocks * WORDS]`, i32.
    pub words: Tensor<1, Int>,
    /// `[blocks]`, f32.
    pub scales: Tensor<1>,
    /// Entries coded.
    pub len: usize,
    /// Whether the fourth root is coded rather than sign and square root.
    pub non_negative: bool,
}

/// Blocks that `len` entries take.
pub(crate) fn blocks(len: usize) -> usize {
    len.div_ceil(BLOCK)
}

/// Bytes of `len` coded entries: the last block is filled up.
pub(crate) fn coded_bytes(len: u64) -> u64 {
    blocks(len as usize) as u64 * (WORDS as u64 + 1) * 4
}

impl Int8Blocks {
    /// Codes `values`, `[len]`.
    pub fn encode(values: Tensor<1>, non_negative: bool) -> Self {
        let len = values.dims()[0];
        let blocks = blocks(len);
        let missing = blocks * BLOCK - len;
        let values = if missing == 0 {
            values
        } else {
            let zeros = Tensor::zeros([missing], (&values.device(), DType::F32));
            Tensor::cat(vec![values, zeros], 0)
        };
        let rows = values.reshape([blocks, BLOCK]);
        let scales = rows.clone().abs().max_dim(1).clamp_min(SMALLEST_SCALE); // [blocks, 1]
        let unit = rows / scales.clone();
        let codes = if non_negative {
            let codes = unit.clone().sqrt().sqrt().mul_scalar(255.0).round();
            codes.max_pair(unit.greater_elem(0.0).float())
        } else {
            (unit.clone().sign() * unit.abs().sqrt())
                .mul_scalar(127.0)
                .round()
                .add_scalar(128.0)
        };
        Self {
            words: pack(&codes.int().cast(DType::I32)).reshape([blocks * WORDS]),
            scales: scales.reshape([blocks]),
            len,
            non_negative,
        }
    }

    /// The values that the codes stand for, `[len]`.
    pub fn decode(&self) -> Tensor<1> {
        let blocks = blocks(self.len);
        let codes = unpack(&self.words.clone().reshape([blocks, WORDS]))
            .float()
            .cast(DType::F32); // [blocks, BLOCK]
        let unit = if self.non_negative {
            codes.div_scalar(255.0).square().square()
        } else {
            let root = codes.sub_scalar(128.0).div_scalar(127.0);
            root.clone() * root.abs()
        };
        let values = unit * self.scales.clone().reshape([blocks, 1]);
        values.reshape([blocks * BLOCK]).narrow(0, 0, self.len)
    }
}

/// `[blocks, BLOCK]` codes of 0 to 255 as `[blocks, WORDS]`.
fn pack(codes: &Tensor<2, Int>) -> Tensor<2, Int> {
    let quarter = |quarter: usize| codes.clone().narrow(1, quarter * WORDS, WORDS);
    (1..PER_WORD).fold(quarter(0), |words, place| {
        words.bitwise_or(quarter(place).bitwise_left_shift_scalar(8 * place as i32))
    })
}

/// The inverse of [`pack`].
fn unpack(words: &Tensor<2, Int>) -> Tensor<2, Int> {
    let quarter = |place: usize| {
        let shifted = words.clone().bitwise_right_shift_scalar(8 * place as i32);
        shifted.bitwise_and_scalar(255)
    };
    Tensor::cat((0..PER_WORD).map(quarter).collect(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn devices() -> Vec<Device> {
        vec![
            #[cfg(feature = "flex")]
            Device::flex(),
            #[cfg(feature = "wgpu")]
            Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        ]
    }

    fn round_trip(values: &[f32], non_negative: bool, device: &Device) -> Vec<f32> {
        let coded = Int8Blocks::encode(Tensor::from_floats(values, device), non_negative);
        let words = coded.words.dims()[0] * coded.words.dtype().size() + coded.scales.dims()[0] * 4;
        assert_eq!(words as u64, coded_bytes(values.len() as u64));
        coded.decode().into_data().iter::<f32>().collect()
    }

    fn largest(values: &[f32]) -> f32 {
        values.iter().fold(0.0, |most, value| most.max(value.abs()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_decoded_value_is_within_half_a_code_of_its_root(
            values in proptest::collection::vec(-1.0f32..1.0, 1..700), exponent in -12i32..4,
        ) {
            let values: Vec<f32> = values.iter().map(|value| value.powi(3) * 10f32.powi(exponent)).collect();
            let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
            for device in devices() {
                let signed = round_trip(&values, false, &device);
                let unsigned = round_trip(&magnitudes, true, &device);
                for (index, value) in values.iter().enumerate() {
                    let from = index / BLOCK * BLOCK;
                    let scale = largest(&values[from..values.len().min(from + BLOCK)]);
                    let root = |value: f32| (value.abs() / scale).sqrt();
                    prop_assert!((root(signed[index]) - root(*value)).abs() <= 0.51 / 127.0, "{value} {}", signed[index]);
                    prop_assert!(signed[index] == 0.0 || (signed[index] < 0.0) == (*value < 0.0));
                    let fourth = |value: f32| root(value).sqrt();
                    let bound = if unsigned[index] / scale < 1e-9 { 1.01 } else { 0.51 } / 255.0;
                    prop_assert!((fourth(unsigned[index]) - fourth(*value)).abs() <= bound);
                    prop_assert_eq!(unsigned[index] > 0.0, *value != 0.0);
                }
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_the_largest_of_a_block_stays_itself() {
        for device in devices() {
            assert_eq!(round_trip(&[0.0; 300], false, &device), vec![0.0; 300]);
            assert_eq!(round_trip(&[0.0; 300], true, &device), vec![0.0; 300]);
            let coded = round_trip(&[-0.25, 0.125, 0.0], false, &device);
            assert!((coded[0] + 0.25).abs() < 1e-6 && coded[2] == 0.0, "{coded:?}");
        }
    }
}
