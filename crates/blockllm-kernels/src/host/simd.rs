//! Loops compiled for the widest vectors that the processor has, chosen at run time; and functions that vectorize.

/// Runs `work` in a form that was compiled for the widest vectors of this processor.
///
/// The compiler vectorizes only what is inlined into it: pass an `#[inline(always)]` closure, and call nothing from it
/// but functions that are inlined too.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma")
        {
            // SAFETY: the processor has these features, it was just asked.
            return unsafe { with_avx512(work) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { with_avx2(work) };
        }
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// How many sums run side by side: four vectors of 16 numbers, whatever the processor has, so that the order of
/// additions and with it the last bit is the same everywhere.
const LANES: usize = 64;

/// The sum of `term(i)` for `i` in `0..len`, always added in the same order.
#[inline(always)]
pub fn sum_of(len: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let whole = len - len % LANES;
    let mut start = 0;
    while start < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
        start += LANES;
    }
    for (lane, index) in (whole..len).enumerate() {
        lanes[lane] += term(index);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest of `values`; minus infinity when there are none. NaN is passed over.
#[inline(always)]
pub fn max_of(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    for (lane, value) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = if *value > *lane { *value } else { *lane };
    }
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// `exp(x)` to two units in the last place, without branches or calls. Results below the smallest normal number are
/// zero, above the largest infinite; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding and taking away 1.5 * 2^23 rounds to whole numbers; the low bits of the sum are that whole number.
    const ROUND: f32 = 12_582_912.0;
    const LARGEST: f32 = 88.722_84;
    const SMALLEST: f32 = -87.336_54;
    let bounded = if x < SMALLEST { SMALLEST } else { x };
    let bounded = if bounded > LARGEST { LARGEST } else { bounded };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    // ln 2 in two parts, of which the first times any power is exact.
    let rest = (bounded - power * 0.693_359_4) - power * -2.121_944_4e-4;
    // The Taylor series to the 7th power: |rest| is at most ln(2) / 2.
    let series = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let mut fraction = 0.0_f32;
    for coefficient in series {
        fraction = fraction * rest + coefficient;
    }
    // Twice half the power: at both ends a single power of two would leave the range of normal numbers.
    let whole = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = whole >> 1;
    let (one, other) = (half, whole - half);
    let result =
        fraction * f32::from_bits(((one + 127) as u32) << 23) * f32::from_bits(((other + 127) as u32) << 23);
    let result = if x < SMALLEST { 0.0 } else { result };
    if x > LARGEST { f32::INFINITY } else { result }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_within_two_units_in_the_last_place() {
        let steps = (-87_000..=88_700).map(|step| step as f32 * 0.001);
        for x in steps {
            let (found, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / exact - 1.0).abs() < 2.5e-7, "{x}: {found} {exact}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_zero_infinity_and_nan() {
        assert_eq!(exp(-88.0).to_bits(), 0);
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
        assert!(exp(89.0).is_infinite() && exp(f32::INFINITY).is_infinite());
        assert!(exp(f32::NAN).is_nan());
        assert!(sigmoid(-200.0).abs() < f32::MIN_POSITIVE && (sigmoid(200.0) - 1.0).abs() < 1e-7);
    }

    #[test]
    fn wide_vectors_give_the_bits_of_narrow_ones() {
        let values: Vec<f32> = (0..1003).map(|i| (i as f32 * 0.37).sin()).collect();
        let sum = || sum_of(values.len(), |i| exp(values[i]) * values[i]);
        assert_eq!(vectorized(sum).to_bits(), sum().to_bits());
    }

    #[test]
    fn the_largest_is_found_wherever_it_is() {
        for at in [0, 1, 63, 64, 130] {
            let mut values = vec![-3.0; 131];
            values[at] = 2.0;
            assert_eq!(max_of(&values), 2.0);
        }
        assert_eq!(max_of(&[]), f32::NEG_INFINITY);
    }
}
