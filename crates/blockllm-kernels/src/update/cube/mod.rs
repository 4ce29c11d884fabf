//! The update on GPUs: one launch, a unit per trained entry, in place.

#![allow(
    clippy::collapsible_if,
    reason = "what is known when a kernel is compiled stands in conditions of its own"
)]
#![allow(
    clippy::float_cmp,
    reason = "the mark of an excluded entry is compared to the bit"
)]
#![allow(
    clippy::too_many_arguments,
    reason = "a kernel has a parameter for each buffer and each number"
)]

mod coded;
mod given;
mod rule;

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

use self::given::Given;
use self::rule::{Entry, Form, Kind, Numbers, no_numbers, rounded, stepped};
use super::{
    ArrayParts, EXCLUDED, Maybe, Places, Rounding, StateArrays, UpdateBackend, UpdateParts, UpdateStep,
    Updated,
};
use crate::device::{UNITS, contiguous, cubes_for, owned, units};
use crate::kernel_list::{List, buffer};

#[cube(launch)]
fn update<W: Float, G: Float>(
    weight: &mut [W],
    gradient: &[G],
    first: &mut [f32],
    second: &mut [f32],
    master: &mut [f32],
    indices: &[i32],
    clip: &[f32],
    trained: usize,
    excluded: f32,
    numbers: Numbers,
    #[comptime] kind: Kind,
    #[comptime] form: Form,
    #[define(W, G)] _dtypes: [ElemType; 2],
) {
    let position = ABSOLUTE_POS;
    if position >= trained {
        terminate!();
    }
    if comptime!(form.marked) {
        if first[position] == excluded {
            terminate!();
        }
    }
    let mut place = position;
    if comptime!(form.compact) {
        place = usize::cast_from(indices[position]);
    }
    let mut g = f32::cast_from(gradient[place]);
    if comptime!(form.clipped) {
        g *= clip[0];
    }
    let mut entry = Entry {
        weight: f32::cast_from(weight[place]),
        first: 0.0f32,
        second: 0.0f32,
    };
    if comptime!(form.master) {
        entry.weight = master[position];
    }
    if comptime!(kind.arrays() > 0) {
        entry.first = first[position];
    }
    if comptime!(kind.arrays() > 1) {
        entry.second = second[position];
    }
    let entry = stepped(&entry, g, &numbers, kind);
    if comptime!(kind.arrays() > 0) {
        first[position] = entry.first;
    }
    if comptime!(kind.arrays() > 1) {
        second[position] = entry.second;
    }
    if comptime!(form.master) {
        master[position] = entry.weight;
    }
    weight[place] = W::cast_from(rounded(entry.weight, place, &numbers, form.by_chance));
}

/// Adds the kernels for every rule and place, with and without all that may be added; the gradient is in the type of the
/// weight or in f32.
pub(crate) fn list_kernels(list: &mut List) {
    let [f32, bf16] = [FloatKind::F32, FloatKind::BF16].map(ElemType::Float);
    let places = [
        (false, false, "all"),
        (true, false, "marked"),
        (false, true, "compact"),
    ];
    for dtypes in [[f32, f32], [bf16, bf16], [bf16, f32]] {
        for kind in [Kind::AdamW, Kind::Sgd, Kind::Lion, Kind::Sign] {
            for (marked, compact, place) in places {
                for (more, by_chance, with) in [
                    (false, false, ""),
                    (true, false, " master clipped"),
                    (false, true, " by chance"),
                ] {
                    if by_chance && dtypes[0] == f32 {
                        continue;
                    }
                    let form = Form {
                        marked,
                        compact,
                        master: more,
                        clipped: more,
                        by_chance,
                    };
                    let form_name = format!("{kind:?} {place}{with}, gradient {}", dtypes[1]);
                    list_form(list, &form_name, kind, form, dtypes);
                    if kind.arrays() > 0 {
                        coded::list_form(list, &form_name, kind, form, dtypes);
                    }
                }
            }
        }
    }
}

/// Adds the kernel in one of its forms.
fn list_form(list: &mut List, form_name: &str, kind: Kind, form: Form, dtypes: [ElemType; 2]) {
    let b = buffer;
    let (s, d, t) = list.beside(UNITS);
    #[rustfmt::skip]
    let kernel = update::Update::new(
        s, d, t, b(), b(), b(), b(), b(), b(), b(), (), (), no_numbers(), kind, form, dtypes,
    );
    list.add(&format!("update::update {form_name}, weight"), dtypes[0], kernel);
}

/// One unit per trained entry.
fn launch(given: &Given) {
    let array = |place: usize| match given.state.get(place) {
        Some(ArrayParts::F32(values)) => given.argument(Some(values), DType::F32),
        _ => given.argument(None, DType::F32),
    };
    update::launch(
        &given.weight.client,
        cubes_for(given.trained),
        units(UNITS),
        given.weight.clone().into_buffer_arg(),
        given.gradient.clone().into_buffer_arg(),
        array(0),
        array(1),
        given.argument(given.master.as_ref(), DType::F32),
        given.argument(given.indices.as_ref(), DType::I32),
        given.argument(given.clip.as_ref(), DType::F32),
        given.trained,
        EXCLUDED,
        given.numbers(),
        given.kind,
        given.form,
        given.types(),
    );
}

impl UpdateBackend for CubeBackend {
    fn update(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        parts: UpdateParts<Self>,
        step: UpdateStep,
    ) -> Updated<Self> {
        let (weight, gradient) = (owned(weight), contiguous(gradient));
        let master = parts.master.into_option().map(owned);
        let clip = parts.clip.into_option().map(contiguous);
        let marked = matches!(parts.places, Places::Marked);
        let indices = match parts.places {
            Places::At(indices) => Some(contiguous(indices)),
            Places::All | Places::Marked => None,
        };
        let own = |array| match array {
            ArrayParts::F32(values) => ArrayParts::F32(owned(values)),
            ArrayParts::Int8(words, scales) => ArrayParts::Int8(owned(words), owned(scales)),
        };
        let given = Given {
            trained: indices.as_ref().unwrap_or(&weight).meta.num_elements(),
            kind: Kind::of(step.rule),
            form: Form {
                marked,
                compact: indices.is_some(),
                master: master.is_some(),
                clipped: clip.is_some(),
                by_chance: matches!(step.rounding, Rounding::Stochastic { .. })
                    && master.is_none()
                    && weight.dtype == DType::BF16,
            },
            state: parts.state.into_vec().into_iter().map(own).collect(),
            weight,
            gradient,
            master,
            clip,
            indices,
            step,
        };
        if given.trained > 0 {
            match given.state.first() {
                Some(ArrayParts::Int8(..)) => coded::launch(&given),
                _ => launch(&given),
            }
        }
        Updated {
            weight: given.weight,
            state: StateArrays::from_vec(given.state),
            master: Maybe::from(given.master),
        }
    }
}
