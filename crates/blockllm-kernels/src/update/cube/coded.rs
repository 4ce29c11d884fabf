//! The update of coded state on GPUs: a cube per block of codes, a unit per entry.

#![allow(
    clippy::collapsible_if,
    reason = "what is known when a kernel is compiled stands in conditions of its own"
)]
#![allow(
    clippy::too_many_arguments,
    reason = "a kernel has a parameter for each buffer and each number"
)]

use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::{ArrayParts, CODE_BLOCK, CODE_WORDS, SMALLEST_SCALE, code_blocks};
use super::given::Given;
use super::rule::{Entry, Form, Kind, Numbers, no_numbers, rounded, sign, stepped};
use crate::device::reduce::cube_max;
use crate::device::{cubes, units};
use crate::kernel_list::{List, buffer};

#[cube(launch)]
fn update_coded<W: Float, G: Float>(
    weight: &mut [W],
    gradient: &[G],
    first_words: &mut [i32],
    first_scales: &mut [f32],
    second_words: &mut [i32],
    second_scales: &mut [f32],
    master: &mut [f32],
    indices: &[i32],
    clip: &[f32],
    trained: usize,
    blocks: usize,
    smallest: f32,
    first_offset: f32,
    second_offset: f32,
    numbers: Numbers,
    #[comptime] kind: Kind,
    #[comptime] form: Form,
    #[define(W, G)] _dtypes: [ElemType; 2],
) {
    let block = CUBE_POS;
    if block >= blocks {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(CODE_BLOCK);
    let mut codes = Shared::<[u32]>::new_slice(CODE_BLOCK);
    let position = block * CODE_BLOCK + UNIT_POS as usize;
    let word = block * CODE_WORDS + UNIT_POS as usize % CODE_WORDS;
    let code = code_of(first_words[word]);
    let mut is_excluded = false;
    if comptime!(form.marked) {
        is_excluded = code == 0;
    }
    let mut entry = Entry {
        weight: 0.0f32,
        first: signed(code) * first_scales[block],
        second: 0.0f32,
    };
    if comptime!(kind.arrays() > 1) {
        entry.second = fourth_power(code_of(second_words[word])) * second_scales[block];
    }
    // All read the block before one writes it.
    sync_cube();
    if position < trained && !is_excluded {
        let mut place = position;
        if comptime!(form.compact) {
            place = usize::cast_from(indices[position]);
        }
        let mut g = f32::cast_from(gradient[place]);
        if comptime!(form.clipped) {
            g *= clip[0];
        }
        entry.weight = f32::cast_from(weight[place]);
        if comptime!(form.master) {
            entry.weight = master[position];
        }
        let next = stepped(&entry, g, &numbers, kind);
        entry.weight = next.weight;
        entry.first = next.first;
        entry.second = next.second;
        if comptime!(form.master) {
            master[position] = entry.weight;
        }
        weight[place] = W::cast_from(rounded(entry.weight, place, &numbers, form.by_chance));
    }
    let mut first = entry.first;
    if is_excluded {
        first = 0.0f32;
    }
    let scale = max(cube_max(first.abs(), &mut scratch), smallest);
    let ratio = first / scale;
    let cut = (ratio.abs().sqrt() * 127.0f32 + first_offset).floor();
    let mut code = u32::cast_from(sign(ratio) * cut + 128.0f32);
    if is_excluded {
        code = 0u32;
    }
    write(code, scale, first_words, first_scales, block, &mut codes);
    if comptime!(kind.arrays() > 1) {
        let scale = max(cube_max(entry.second, &mut scratch), smallest);
        let ratio = entry.second / scale;
        let cut = (ratio.sqrt().sqrt() * 255.0f32 + second_offset).floor();
        let code = u32::cast_from(max(cut, sign(ratio)));
        write(code, scale, second_words, second_scales, block, &mut codes);
    }
}

/// The unit's code of its word.
#[cube]
fn code_of(word: i32) -> u32 {
    let place = UNIT_POS / comptime!(CODE_WORDS as u32);
    (u32::reinterpret(word) >> (8u32 * place)) & 255u32
}

/// What the code of a signed array is of its block's scale.
#[cube]
fn signed(code: u32) -> f32 {
    let root = (f32::cast_from(code) - 128.0f32) / 127.0f32;
    root * root.abs()
}

/// What the code of an array without negative numbers is of its block's scale.
#[cube]
fn fourth_power(code: u32) -> f32 {
    let root = f32::cast_from(code) / 255.0f32;
    let square = root * root;
    square * square
}

/// Packs the codes of all units into the block's words.
#[cube]
fn write(
    code: u32,
    scale: f32,
    words: &mut [i32],
    scales: &mut [f32],
    block: usize,
    codes: &mut Shared<[u32]>,
) {
    let unit = UNIT_POS as usize;
    codes[unit] = code;
    sync_cube();
    if unit < CODE_WORDS {
        let word = codes[unit]
            | (codes[unit + CODE_WORDS] << 8u32)
            | (codes[unit + 2 * CODE_WORDS] << 16u32)
            | (codes[unit + 3 * CODE_WORDS] << 24u32);
        words[block * CODE_WORDS + unit] = i32::reinterpret(word);
    }
    if unit == 0 {
        scales[block] = scale;
    }
    sync_cube();
}

/// Adds the kernel in one of its forms.
pub fn list_form(list: &mut List, form_name: &str, kind: Kind, form: Form, dtypes: [ElemType; 2]) {
    let b = buffer;
    let (s, d, t) = list.beside(CODE_BLOCK as u32);
    #[rustfmt::skip]
    let kernel = update_coded::UpdateCoded::new(
        s, d, t, b(), b(), b(), b(), b(), b(), b(), b(), b(), (), (), (), (), (), no_numbers(), kind, form, dtypes,
    );
    list.add(
        &format!("update::update_coded {form_name}, weight"),
        dtypes[0],
        kernel,
    );
}

/// One cube per block.
pub fn launch(given: &Given) {
    let codes = |place: usize| match given.state.get(place) {
        Some(ArrayParts::Int8(words, scales)) => (Some(words), Some(scales)),
        _ => (None, None),
    };
    let (first, second) = (codes(0), codes(1));
    let [first_coding, second_coding] = given.step.codings;
    let blocks = code_blocks(given.trained);
    update_coded::launch(
        &given.weight.client,
        cubes(blocks),
        units(CODE_BLOCK as u32),
        given.weight.clone().into_buffer_arg(),
        given.gradient.clone().into_buffer_arg(),
        given.argument(first.0, DType::I32),
        given.argument(first.1, DType::F32),
        given.argument(second.0, DType::I32),
        given.argument(second.1, DType::F32),
        given.argument(given.master.as_ref(), DType::F32),
        given.argument(given.indices.as_ref(), DType::I32),
        given.argument(given.clip.as_ref(), DType::F32),
        given.trained,
        blocks,
        SMALLEST_SCALE,
        first_coding.offset,
        second_coding.offset,
        given.numbers(),
        given.kind,
        given.form,
        given.types(),
    );
}
