//! 8-bit blockwise codes for moments: 1 byte and 1/64 of an f32 per entry in place of 4 bytes.
use crate::pieces::piece_len;
use blockllm_kernels::{
    CODE_BLOCK as BLOCK, CODE_WORDS as WORDS, Coding, EXCLUDED, SMALLEST_SCALE, code_blocks as blocks,
};
use burn::tensor::{Bool, DType, Device, Int, Tensor};

/// Codes in one 32-bit word.
const PER_WORD: usize = BLOCK / WORDS;

/// Moments in 8-bit codes, in blocks of [`BLOCK`] entries with the largest magnitude of each as its scale, the idea of
/// 8-bit optimizers (arXiv 2110.02861).
///
/// The codes are powers rather than that paper's table, so that coding is plain arithmetic on every backend. A signed
/// array is coded as the sign and the square root of its magnitude in 127 steps: what is a thousandth of its block's
/// largest still has 4 of them. An array without negative numbers, such as Adam's second moment, is coded as its fourth
/// root in 255 steps, which spans ten decades, and what is above zero never becomes zero: the root of a second moment
/// of zero would make the next step as long as `epsilon` allows.
///
/// A signed array has no use for code 0: there it stands for [`EXCLUDED`], an entry that is not trained.
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
    /// Whether code 0 stands for [`EXCLUDED`].
    pub excluding: bool,
}

/// Bytes of `len` coded entries: the last block is filled up.
pub(crate) fn coded_bytes(len: u64) -> u64 {
    blocks(len as usize) as u64 * (WORDS as u64 + 1) * 4
}

impl Int8Blocks {
    /// `len` zeros.
    pub fn zeros(len: usize, coding: Coding, device: &Device) -> Self {
        // Four codes of zero: 128 in a signed array.
        let word: i32 = if coding.is_of_fourth_roots() {
            0
        } else {
            i32::from_le_bytes([128; 4])
        };
        Self {
            words: Tensor::full([blocks(len) * WORDS], word, (device, DType::I32)),
            scales: Tensor::full([blocks(len)], SMALLEST_SCALE, (device, DType::F32)),
            len,
            non_negative: coding.is_of_fourth_roots(),
            excluding: coding.excluding,
        }
    }

    /// Codes `values`, `[len]`, piece by piece: coding one takes ten times its bytes.
    pub fn encode(values: Tensor<1>, coding: Coding) -> Self {
        let (len, device) = (values.dims()[0], values.device());
        let piece_len = (piece_len(&device) / 4).next_multiple_of(BLOCK);
        if len <= piece_len {
            return Self::encode_piece(values, coding);
        }
        let mut whole = Self::zeros(len, coding, &device);
        for start in (0..len).step_by(piece_len) {
            let range = start..len.min(start + piece_len);
            let piece = Self::encode_piece(values.clone().slice(range.clone()), coding);
            let within = start / BLOCK..blocks(range.end);
            whole.words = whole
                .words
                .slice_assign(within.start * WORDS..within.end * WORDS, piece.words);
            whole.scales = whole.scales.slice_assign(within, piece.scales);
        }
        whole
    }

    fn encode_piece(values: Tensor<1>, coding: Coding) -> Self {
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
        let excluded = coding.excluding.then(|| rows.clone().equal_elem(EXCLUDED));
        let rows = without(rows, excluded.as_ref());
        let scales = rows.clone().abs().max_dim(1).clamp_min(SMALLEST_SCALE); // [blocks, 1]
        let unit = rows / scales.clone();
        let cut =
            |magnitudes: Tensor<2>, last: f32| magnitudes.mul_scalar(last).add_scalar(coding.offset).floor();
        let codes = if coding.is_of_fourth_roots() {
            let codes = cut(unit.clone().sqrt().sqrt(), 255.0);
            codes.max_pair(unit.greater_elem(0.0).float())
        } else {
            let magnitudes = cut(unit.clone().abs().sqrt(), 127.0);
            without((unit.sign() * magnitudes).add_scalar(128.0), excluded.as_ref())
        };
        Self {
            words: pack(&codes.int().cast(DType::I32)).reshape([blocks * WORDS]),
            scales: scales.reshape([blocks]),
            len,
            non_negative: coding.is_of_fourth_roots(),
            excluding: coding.excluding,
        }
    }

    /// The values that the codes stand for, `[len]`.
    pub fn decode(&self) -> Tensor<1> {
        let blocks = blocks(self.len);
        let codes = unpack(&self.words.clone().reshape([blocks, WORDS]))
            .float()
            .cast(DType::F32); // [blocks, BLOCK]
        let excluded = self.excluding.then(|| codes.clone().equal_elem(0.0));
        let unit = if self.non_negative {
            codes.div_scalar(255.0).square().square()
        } else {
            let root = codes.sub_scalar(128.0).div_scalar(127.0);
            root.clone() * root.abs()
        };
        let values = unit * self.scales.clone().reshape([blocks, 1]);
        let values = match excluded {
            Some(excluded) => values.mask_fill(excluded, EXCLUDED),
            None => values,
        };
        values.reshape([blocks * BLOCK]).narrow(0, 0, self.len)
    }
}

/// `rows` with zeros for what is excluded.
fn without(rows: Tensor<2>, excluded: Option<&Tensor<2, Bool>>) -> Tensor<2> {
    match excluded {
        Some(excluded) => rows.mask_fill(excluded.clone(), 0.0),
        None => rows,
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
    use proptest::prelude::*;

    fn devices() -> Vec<Device> {
        vec![
            #[cfg(feature = "flex")]
            Device::flex(),
            #[cfg(feature = "wgpu")]
            Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        ]
    }

    fn decoded(values: &[f32], coding: Coding, device: &Device) -> Vec<f32> {
        let coded = Int8Blocks::encode(Tensor::from_floats(values, device), coding);
        let words = coded.words.dims()[0] * coded.words.dtype().size() + coded.scales.dims()[0] * 4;
        assert_eq!(words as u64, coded_bytes(values.len() as u64));
        coded.decode().into_data().iter::<f32>().collect()
    }

    fn largest(values: &[f32]) -> f32 {
        values.iter().fold(0.0, |most, value| most.max(value.abs()))
    }

    /// The square root of each value's share in its block's largest.
    fn roots(values: &[f32], scales: &[f32]) -> Vec<f32> {
        let scale = |index: usize| {
            let from = index / BLOCK * BLOCK;
            largest(&scales[from..scales.len().min(from + BLOCK)]).max(SMALLEST_SCALE)
        };
        let share = |(index, value): (usize, &f32)| (value.abs() / scale(index)).sqrt();
        values.iter().enumerate().map(share).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_decoded_value_is_within_half_a_code_of_its_root_and_within_one_at_any_step(
            values in proptest::collection::vec(-1.0f32..1.0, 1..700), exponent in -12i32..4, step in 0u64..1000,
        ) {
            let values: Vec<f32> = values.iter().map(|value| value.powi(3) * 10f32.powi(exponent)).collect();
            let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
            let exact = roots(&values, &values);
            for device in devices() {
                for at_step in [false, true] {
                    let coding = |non_negative| if at_step {
                        Coding::of_step(non_negative, step, usize::from(non_negative))
                    } else {
                        Coding::nearest(non_negative)
                    };
                    let codes = if at_step { 1.01 } else { 0.51 };
                    let signed = decoded(&values, coding(false), &device);
                    let unsigned = decoded(&magnitudes, coding(true), &device);
                    let (root, fourth) = (roots(&signed, &values), roots(&unsigned, &values));
                    for index in 0..values.len() {
                        let miss = (root[index] - exact[index]).abs() * 127.0;
                        prop_assert!(miss <= codes, "{} {}", values[index], signed[index]);
                        prop_assert!(signed[index] == 0.0 || (signed[index] < 0.0) == (values[index] < 0.0));
                        let miss = (fourth[index].sqrt() - exact[index].sqrt()).abs() * 255.0;
                        // What is above zero gets the first code, however little it is.
                        let is_first = fourth[index].sqrt() * 255.0 < 1.1;
                        let codes = if is_first { 1.01 } else { codes };
                        prop_assert!(miss <= codes, "{} {}", magnitudes[index], unsigned[index]);
                        prop_assert_eq!(unsigned[index] > 0.0, values[index] != 0.0);
                    }
                }
            }
        }
    }

    #[test]
    fn many_values_are_coded_as_few_are_and_zeros_as_they_are_made() {
        for device in devices() {
            // More than a piece on the CPU.
            let values: Vec<f32> = (0..40_001)
                .map(|i| ((i * 37) % 101) as f32 * 1e-3 - 0.05)
                .collect();
            let coding = Coding::nearest(false);
            let all = decoded(&values, coding, &device);
            for start in (0..values.len()).step_by(BLOCK) {
                let range = start..values.len().min(start + BLOCK);
                assert_eq!(all[range.clone()], decoded(&values[range], coding, &device));
            }
            for non_negative in [false, true] {
                let coding = Coding::nearest(non_negative);
                let made = Int8Blocks::zeros(300, coding, &device);
                let coded = Int8Blocks::encode(Tensor::zeros([300], (&device, DType::F32)), coding);
                assert_eq!(made.words.into_data(), coded.words.into_data());
                assert_eq!(made.scales.into_data(), coded.scales.into_data());
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_the_largest_of_a_block_stays_itself() {
        for device in devices() {
            for step in 0..40 {
                let of_step = |non_negative| Coding::of_step(non_negative, step, 0);
                assert_eq!(decoded(&[0.0; 300], of_step(false), &device), vec![0.0; 300]);
                assert_eq!(decoded(&[0.0; 300], of_step(true), &device), vec![0.0; 300]);
                for scale in [0.25, 0.3e-7, 7.7, 1e4] {
                    let signed = decoded(&[-scale, scale / 2.0, 0.0], of_step(false), &device);
                    let unsigned = decoded(&[scale, scale / 2.0, 0.0], of_step(true), &device);
                    for (found, wanted) in [(signed[0], -scale), (unsigned[0], scale)] {
                        assert!(
                            (found / wanted - 1.0).abs() < 1e-5,
                            "step {step}: {found} for {wanted}"
                        );
                    }
                    assert!(signed[2] == 0.0 && unsigned[2] == 0.0);
                }
            }
        }
    }

    #[test]
    fn what_is_excluded_stays_so_and_leaves_the_scale_of_its_block_alone() {
        for device in devices() {
            let values: Vec<f32> = (0..600)
                .map(|i| {
                    if i % 3 == 0 {
                        EXCLUDED
                    } else {
                        (i as f32 - 300.0) * 1e-4
                    }
                })
                .collect();
            let kept: Vec<f32> = values
                .iter()
                .map(|value| if *value == EXCLUDED { 0.0 } else { *value })
                .collect();
            for step in 0..5 {
                let coding = Coding::of_step(false, step, 0);
                let found = decoded(&values, coding.with_excluded(true), &device);
                let alone = decoded(&kept, coding, &device);
                for (index, found) in found.iter().enumerate() {
                    let expected = if index % 3 == 0 { EXCLUDED } else { alone[index] };
                    assert_eq!(found.to_bits(), expected.to_bits(), "{index}");
                }
            }
        }
    }

    /// Entry 0 holds the scale; each other one is multiplied with `decay` at every one of `steps` steps.
    fn faded(start: f32, decay: f32, steps: u64, coding: impl Fn(u64) -> Coding) -> f32 {
        let device = &devices()[0];
        let mut values = vec![start; 8];
        for step in 1..=steps {
            for value in &mut values {
                *value *= decay;
            }
            values[0] = 1.0;
            values = decoded(&values, coding(step), device);
        }
        values[1]
    }

    #[test]
    fn a_moment_whose_gradients_cease_fades_as_in_f32_though_a_step_takes_less_than_half_a_code() {
        let second = |step| Coding::of_step(true, step, 1);
        let (kept, exact) = (faded(1e-3, 0.999, 2000, second), 1e-3 * 0.999f32.powi(2000));
        assert!((kept / exact).ln().abs() < 0.35, "{kept} in place of {exact}");
        let nearest = faded(1e-3, 0.999, 2000, |_| Coding::nearest(true));
        assert!(
            nearest > 6.0 * exact,
            "to the nearest code it stands still: {nearest}"
        );
        let first = |step| Coding::of_step(false, step, 0);
        assert!(
            faded(2e-3, 0.9, 80, first) == 0.0,
            "a first moment fades to nothing"
        );
        assert!(faded(2e-3, 0.9, 80, |_| Coding::nearest(false)) > 0.0);
    }
}
