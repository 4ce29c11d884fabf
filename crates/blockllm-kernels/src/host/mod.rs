//! What all CPU kernels share: f32 views of flex tensors, and buffers that are filled row by row on all cores.

#![allow(
    unsafe_code,
    reason = "fresh buffers are handed to several threads before they are filled, which safe code cannot say"
)]

pub mod elementwise;
pub mod entries;
pub mod gemm;
pub mod row_product;
pub mod simd;

use std::mem::MaybeUninit;

use burn::tensor::{DType, Shape, TensorData};
use burn_flex::{Flex, FlexTensor};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// Numbers that one task works on: what the nearer caches hold beside its inputs.
const TASK_NUMBERS: usize = 1 << 14;

/// `tensor` in f32, its numbers one behind the other.
pub fn in_f32(tensor: FlexTensor) -> FlexTensor {
    let tensor = in_dtype(tensor, DType::F32);
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The numbers of a tensor that went through [`in_f32`].
pub fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .expect("the tensor was made contiguous in f32")
}

/// The numbers of an int tensor, whichever width its ints have.
pub fn integers(tensor: &FlexTensor) -> Vec<i64> {
    let tensor = tensor.to_contiguous();
    tensor.into_data().iter::<i64>().collect()
}

/// A tensor of `values`, in `dtype`.
pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>, dtype: DType) -> FlexTensor {
    in_dtype(
        FlexTensor::from_data(TensorData::new(values, shape.into())),
        dtype,
    )
}

/// A float tensor in `dtype`; itself if it is already.
pub fn in_dtype(tensor: FlexTensor, dtype: DType) -> FlexTensor {
    crate::composed::cast::<Flex>(tensor, dtype)
}

/// `N` buffers of `rows` rows, the `n`-th with `widths[n]` numbers a row. `fill(row, outputs)` gets the rows of all
/// buffers, zeroed; it must depend on nothing but `row`, so that the bits are the same for any number of threads.
#[inline(always)]
pub fn filled_rows<const N: usize>(
    rows: usize,
    widths: [usize; N],
    fill: impl Fn(usize, [&mut [f32]; N]) + Sync,
) -> [Vec<f32>; N] {
    let task_rows = (TASK_NUMBERS / widths.iter().sum::<usize>().max(1)).max(1);
    filled_by_tasks(rows, widths, task_rows, fill)
}

/// [`filled_rows`] with `task_rows` rows per task.
#[inline(always)]
fn filled_by_tasks<const N: usize>(
    rows: usize,
    widths: [usize; N],
    task_rows: usize,
    fill: impl Fn(usize, [&mut [f32]; N]) + Sync,
) -> [Vec<f32>; N] {
    let mut buffers = widths.map(|width| Vec::<f32>::with_capacity(rows * width));
    let starts = Starts(
        buffers
            .each_mut()
            .map(|buffer| buffer.spare_capacity_mut().as_mut_ptr()),
    );
    in_tasks(rows.div_ceil(task_rows), |task| {
        let range = task * task_rows..rows.min((task + 1) * task_rows);
        simd::vectorized(
            #[inline(always)]
            || {
                for row in range {
                    // SAFETY: the row lies within each buffer's capacity, and no other call gets the same row.
                    fill(row, unsafe { starts.row(row, widths) });
                }
            },
        );
    });
    for (buffer, width) in buffers.iter_mut().zip(widths) {
        // SAFETY: every row was zeroed above.
        unsafe { buffer.set_len(rows * width) };
    }
    buffers
}

/// One buffer of `rows` rows; see [`filled_rows`].
#[inline(always)]
pub fn filled(rows: usize, width: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let [buffer] = filled_rows(
        rows,
        [width],
        #[inline(always)]
        |row, [out]| fill(row, out),
    );
    buffer
}

/// One buffer in which each of `tasks` tasks fills `width` numbers; see [`filled_rows`].
#[inline(always)]
pub fn filled_tasks(tasks: usize, width: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let [buffer] = filled_by_tasks(
        tasks,
        [width],
        1,
        #[inline(always)]
        |task, [out]| fill(task, out),
    );
    buffer
}

/// The sum over all rows of what `add(row, sum)` adds: `width` numbers. Rows are added in blocks of a fixed size and the
/// blocks in their order, so that the bits are the same for any number of threads.
#[inline(always)]
pub fn sum_over_rows(rows: usize, width: usize, add: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    const BLOCK_ROWS: usize = 64;
    let blocks = rows.div_ceil(BLOCK_ROWS).max(1);
    let [mut partial] = filled_by_tasks(
        blocks,
        [width],
        1,
        #[inline(always)]
        |block, [sum]| {
            for row in block * BLOCK_ROWS..rows.min((block + 1) * BLOCK_ROWS) {
                add(row, sum);
            }
        },
    );
    let (total, others) = partial.split_at_mut(width);
    for block in others.chunks_exact(width.max(1)) {
        for (sum, number) in total.iter_mut().zip(block) {
            *sum += number;
        }
    }
    partial.truncate(width);
    partial
}

/// Runs `work` for every task, on all cores if there are several.
#[inline]
pub fn in_tasks(tasks: usize, work: impl Fn(usize) + Send + Sync) {
    if tasks <= 1 {
        (0..tasks).for_each(&work);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(&work);
    }
}

/// Where the buffers begin.
struct Starts<const N: usize>([*mut MaybeUninit<f32>; N]);

// SAFETY: the pointers are only used for rows that belong to one task.
unsafe impl<const N: usize> Sync for Starts<N> {}

impl<const N: usize> Starts<N> {
    /// The row of every buffer, zeroed.
    ///
    /// # Safety
    /// The row lies within the buffers, and nobody else holds it.
    #[inline(always)]
    unsafe fn row<'a>(&self, row: usize, widths: [usize; N]) -> [&'a mut [f32]; N] {
        std::array::from_fn(|buffer| {
            let width = widths[buffer];
            // SAFETY: promised by the caller; zeros make it initialized.
            unsafe {
                let start = self.0[buffer].add(row * width).cast::<f32>();
                std::ptr::write_bytes(start, 0, width);
                std::slice::from_raw_parts_mut(start, width)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_buffers_are_filled_where_they_belong() {
        let [wide, narrow] = filled_rows(5000, [7, 1], |row, [wide, narrow]| {
            assert!(wide.iter().all(|number| *number == 0.0));
            wide.fill(row as f32);
            narrow[0] = -(row as f32);
        });
        assert!((0..5000).all(|row| wide[row * 7 + 6] == row as f32 && narrow[row] == -(row as f32)));
        assert!(filled(0, 3, |_, _| panic!("there is no row")).is_empty());
    }
}
