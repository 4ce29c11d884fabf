//! Transposing a matrix on the host: PyTorch's linear weights are `[out, in]`, burn's `[in, out]`.

/// Side of the tiles that are transposed one by one, so that both sides stay in the cache.
const TILE: usize = 32;

/// `values` as a `rows x columns` matrix, transposed.
pub(super) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut transposed = vec![0.0; values.len()];
    for row_tile in (0..rows).step_by(TILE) {
        for column_tile in (0..columns).step_by(TILE) {
            for row in row_tile..rows.min(row_tile + TILE) {
                for column in column_tile..columns.min(column_tile + TILE) {
                    transposed[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    transposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_changes_nothing_and_once_swaps() {
        let values: Vec<f32> = (0..70 * 45).map(|value| value as f32).collect();
        let once = transpose(&values, 70, 45);
        assert!((once[70] - values[1]).abs() < f32::EPSILON);
        assert_eq!(transpose(&once, 45, 70), values);
    }
}
