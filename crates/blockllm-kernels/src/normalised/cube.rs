//! Normalised SGD on GPUs: columns are summed in stretches of rows, the stretches added up, then a unit per entry.

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

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

use super::{NormalisedBackend, NormalisedStep, SMALLEST, StayParts, Staying};
use crate::device::{UNITS, contiguous, cubes_for, element, empty, owned, units};
use crate::dropout::cube::rounded_by_chance;
use crate::dropout::keys_of;
use crate::kernel_list::{List, buffer};
use crate::{EXCLUDED, Rounding, ScatterBackend};

/// Units that the sums of a large matrix are shared out to.
const SUMMING_UNITS: usize = 1 << 16;

/// Rows that a unit adds up, at least and at most.
const ROWS: std::ops::RangeInclusive<usize> = 16..=1024;

#[cube(launch)]
fn decayed_sum<G: Float>(
    kept: &mut [f32],
    gradient: &[G],
    entries: usize,
    momentum: f32,
    #[define(G)] _dtype: ElemType,
) {
    let entry = ABSOLUTE_POS;
    if entry >= entries {
        terminate!();
    }
    kept[entry] = kept[entry] * momentum + f32::cast_from(gradient[entry]);
}

/// The sum of squares of a stretch of a column, in `output[stretch, column]`.
#[cube(launch)]
fn column_squares<F: Float>(
    numbers: &[F],
    output: &mut [f32],
    rows: usize,
    columns: usize,
    stretch: usize,
    outputs: usize,
    #[define(F)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position >= outputs {
        terminate!();
    }
    let column = position % columns;
    let mut row = position / columns * stretch;
    let end = min(row + stretch, rows);
    let mut sum = 0.0f32;
    while row < end {
        let number = f32::cast_from(numbers[row * columns + column]);
        sum += number * number;
        row += 1;
    }
    output[position] = sum;
}

/// The sum of each column of `parts`.
#[cube(launch)]
fn add_columns(parts: &[f32], output: &mut [f32], stretches: usize, columns: usize) {
    let column = ABSOLUTE_POS;
    if column >= columns {
        terminate!();
    }
    let mut sum = 0.0f32;
    let mut stretch = 0usize;
    while stretch < stretches {
        sum += parts[stretch * columns + column];
        stretch += 1;
    }
    output[column] = sum;
}

/// Of what the kernel has to take notice.
#[derive(CubeType, Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Form {
    unmarked_stay: bool,
    by_chance: bool,
}

#[cube(launch)]
fn move_along<W: Float, D: Float>(
    weight: &mut [W],
    direction: &[D],
    sums: &[f32],
    first: &[f32],
    entries: usize,
    columns: usize,
    rows: f32,
    rate: f32,
    smallest: f32,
    excluded: f32,
    first_key: u32,
    second_key: u32,
    #[comptime] form: Form,
    #[define(W, D)] _dtypes: [ElemType; 2],
) {
    let entry = ABSOLUTE_POS;
    if entry >= entries {
        terminate!();
    }
    if comptime!(form.unmarked_stay) {
        if first[entry] != excluded {
            terminate!();
        }
    }
    let mut root = (sums[entry % columns] / rows).sqrt();
    if root < smallest {
        root = smallest;
    }
    let mut updated = f32::cast_from(weight[entry]) + f32::cast_from(direction[entry]) * (rate / root);
    if comptime!(form.by_chance) {
        updated = rounded_by_chance(updated, entry as u32, first_key, second_key);
    }
    weight[entry] = W::cast_from(updated);
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    let [f32, bf16] = [FloatKind::F32, FloatKind::BF16].map(ElemType::Float);
    for dtype in [f32, bf16] {
        let (s, d, t) = list.beside(UNITS);
        let kernel = decayed_sum::DecayedSum::new(s, d, t, b(), b(), (), (), dtype);
        list.add("normalised::decayed_sum", dtype, kernel);
        let (s, d, t) = list.beside(UNITS);
        let kernel = column_squares::ColumnSquares::new(s, d, t, b(), b(), (), (), (), (), dtype);
        list.add("normalised::column_squares", dtype, kernel);
    }
    let (s, d, t) = list.beside(UNITS);
    let kernel = add_columns::AddColumns::new(s, d, t, b(), b(), (), ());
    list.add("normalised::add_columns", f32, kernel);
    for dtypes in [[f32, f32], [bf16, bf16], [bf16, f32]] {
        for unmarked_stay in [false, true] {
            for by_chance in [false, true] {
                if by_chance && dtypes[0] == f32 {
                    continue;
                }
                let form = Form {
                    unmarked_stay,
                    by_chance,
                };
                let (s, d, t) = list.beside(UNITS);
                #[rustfmt::skip]
                let kernel = move_along::MoveAlong::new(
                    s, d, t, b(), b(), b(), b(), (), (), (), (), (), (), (), (), form, dtypes,
                );
                let stay = if unmarked_stay { " unmarked stay" } else { "" };
                let chance = if by_chance { " by chance" } else { "" };
                let name = format!(
                    "normalised::move_along{stay}{chance} direction {}, weight",
                    dtypes[1]
                );
                list.add(&name, dtypes[0], kernel);
            }
        }
    }
}

impl NormalisedBackend for CubeBackend {
    fn decayed_sum(kept: FloatTensor<Self>, gradient: FloatTensor<Self>, momentum: f32) -> FloatTensor<Self> {
        let (kept, gradient) = (owned(kept), contiguous(gradient));
        let (entries, dtype) = (kept.meta.num_elements(), element(&gradient));
        decayed_sum::launch(
            &kept.client,
            cubes_for(entries),
            units(UNITS),
            kept.clone().into_buffer_arg(),
            gradient.into_buffer_arg(),
            entries,
            momentum,
            dtype,
        );
        kept
    }

    fn column_sums_of_squares(of: FloatTensor<Self>, columns: usize) -> FloatTensor<Self> {
        let of = contiguous(of);
        let (entries, dtype) = (of.meta.num_elements(), element(&of));
        let rows = entries / columns.max(1);
        let stretch = (entries / SUMMING_UNITS).clamp(*ROWS.start(), *ROWS.end());
        let stretches = rows.div_ceil(stretch).max(1);
        let parts = empty(&of, [stretches * columns], DType::F32);
        column_squares::launch(
            &of.client.clone(),
            cubes_for(stretches * columns),
            units(UNITS),
            of.clone().into_buffer_arg(),
            parts.clone().into_buffer_arg(),
            rows,
            columns,
            stretch,
            stretches * columns,
            dtype,
        );
        if stretches == 1 {
            return parts;
        }
        let sums = empty(&of, [columns], DType::F32);
        add_columns::launch(
            &of.client,
            cubes_for(columns),
            units(UNITS),
            parts.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            stretches,
            columns,
        );
        sums
    }

    fn normalised_step(
        weight: FloatTensor<Self>,
        direction: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        stay: StayParts<Self>,
        step: NormalisedStep,
    ) -> FloatTensor<Self> {
        let first = match stay.stay {
            Staying::None => None,
            Staying::Unmarked(first) => Some(contiguous(first)),
            // They are put aside, and back after all have moved: a unit cannot know whether its entry is among them.
            Staying::At(indices) => {
                let old = Self::float_select(weight.clone(), 0, indices.clone());
                let moved = moved(weight, direction, sums, None, step);
                return Self::with_values_at(moved, indices, old);
            }
        };
        moved(weight, direction, sums, first, step)
    }
}

/// The weight after every entry has moved, but for those that are not marked in `first`.
fn moved(
    weight: CubeTensor,
    direction: CubeTensor,
    sums: CubeTensor,
    first: Option<CubeTensor>,
    step: NormalisedStep,
) -> CubeTensor {
    let (weight, direction, sums) = (owned(weight), contiguous(direction), contiguous(sums));
    let entries = weight.meta.num_elements();
    let form = Form {
        unmarked_stay: first.is_some(),
        by_chance: matches!(step.rounding, Rounding::Stochastic { .. }) && weight.dtype == DType::BF16,
    };
    let [first_key, second_key] = match step.rounding {
        Rounding::Nearest => [0; 2],
        Rounding::Stochastic { seed } => keys_of(seed),
    };
    let dtypes = [element(&weight), element(&direction)];
    // A kernel has all its arguments; what is not there is one number that it does not read.
    let first = first.unwrap_or_else(|| empty(&weight, [1], DType::F32));
    move_along::launch(
        &weight.client,
        cubes_for(entries),
        units(UNITS),
        weight.clone().into_buffer_arg(),
        direction.into_buffer_arg(),
        sums.into_buffer_arg(),
        first.into_buffer_arg(),
        entries,
        step.columns,
        (entries / step.columns.max(1)) as f32,
        -step.learning_rate as f32,
        SMALLEST,
        EXCLUDED,
        first_key,
        second_key,
        form,
        dtypes,
    );
    weight
}
