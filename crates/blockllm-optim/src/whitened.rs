//! A gradient whitened: what it says of directions without how far, by Newton and Schulz' iteration.
use burn::tensor::{DType, Tensor};

/// Coefficients of the quintic iteration `x <- a x + b (x x') x + c (x x')^2 x` of Muon (Jordan 2024), chosen there for
/// how fast small singular values grow.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// Iterations, as in Muon.
const ITERATIONS: usize = 5;

/// `matrix` with its singular values brought near one, to between about 0.7 and 1.2; those below about a hundredth of its norm
/// stay smaller, and zero stays zero.
///
/// An iteration is three products along the shorter side, two of them with the matrix itself; there are three copies of it in f32
/// at once, and three squares of the shorter side.
///
/// # Shapes
///
/// - matrix: `[R * C]` with `columns` of C, of any float type
/// - output: `[R * C]`, f32
pub(crate) fn whitened(matrix: Tensor<1>, columns: usize) -> Tensor<1> {
    let entries = matrix.dims()[0];
    let rows = entries / columns;
    let matrix = matrix.cast(DType::F32).reshape([rows, columns]);
    let is_tall = rows > columns;
    let x = if is_tall { matrix.transpose() } else { matrix };
    // The largest entry first: squares of small ones would vanish.
    let x = x.clone() / x.abs().max().clamp_min(f32::MIN_POSITIVE).unsqueeze::<2>();
    let norm = x.clone().square().sum().sqrt().clamp_min(f32::MIN_POSITIVE);
    let mut x = x / norm.unsqueeze::<2>();
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(b) + gram.clone().matmul(gram).mul_scalar(c);
        x = x.clone().mul_scalar(a) + polynomial.matmul(x);
    }
    let x = if is_tall { x.transpose() } else { x };
    x.reshape([entries])
}

/// Bytes that [`whitened`] needs beside a matrix of `rows` and `columns`.
pub(crate) fn whitening_bytes(rows: u64, columns: u64) -> u64 {
    let short = rows.min(columns);
    3 * size_of::<f32>() as u64 * (rows * columns + short * short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Some numbers between -1 and 1 whose columns are not alike.
    fn some(entries: usize) -> Vec<f32> {
        let entry = |at: usize| ((at * at * 7 + at * 13) % 101) as f32 / 50.0 - 1.0;
        (0..entries).map(entry).collect()
    }

    fn of(values: &[f32], columns: usize, dtype: DType) -> Tensor<1> {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        whitened(Tensor::from_data(data, (&Device::flex(), dtype)), columns)
    }

    fn numbers(tensor: Tensor<1>) -> Vec<f32> {
        assert_eq!(tensor.dtype(), DType::F32);
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn the_rows_of_a_wide_matrix_become_nearly_orthonormal_whatever_its_size() {
        let (rows, columns) = (4, 24);
        for scale in [1.0, 1e-30, 1e30] {
            let values: Vec<f32> = some(rows * columns).iter().map(|value| value * scale).collect();
            let found = numbers(of(&values, columns, DType::F32));
            let product = |a: usize, b: usize| -> f32 {
                let entry = |k| found[a * columns + k] * found[b * columns + k];
                (0..columns).map(entry).sum()
            };
            for a in 0..rows {
                assert!((0.45..1.5).contains(&product(a, a)), "{scale}: {}", product(a, a));
                for b in 0..a {
                    assert!(product(a, b).abs() < 0.5, "{scale}: {a} {b}: {}", product(a, b));
                }
            }
        }
    }

    #[test]
    fn a_tall_matrix_is_whitened_as_the_wide_one_that_it_is_the_transpose_of() {
        let (rows, columns) = (24, 4);
        let wide = some(rows * columns);
        let tall: Vec<f32> = (0..rows * columns)
            .map(|at| wide[at % columns * rows + at / columns])
            .collect();
        let (of_wide, of_tall) = (
            numbers(of(&wide, rows, DType::F32)),
            numbers(of(&tall, columns, DType::F32)),
        );
        for at in 0..rows * columns {
            let error = of_tall[at] - of_wide[at % columns * rows + at / columns];
            assert!(error.abs() < 1e-5, "{at}: {error}");
        }
    }

    #[test]
    fn zero_stays_zero_and_half_precision_is_computed_in_f32() {
        assert_eq!(numbers(of(&[0.0; 12], 4, DType::F32)), [0.0; 12]);
        let (exact, half) = (
            numbers(of(&some(96), 24, DType::F32)),
            numbers(of(&some(96), 24, DType::BF16)),
        );
        let errors = exact.iter().zip(&half).map(|(a, b)| (a - b).abs());
        assert!(errors.fold(0.0, f32::max) < 0.02);
    }
}
