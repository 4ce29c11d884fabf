//! The product of one row and a matrix: what generation does for every token, bound by how fast weights come from memory.

use super::filled_tasks;
use super::gemm::Matrix;
use super::simd::sum_of;

/// Numbers that a task has at hand while weights stream by.
const MOST_COLUMNS: usize = 4096;
/// A cache line's worth of numbers, a few times over.
const LEAST_COLUMNS: usize = 64;

/// `row right`, and `added` to it if there is something: `[k]` times `[k, n]` on all cores. `None` for a matrix of which neither
/// rows nor columns lie one behind the other.
///
/// Every number is added up in one order, whatever the number of threads. Each weight is read once, in the order of memory.
pub fn row_product(row: &[f32], right: Matrix<'_>, n: usize, added: Option<&[f32]>) -> Option<Vec<f32>> {
    let by_columns = right.row_stride == 1;
    if !by_columns && right.column_stride != 1 {
        return None;
    }
    let width = n
        .div_ceil(rayon::current_num_threads())
        .next_multiple_of(LEAST_COLUMNS)
        .min(MOST_COLUMNS);
    let mut output = filled_tasks(
        n.div_ceil(width),
        width,
        #[inline(always)]
        |task, out| {
            let start = task * width;
            let count = out.len().min(n - start);
            let out = &mut out[..count];
            if let Some(added) = added {
                out.copy_from_slice(&added[start..start + count]);
            }
            if by_columns {
                for (place, sum) in out.iter_mut().enumerate() {
                    let column = &right.data[(start + place) * right.column_stride..][..row.len()];
                    *sum += sum_of(
                        row.len(),
                        #[inline(always)]
                        |i| row[i] * column[i],
                    );
                }
            } else {
                for (i, number) in row.iter().enumerate() {
                    let weights = &right.data[i * right.row_stride + start..][..count];
                    for (sum, weight) in out.iter_mut().zip(weights) {
                        *sum += number * weight;
                    }
                }
            }
        },
    );
    output.truncate(n);
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product in f64, number by number.
    fn expected(row: &[f32], of: impl Fn(usize, usize) -> f32, n: usize, added: &[f32]) -> Vec<f64> {
        let sum = |j: usize| {
            let products = row
                .iter()
                .enumerate()
                .map(|(i, x)| f64::from(*x) * f64::from(of(i, j)));
            products.sum::<f64>() + f64::from(added[j])
        };
        (0..n).map(sum).collect()
    }

    #[test]
    fn rows_and_columns_give_the_sums_of_any_shape() {
        let number = |seed: usize| ((seed * 7919 % 1009) as f32 / 504.5) - 1.0;
        for [k, n] in [[1, 1], [3, 130], [65, 64], [130, 9000], [576, 200]] {
            let row: Vec<f32> = (0..k).map(number).collect();
            let weights: Vec<f32> = (0..k * n).map(|i| number(i + 5)).collect();
            let added: Vec<f32> = (0..n).map(|i| number(i + 11)).collect();
            let by_rows = Matrix::rows(&weights, n);
            let by_columns = Matrix::rows(&weights, k).transposed();
            for (matrix, at) in [(by_rows, [n, 1]), (by_columns, [1, k])] {
                let of = |i: usize, j: usize| weights[i * at[0] + j * at[1]];
                let expected = expected(&row, of, n, &added);
                let found = row_product(&row, matrix, n, Some(&added)).unwrap();
                assert_eq!(found.len(), n);
                for (found, expected) in found.iter().zip(expected) {
                    assert!((f64::from(*found) - expected).abs() < 1e-4, "[{k}, {n}]");
                }
            }
        }
    }

    #[test]
    fn a_matrix_with_gaps_both_ways_is_left_to_others() {
        let weights = [0.0_f32; 16];
        let matrix = Matrix {
            data: &weights,
            row_stride: 4,
            column_stride: 2,
        };
        assert!(row_product(&[1.0, 2.0], matrix, 2, None).is_none());
    }
}
