//! Dropout on GPUs: a unit per entry, in the memory of its input.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::{DropoutBackend, Mask};
use crate::device::{UNITS, contiguous, cubes_for, element, in_place_or_new, units};
use crate::kernel_list::{List, buffer, either_place};

/// As on the host.
#[cube]
fn mix(bits: u32) -> u32 {
    let first = (bits ^ (bits >> 16u32)) * 0x7FEB_352Du32;
    let second = (first ^ (first >> 15u32)) * 0x846C_A68Bu32;
    second ^ (second >> 16u32)
}

/// 32 random bits of an entry.
#[cube]
pub(crate) fn random_bits(index: u32, first_key: u32, second_key: u32) -> u32 {
    mix(mix(index ^ first_key) + second_key)
}

/// `number` with the 16 bits that bf16 drops cut off, after a random number of the entry was added to them: they carry as often
/// as the number is near to the next one of bf16.
#[cube]
pub(crate) fn rounded_by_chance(number: f32, index: u32, first_key: u32, second_key: u32) -> f32 {
    let dropped = random_bits(index, first_key, second_key) & 0xFFFFu32;
    f32::reinterpret((u32::reinterpret(number) + dropped) & 0xFFFF_0000u32)
}

/// What the entry is multiplied by: 0 or the scale.
#[cube]
pub(crate) fn factor(index: u32, first_key: u32, second_key: u32, threshold: u32, scale: f32) -> f32 {
    let hash = random_bits(index, first_key, second_key);
    select(hash < threshold, 0.0f32, scale)
}

#[cube(launch)]
fn drop_entries<F: Float>(
    x: &[F],
    output: &mut [F],
    first_key: u32,
    second_key: u32,
    threshold: u32,
    scale: f32,
    #[define(F)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position >= output.len() {
        terminate!();
    }
    let factor = factor(position as u32, first_key, second_key, threshold, scale);
    output[position] = F::cast_from(f32::cast_from(x[position]) * factor);
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        for (output, form) in either_place(0) {
            let (s, d, t) = list.beside(UNITS);
            let kernel = drop_entries::DropEntries::new(s, d, t, b(), output, (), (), (), (), dtype);
            list.add(&format!("dropout::drop_entries{form}"), dtype, kernel);
        }
    }
}

impl DropoutBackend for CubeBackend {
    fn dropout_by_seed(x: FloatTensor<Self>, probability: f64, seed: u64) -> FloatTensor<Self> {
        let x = contiguous(x);
        let Mask {
            keys: [first_key, second_key],
            threshold,
            scale,
        } = Mask::new(probability, seed);
        let (client, dtype) = (x.client.clone(), element(&x));
        let cubes = cubes_for(x.meta.num_elements());
        let (output, output_arg) = in_place_or_new(&x, 0);
        drop_entries::launch(
            &client,
            cubes,
            units(UNITS),
            x.into_buffer_arg(),
            output_arg,
            first_key,
            second_key,
            threshold,
            scale,
            dtype,
        );
        output
    }
}
