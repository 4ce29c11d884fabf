//! Products of strided matrices, on one core where the threads are above it, or on all.

use std::marker::PhantomData;

use burn::tensor::DType;
use burn_flex::FlexTensor;

use super::filled;

/// A matrix to read: entry `(row, column)` is `data[row * row_stride + column * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

/// A matrix to write, of rows that lie `row_stride` apart. Several threads may hold disjoint ones of one buffer.
pub struct MatrixMut<'a> {
    start: *mut f32,
    row_stride: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

/// How many cores make one product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    One,
    All,
}

/// What becomes of the numbers that stand where a product is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Overwrite,
    Add,
}

impl<'a> Matrix<'a> {
    /// Rows that lie `row_stride` apart.
    pub fn rows(data: &'a [f32], row_stride: usize) -> Self {
        Self {
            data,
            row_stride,
            column_stride: 1,
        }
    }

    /// A tensor in f32 with two dimensions and no negative strides.
    pub fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        let [row_stride, column_stride] = *layout.strides() else {
            return None;
        };
        if tensor.dtype() != DType::F32 || row_stride < 0 || column_stride < 0 {
            return None;
        }
        Some(Self {
            data: &tensor.storage::<f32>()[layout.start_offset()..],
            row_stride: row_stride as usize,
            column_stride: column_stride as usize,
        })
    }

    /// The same matrix with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        let last = |count: usize, stride: usize| count.saturating_sub(1) * stride;
        last(rows, self.row_stride) + last(columns, self.column_stride) < self.data.len()
    }
}

impl<'a> MatrixMut<'a> {
    /// A matrix of `rows` by `columns` that fills `data`.
    pub fn rows(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= data.len(), "the matrix fits into its buffer");
        Self {
            start: data.as_mut_ptr(),
            row_stride: columns,
            buffer: PhantomData,
        }
    }

    /// A matrix within a buffer that others write too.
    ///
    /// # Safety
    ///
    /// All rows lie within the buffer, which lives for `'a`, and no one else reads or writes them meanwhile.
    pub unsafe fn shared(start: *mut f32, row_stride: usize) -> Self {
        Self {
            start,
            row_stride,
            buffer: PhantomData,
        }
    }
}

/// `left right`, and `row` added to each row if there is one: `[m, k]` times `[k, n]` on all cores, in new memory.
///
/// # Panics
///
/// As [`product`].
pub fn new_product(left: Matrix<'_>, right: Matrix<'_>, shape: [usize; 3], row: Option<&[f32]>) -> Vec<f32> {
    let [m, n, _] = shape;
    let mut output = match row {
        Some(row) => filled(
            m,
            n,
            #[inline(always)]
            |_, out| out.copy_from_slice(row),
        ),
        None => Vec::with_capacity(m * n),
    };
    let target = if row.is_some() {
        Target::Add
    } else {
        Target::Overwrite
    };
    // SAFETY: the buffer has room for the matrix and is ours.
    let mut matrix = unsafe { MatrixMut::shared(output.as_mut_ptr(), n) };
    product_on(Cores::All, &mut matrix, left, right, shape, target);
    // SAFETY: the product has written every number.
    unsafe { output.set_len(m * n) };
    output
}

/// `output = left right`, or `output += left right`: `[m, k]` times `[k, n]`, on the calling thread.
///
/// # Panics
///
/// When a matrix is too small for its shape.
pub fn product(
    output: &mut MatrixMut<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    shape: [usize; 3],
    target: Target,
) {
    product_on(Cores::One, output, left, right, shape, target);
}

/// [`product`] on one core or all; the bits are the same.
///
/// # Panics
///
/// As [`product`].
pub fn product_on(
    cores: Cores,
    output: &mut MatrixMut<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    [m, n, k]: [usize; 3],
    target: Target,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        k > 0 && left.holds(m, k) && right.holds(k, n),
        "the matrices have the product's shape"
    );
    // SAFETY: the inputs were just checked; whoever made `output` promised its rows.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            output.start,
            1,
            output.row_stride as isize,
            target == Target::Add,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            match cores {
                Cores::One => gemm::Parallelism::None,
                Cores::All => gemm::Parallelism::Rayon(0),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_read_strides_and_add() {
        let left = [1.0, 2.0, 3.0, 4.0]; // rows (1 2) and (3 4)
        let right = [5.0, 6.0, 7.0, 8.0];
        let mut output = [1.0_f32; 4];
        let mut target = MatrixMut::rows(&mut output, 2, 2);
        let (left, right) = (Matrix::rows(&left, 2), Matrix::rows(&right, 2));
        product(&mut target, left, right, [2, 2, 2], Target::Add);
        assert_eq!(output, [20.0, 23.0, 44.0, 51.0]);
        let mut target = MatrixMut::rows(&mut output, 2, 2);
        product(
            &mut target,
            left.transposed(),
            right,
            [2, 2, 2],
            Target::Overwrite,
        );
        assert_eq!(output, [26.0, 30.0, 38.0, 44.0]);
    }
}
