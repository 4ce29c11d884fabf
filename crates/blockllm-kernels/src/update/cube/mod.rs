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

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

use super::{
    ArrayParts, EXCLUDED, FusedRule, Maybe, Places, Rounding, StateArrays, UpdateBackend, UpdateParts,
    UpdateStep, Updated,
};
use crate::catalog::{List, buffer};
use crate::device::{UNITS, contiguous, cubes_for, element, empty, owned, units};
use crate::dropout::cube::rounded_by_chance;
use crate::dropout::keys_of;

/// The rule, as the kernel is compiled for it.
#[derive(CubeType, Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Kind {
    AdamW,
    Sgd,
    Lion,
    Sign,
}

impl Kind {
    fn of(rule: FusedRule) -> Self {
        match rule {
            FusedRule::AdamW { .. } => Self::AdamW,
            FusedRule::Sgd { .. } => Self::Sgd,
            FusedRule::Lion { .. } => Self::Lion,
            FusedRule::Sign => Self::Sign,
        }
    }

    /// Arrays of state.
    fn arrays(self) -> usize {
        match self {
            Self::AdamW => 2,
            Self::Sgd | Self::Lion => 1,
            Self::Sign => 0,
        }
    }
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

/// What a rule is computed with.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Numbers {
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
}

/// An entry's weight in f32 and its state.
#[derive(CubeType, Clone, Copy)]
struct Entry {
    weight: f32,
    first: f32,
    second: f32,
}

/// The entry after a step of the rule with gradient `g`.
#[cube]
fn stepped(entry: &Entry, g: f32, numbers: &Numbers, #[comptime] kind: Kind) -> Entry {
    let mut first = entry.first;
    let mut second = entry.second;
    let mut direction = sign(g);
    match kind {
        Kind::AdamW => {
            first = first * numbers.keep_1 + g * numbers.share_1;
            second = second * numbers.keep_2 + g * g * numbers.share_2;
            direction = first / (second.sqrt() / numbers.correction + numbers.epsilon);
        }
        Kind::Sgd => {
            first = first * numbers.keep_1 + g;
            direction = first;
        }
        Kind::Lion => {
            direction = sign(first * numbers.keep_1 + g * numbers.share_1);
            first = first * numbers.keep_2 + g * numbers.share_2;
        }
        Kind::Sign => {}
    }
    let weight = entry.weight + (direction * numbers.scale - entry.weight * numbers.decay);
    Entry {
        weight,
        first,
        second,
    }
}

/// `weight`, rounded by chance where that is asked for.
#[cube]
fn rounded(weight: f32, place: usize, numbers: &Numbers, #[comptime] by_chance: bool) -> f32 {
    let mut result = weight;
    if comptime!(by_chance) {
        result = rounded_by_chance(weight, place as u32, numbers.first_key, numbers.second_key);
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

/// [`Numbers`] for a kernel that is only compiled.
fn no_numbers() -> NumbersCompilationArg {
    NumbersCompilationArg {
        keep_1: (),
        share_1: (),
        keep_2: (),
        share_2: (),
        correction: (),
        epsilon: (),
        scale: (),
        decay: (),
        first_key: (),
        second_key: (),
    }
}

/// Everything that a launch is given.
struct Given {
    weight: CubeTensor,
    gradient: CubeTensor,
    state: Vec<ArrayParts<CubeBackend>>,
    master: Option<CubeTensor>,
    clip: Option<CubeTensor>,
    indices: Option<CubeTensor>,
    /// Trained entries.
    trained: usize,
    kind: Kind,
    form: Form,
    step: UpdateStep,
}

impl Given {
    /// `tensor` as an argument. A kernel has all its arguments; what is not there is one number that it does not read.
    fn argument(&self, tensor: Option<&CubeTensor>, dtype: DType) -> BufferArg {
        let tensor = tensor.cloned();
        tensor
            .unwrap_or_else(|| empty(&self.weight, [1], dtype))
            .into_buffer_arg()
    }

    fn numbers(&self) -> NumbersLaunch {
        let c = self.step.coefficients();
        let [first_key, second_key] = match self.step.rounding {
            Rounding::Nearest => [0; 2],
            Rounding::Stochastic { seed } => keys_of(seed),
        };
        NumbersLaunch::new(
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
        )
    }

    fn types(&self) -> [ElemType; 2] {
        [element(&self.weight), element(&self.gradient)]
    }

    /// One unit per trained entry.
    fn launch(&self) {
        let array = |place: usize| match self.state.get(place) {
            Some(ArrayParts::F32(values)) => self.argument(Some(values), DType::F32),
            _ => self.argument(None, DType::F32),
        };
        update::launch(
            &self.weight.client,
            cubes_for(self.trained),
            units(UNITS),
            self.weight.clone().into_buffer_arg(),
            self.gradient.clone().into_buffer_arg(),
            array(0),
            array(1),
            self.argument(self.master.as_ref(), DType::F32),
            self.argument(self.indices.as_ref(), DType::I32),
            self.argument(self.clip.as_ref(), DType::F32),
            self.trained,
            EXCLUDED,
            self.numbers(),
            self.kind,
            self.form,
            self.types(),
        );
    }
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
                _ => given.launch(),
            }
        }
        Updated {
            weight: given.weight,
            state: StateArrays::from_vec(given.state),
            master: Maybe::from(given.master),
        }
    }
}
