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

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

use super::{
    EXCLUDED, FusedRule, Maybe, Places, Rounding, StateArrays, UpdateBackend, UpdateParts, UpdateStep,
    Updated,
};
use crate::catalog::{List, buffer};
use crate::device::{UNITS, contiguous, cubes_for, element, empty, owned, units};
use crate::dropout::cube::random_bits;
use crate::dropout::keys_of;

/// The rule, as the kernel is compiled for it.
#[derive(CubeType, Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Kind {
    AdamW,
    Sgd,
    Lion,
    Sign,
}

/// Of what the kernel has to take notice.
#[allow(
    clippy::struct_excessive_bools,
    reason = "questions that are asked independently of each other"
)]
#[derive(CubeType, Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Form {
    marked: bool,
    compact: bool,
    master: bool,
    clipped: bool,
    by_chance: bool,
}

#[cube]
fn sign(value: f32) -> f32 {
    let mut result = 0.0f32;
    if value > 0.0f32 {
        result = 1.0f32;
    }
    if value < 0.0f32 {
        result = -1.0f32;
    }
    result
}

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
    keep_1: f32,
    share_1: f32,
    keep_2: f32,
    share_2: f32,
    correction: f32,
    epsilon: f32,
    scale: f32,
    decay: f32,
    first_key: u32,
    second_key: u32,
    #[comptime] kind: Kind,
    #[comptime] form: Form,
    #[define(W, G)] _dtypes: [ElemType; 2],
) {
    let entry = ABSOLUTE_POS;
    if entry >= trained {
        terminate!();
    }
    if comptime!(form.marked) {
        if first[entry] == excluded {
            terminate!();
        }
    }
    let mut place = entry;
    if comptime!(form.compact) {
        place = usize::cast_from(indices[entry]);
    }
    let mut g = f32::cast_from(gradient[place]);
    if comptime!(form.clipped) {
        g *= clip[0];
    }
    let mut w = f32::cast_from(weight[place]);
    if comptime!(form.master) {
        w = master[entry];
    }
    let mut direction = sign(g);
    match kind {
        Kind::AdamW => {
            let m = first[entry] * keep_1 + g * share_1;
            let v = second[entry] * keep_2 + g * g * share_2;
            first[entry] = m;
            second[entry] = v;
            direction = m / (v.sqrt() / correction + epsilon);
        }
        Kind::Sgd => {
            let m = first[entry] * keep_1 + g;
            first[entry] = m;
            direction = m;
        }
        Kind::Lion => {
            let m = first[entry];
            direction = sign(m * keep_1 + g * share_1);
            first[entry] = m * keep_2 + g * share_2;
        }
        Kind::Sign => {}
    }
    let mut updated = w + (direction * scale - w * decay);
    if comptime!(form.master) {
        master[entry] = updated;
    }
    if comptime!(form.by_chance) {
        // The 16 bits that bf16 drops: added to and cut off, they carry as often as the number is near to the next one.
        let dropped = random_bits(place as u32, first_key, second_key) & 0xFFFFu32;
        updated = f32::reinterpret((u32::reinterpret(updated) + dropped) & 0xFFFF_0000u32);
    }
    weight[place] = W::cast_from(updated);
}

/// Adds the kernel for every rule and place, with and without all that may be added; the gradient is in the type of the
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
        s, d, t, b(), b(), b(), b(), b(), b(), b(),
        (), (), (), (), (), (), (), (), (), (), (), (), kind, form, dtypes,
    );
    list.add(&format!("update::update {form_name}, weight"), dtypes[0], kernel);
}

impl UpdateBackend for CubeBackend {
    fn update(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        parts: UpdateParts<Self>,
        step: UpdateStep,
    ) -> Updated<Self> {
        let (weight, gradient) = (owned(weight), contiguous(gradient));
        let state: Vec<_> = parts.state.into_vec().into_iter().map(owned).collect();
        let master = parts.master.into_option().map(owned);
        let clip = parts.clip.into_option().map(contiguous);
        let marked = matches!(parts.places, Places::Marked);
        let indices = match parts.places {
            Places::At(indices) => Some(contiguous(indices)),
            Places::All | Places::Marked => None,
        };
        let trained = indices.as_ref().unwrap_or(&weight).meta.num_elements();
        let form = Form {
            marked,
            compact: indices.is_some(),
            master: master.is_some(),
            clipped: clip.is_some(),
            by_chance: matches!(step.rounding, Rounding::Stochastic { .. })
                && master.is_none()
                && weight.dtype == DType::BF16,
        };
        let [first_key, second_key] = match step.rounding {
            Rounding::Nearest => [0; 2],
            Rounding::Stochastic { seed } => keys_of(seed),
        };
        let kind = match step.rule {
            FusedRule::AdamW { .. } => Kind::AdamW,
            FusedRule::Sgd { .. } => Kind::Sgd,
            FusedRule::Lion { .. } => Kind::Lion,
            FusedRule::Sign => Kind::Sign,
        };
        if trained > 0 {
            // A kernel has all its arguments; what is not there is one number that it does not read.
            let or_none = |tensor: Option<&CubeTensor>, dtype| match tensor {
                Some(tensor) => tensor.clone(),
                None => empty(&weight, [1], dtype),
            };
            let c = step.coefficients();
            update::launch(
                &weight.client,
                cubes_for(trained),
                units(UNITS),
                weight.clone().into_buffer_arg(),
                gradient.clone().into_buffer_arg(),
                or_none(state.first(), DType::F32).into_buffer_arg(),
                or_none(state.get(1), DType::F32).into_buffer_arg(),
                or_none(master.as_ref(), DType::F32).into_buffer_arg(),
                or_none(indices.as_ref(), DType::I32).into_buffer_arg(),
                or_none(clip.as_ref(), DType::F32).into_buffer_arg(),
                trained,
                EXCLUDED,
                c.keep_1,
                c.share_1,
                c.keep_2,
                c.share_2,
                c.correction,
                c.epsilon,
                c.scale,
                c.decay,
                first_key,
                second_key,
                kind,
                form,
                [element(&weight), element(&gradient)],
            );
        }
        Updated {
            weight,
            state: StateArrays::from_vec(state),
            master: Maybe::from(master),
        }
    }
}
