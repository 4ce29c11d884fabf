//! Sums of squares on GPUs: each cube adds up a stretch, and one cube the stretches' sums; a short tensor is one launch.

#![allow(
    clippy::too_many_arguments,
    reason = "a kernel has a parameter for each buffer and each number"
)]

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

use super::{NORM_EPSILON, SumsBackend};
use crate::device::reduce::cube_sum;
use crate::device::{UNITS, contiguous, cubes, element, empty, owned, units};
use crate::kernel_list::{List, buffer};

/// Numbers that are worth a cube of their own.
const STRETCH: usize = 1 << 13;

/// Cubes at most; longer tensors have longer stretches.
const MOST_CUBES: usize = 1 << 10;

/// The sum of squares of the cube's stretch, in `output[slot + cube]`.
#[cube(launch)]
fn squares<F: Float>(
    numbers: &[F],
    output: &mut [f32],
    len: usize,
    stretch: usize,
    stretches: usize,
    slot: usize,
    #[define(F)] _dtype: ElemType,
) {
    let cube = CUBE_POS;
    if cube >= stretches {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let end = min((cube + 1) * stretch, len);
    let mut i = cube * stretch + UNIT_POS as usize;
    let mut sum = 0.0f32;
    while i < end {
        let number = f32::cast_from(numbers[i]);
        sum += number * number;
        i += CUBE_DIM as usize;
    }
    let sum = cube_sum(sum, &mut scratch);
    if UNIT_POS == 0 {
        output[slot + cube] = sum;
    }
}

/// The sum of `parts`, in `output[slot]`; one cube.
#[cube(launch)]
fn add_up(parts: &[f32], output: &mut [f32], count: usize, slot: usize) {
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let mut i = UNIT_POS as usize;
    let mut sum = 0.0f32;
    while i < count {
        sum += parts[i];
        i += CUBE_DIM as usize;
    }
    let sum = cube_sum(sum, &mut scratch);
    if UNIT_POS == 0 {
        output[slot] = sum;
    }
}

/// The norm over the wanted sums, and the factor that clips it; one cube.
#[cube(launch)]
fn norm_and_factor(
    sums: &[f32],
    wanted: &[f32],
    norm: &mut [f32],
    factor: &mut [f32],
    count: usize,
    max_norm: f32,
    epsilon: f32,
) {
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let mut i = UNIT_POS as usize;
    let mut sum = 0.0f32;
    while i < count {
        if wanted[i] > 0.0f32 {
            sum += sums[i];
        }
        i += CUBE_DIM as usize;
    }
    let sum = cube_sum(sum, &mut scratch);
    if UNIT_POS == 0 {
        let root = sum.sqrt();
        let mut share = max_norm / (root + epsilon);
        if share > 1.0f32 {
            share = 1.0f32;
        }
        norm[0] = root;
        factor[0] = share;
    }
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        let (s, d, t) = list.beside(UNITS);
        list.add(
            "sums::squares",
            dtype,
            squares::Squares::new(s, d, t, b(), b(), (), (), (), (), dtype),
        );
    }
    let dtype = ElemType::Float(FloatKind::F32);
    let (s, d, t) = list.beside(UNITS);
    list.add(
        "sums::add_up",
        dtype,
        add_up::AddUp::new(s, d, t, b(), b(), (), ()),
    );
    let (s, d, t) = list.beside(UNITS);
    list.add(
        "sums::norm_and_factor",
        dtype,
        norm_and_factor::NormAndFactor::new(s, d, t, b(), b(), b(), b(), (), (), ()),
    );
}

impl SumsBackend for CubeBackend {
    fn with_sum_of_squares(sums: FloatTensor<Self>, of: FloatTensor<Self>, slot: usize) -> FloatTensor<Self> {
        let (sums, of) = (owned(sums), in_any_order(of));
        let len = of.meta.num_elements();
        let stretch = STRETCH.max(len.div_ceil(MOST_CUBES));
        let stretches = len.div_ceil(stretch).max(1);
        let (client, dtype) = (sums.client.clone(), element(&of));
        let is_short = stretches == 1;
        let parts = if is_short {
            sums.clone()
        } else {
            empty(&sums, [stretches], DType::F32)
        };
        squares::launch(
            &client,
            cubes(stretches),
            units(UNITS),
            of.into_buffer_arg(),
            parts.clone().into_buffer_arg(),
            len,
            stretch,
            stretches,
            if is_short { slot } else { 0 },
            dtype,
        );
        if !is_short {
            add_up::launch(
                &client,
                cubes(1),
                units(UNITS),
                parts.into_buffer_arg(),
                sums.clone().into_buffer_arg(),
                stretches,
                slot,
            );
        }
        sums
    }

    fn norm_and_factor(
        sums: FloatTensor<Self>,
        wanted: FloatTensor<Self>,
        max_norm: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (sums, wanted) = (contiguous(sums), contiguous(wanted));
        let (norm, factor) = (empty(&sums, [1], DType::F32), empty(&sums, [1], DType::F32));
        let count = sums.meta.num_elements();
        norm_and_factor::launch(
            &sums.client.clone(),
            cubes(1),
            units(UNITS),
            sums.into_buffer_arg(),
            wanted.into_buffer_arg(),
            norm.clone().into_buffer_arg(),
            factor.clone().into_buffer_arg(),
            count,
            max_norm as f32,
            NORM_EPSILON,
        );
        (norm, factor)
    }
}

/// `tensor` with its numbers one behind the other, in whatever order: a transposed one is left as it is in memory.
fn in_any_order(tensor: CubeTensor) -> CubeTensor {
    if !tensor.is_contiguous() && tensor.is_nonoverlapping() && tensor.is_contiguous_buffer() {
        let len = tensor.meta.num_elements();
        return CubeTensor::new_contiguous(
            tensor.client,
            tensor.device,
            [len].into(),
            tensor.handle,
            tensor.dtype,
        );
    }
    contiguous(tensor)
}
