//! Functions of single entries on the CPU: chunk by chunk on all cores, into fresh buffers or in the memory of a tensor
//! that nobody else holds.
//!
//! A chunk depends on nothing but its place, so that the bits are the same for any number of threads. Chunks are slices
//! and not indices, because the compiler vectorizes only loops without checks of bounds.

use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::{TASK_NUMBERS, filled_rows, in_f32, numbers, simd};

/// `len` numbers: `fill(start, chunk)` gets the zeroed numbers from `start` on.
#[inline(always)]
pub fn filled_chunks(len: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    // Rows of a fixed width: the buffer is as long as whole rows, and then cut.
    let width = TASK_NUMBERS.min(len).max(1);
    let [mut buffer] = filled_rows(
        len.div_ceil(width),
        [width],
        #[inline(always)]
        |row, [out]| {
            let start = row * width;
            let inside = width.min(len - start);
            fill(start, &mut out[..inside]);
        },
    );
    buffer.truncate(len);
    buffer
}

/// `tensor` in f32, contiguous, and held by nobody else: itself if it is so already, otherwise a copy.
pub fn owned_in_f32(tensor: FlexTensor) -> FlexTensor {
    let mut tensor = in_f32(tensor);
    if is_owned(&mut tensor) {
        return tensor;
    }
    let shape = tensor.layout().shape().clone();
    FlexTensor::from_data(TensorData::new(numbers(&tensor).to_vec(), shape))
}

/// Whether nobody else holds the memory of a tensor in f32, and all of it are its numbers in their order.
pub fn is_owned(tensor: &mut FlexTensor) -> bool {
    let len = tensor.layout().num_elements();
    tensor.layout().contiguous_offsets() == Some((0, len))
        && tensor
            .try_storage_mut::<f32>()
            .is_some_and(|storage| storage.len() == len)
}

/// The numbers of a tensor that went through [`owned_in_f32`].
pub fn numbers_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    tensor
        .try_storage_mut::<f32>()
        .expect("nobody else holds the tensor")
}

/// `work(start, chunk)` on every chunk of `numbers`.
#[inline(always)]
pub fn in_chunks(numbers: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    in_chunks_of(TASK_NUMBERS, numbers, work);
}

/// [`in_chunks`] of `width` numbers, the last of which may be shorter.
#[inline(always)]
pub fn in_chunks_of(width: usize, numbers: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    let work = &work;
    let one = |chunk: usize, numbers: &mut [f32]| {
        simd::vectorized(
            #[inline(always)]
            || work(chunk * width, numbers),
        );
    };
    if numbers.len() <= width {
        one(0, numbers);
    } else {
        let chunks = numbers.par_chunks_mut(width).enumerate();
        chunks.for_each(|(chunk, numbers)| one(chunk, numbers));
    }
}

/// Rows of `width` numbers that one task works on.
pub fn task_rows(width: usize) -> usize {
    (TASK_NUMBERS / width.max(1)).max(1)
}

/// Numbers of a chunk of [`task_rows`].
pub fn whole_rows(width: usize) -> usize {
    task_rows(width) * width.max(1)
}

/// `work(start, chunk, chunk)` on chunks at the same place in both.
#[inline(always)]
pub fn in_chunk_pairs(
    first: &mut [f32],
    second: &mut [f32],
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    in_row_pairs(TASK_NUMBERS, [1, 1], first, second, work);
}

/// `work(row, rows, rows)` on the same `task_rows` rows of both, from `row` on; `widths` are the numbers of a row.
#[inline(always)]
pub fn in_row_pairs(
    task_rows: usize,
    widths: [usize; 2],
    first: &mut [f32],
    second: &mut [f32],
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let work = &work;
    let one = |task: usize, first: &mut [f32], second: &mut [f32]| {
        simd::vectorized(
            #[inline(always)]
            || work(task * task_rows, first, second),
        );
    };
    let [first_width, second_width] = widths.map(|width| width * task_rows);
    if first.len() <= first_width {
        one(0, first, second);
    } else {
        let seconds = second.par_chunks_mut(second_width);
        let pairs = first.par_chunks_mut(first_width).zip(seconds).enumerate();
        pairs.for_each(|(task, (first, second))| one(task, first, second));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_visited_once_for_any_length() {
        for len in [0, 1, 5, TASK_NUMBERS, TASK_NUMBERS + 1, 3 * TASK_NUMBERS + 7] {
            let mut numbers = filled_chunks(len, |start, chunk| {
                for (lane, number) in chunk.iter_mut().enumerate() {
                    *number += (start + lane) as f32;
                }
            });
            let mut others = numbers.clone();
            in_chunks_of(100, &mut numbers, |start, chunk| {
                for (lane, number) in chunk.iter_mut().enumerate() {
                    *number += 1.0 - (start + lane) as f32;
                }
            });
            in_chunk_pairs(&mut numbers, &mut others, |start, ones, others| {
                for (lane, (one, other)) in ones.iter_mut().zip(others).enumerate() {
                    assert_eq!(*other, (start + lane) as f32);
                    (*one, *other) = (2.0, *one);
                }
            });
            assert!(numbers.len() == len && numbers.iter().all(|number| *number == 2.0));
            assert!(others.len() == len && others.iter().all(|number| *number == 1.0));
        }
    }

    #[test]
    fn only_memory_that_others_hold_is_copied() {
        let tensor = FlexTensor::from_data(TensorData::from([1.0_f32, 2.0, 3.0]));
        let shared = tensor.clone();
        let place = numbers(&tensor).as_ptr();
        let copied = owned_in_f32(tensor);
        assert_ne!(numbers(&copied).as_ptr(), place);
        assert_eq!(numbers(&owned_in_f32(shared)).as_ptr(), place);
    }
}
