//! Normalised SGD on the CPU: stripes of columns are summed, then rows are moved in place, on all cores.

use std::borrow::Cow;

use burn::tensor::{DType, bf16, f16};
use burn_flex::{Flex, FlexTensor};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::{NormalisedBackend, NormalisedStep, SMALLEST, StayParts, Staying};
use crate::dropout::{keys_of, random_bits};
use crate::host::entries::{Floats, Number, owned, small_integers};
use crate::host::{elementwise, numbers, simd, tensor};
use crate::{EXCLUDED, Rounding};

/// Rows that are added in f32 before their sums go to the others in f64.
const ROWS: usize = 256;

/// Columns that one task sums.
const STRIPE: usize = 256;

/// Entries of a task that moves rows.
const TASK: usize = 1 << 14;

impl NormalisedBackend for Flex {
    fn decayed_sum(kept: FlexTensor, gradient: FlexTensor, momentum: f32) -> FlexTensor {
        let gradient = gradient.to_contiguous();
        let gradient = Floats::of(&gradient);
        let mut kept = elementwise::owned_in_f32(kept);
        elementwise::in_chunks(
            elementwise::numbers_mut(&mut kept),
            #[inline(always)]
            |start, kept| {
                let gradient = gradient.stretch(start, kept.len());
                for (kept, gradient) in kept.iter_mut().zip(&*gradient) {
                    *kept = *kept * momentum + gradient;
                }
            },
        );
        kept
    }

    fn column_sums_of_squares(of: FlexTensor, columns: usize) -> FlexTensor {
        let of = of.to_contiguous();
        let floats = Floats::of(&of);
        let rows = floats.len() / columns.max(1);
        let (blocks, stripes) = (rows.div_ceil(ROWS), columns.div_ceil(STRIPE));
        let parts: Vec<[f32; STRIPE]> = (0..blocks * stripes)
            .into_par_iter()
            .map(|task| {
                let (block, first) = (task / stripes, task % stripes * STRIPE);
                let width = STRIPE.min(columns - first);
                let block = block * ROWS..rows.min((block + 1) * ROWS);
                let mut sums = [0.0; STRIPE];
                simd::vectorized(
                    #[inline(always)]
                    || {
                        for row in block {
                            let numbers = floats.stretch(row * columns + first, width);
                            for (sum, number) in sums.iter_mut().zip(&*numbers) {
                                *sum += number * number;
                            }
                        }
                    },
                );
                sums
            })
            .collect();
        let sum_of = |column: usize| {
            let of_block =
                |block: usize| f64::from(parts[block * stripes + column / STRIPE][column % STRIPE]);
            (0..blocks).map(of_block).sum::<f64>() as f32
        };
        tensor((0..columns).map(sum_of).collect(), [columns], DType::F32)
    }

    fn normalised_step(
        weight: FlexTensor,
        direction: FlexTensor,
        sums: FlexTensor,
        stay: StayParts<Self>,
        step: NormalisedStep,
    ) -> FlexTensor {
        let direction = direction.to_contiguous();
        let mut weight = owned(weight);
        let rows = weight.layout().num_elements() / step.columns.max(1);
        let rate = -step.learning_rate as f32;
        let of_column = |sum: &f32| rate / (sum / rows.max(1) as f32).sqrt().max(SMALLEST);
        let factors: Vec<f32> = numbers(&sums).iter().map(of_column).collect();
        let way = Way {
            direction: Floats::of(&direction),
            factors: &factors,
            stays: match &stay.stay {
                Staying::None => Stays::None,
                Staying::Unmarked(first) => Stays::Unmarked(numbers(first)),
                Staying::At(indices) => Stays::At(small_integers(indices)),
            },
            chance: match step.rounding {
                Rounding::Nearest => None,
                Rounding::Stochastic { seed } => Some(keys_of(seed)),
            },
        };
        match weight.dtype() {
            DType::F32 => way.go(weight.storage_mut::<f32>()),
            DType::BF16 => way.go(weight.storage_mut::<bf16>()),
            DType::F16 => way.go(weight.storage_mut::<f16>()),
            DType::F64 => way.go(weight.storage_mut::<f64>()),
            other => unreachable!("a float tensor has no {other:?} entries"),
        }
        weight
    }
}

/// Entries that stay.
enum Stays<'a> {
    None,
    Unmarked(&'a [f32]),
    At(Cow<'a, [i32]>),
}

/// Where every entry goes.
struct Way<'a> {
    direction: Floats<'a>,
    /// What the direction is multiplied with in each column.
    factors: &'a [f32],
    stays: Stays<'a>,
    /// The keys of what weights are rounded by.
    chance: Option<[u32; 2]>,
}

impl Way<'_> {
    fn go<W: Number>(&self, weight: &mut [W]) {
        let columns = self.factors.len().max(1);
        let task = (TASK / columns).max(1) * columns;
        let tasks = weight.par_chunks_mut(task).enumerate();
        tasks.for_each(|(index, weight)| self.stretch(index * task, weight));
    }

    /// The whole rows from entry `begin` on.
    fn stretch<W: Number>(&self, begin: usize, weight: &mut [W]) {
        match &self.stays {
            Stays::None => self.all(begin, weight),
            Stays::Unmarked(first) => {
                let old = weight.to_vec();
                self.all(begin, weight);
                for ((weight, old), first) in weight.iter_mut().zip(old).zip(&first[begin..]) {
                    if first.to_bits() != EXCLUDED.to_bits() {
                        *weight = old;
                    }
                }
            }
            Stays::At(indices) => {
                let before = |end: usize| indices.partition_point(|index| (*index as usize) < end);
                let indices = &indices[before(begin)..before(begin + weight.len())];
                let places = indices.iter().map(|index| *index as usize - begin);
                let old: Vec<W> = places.clone().map(|place| weight[place]).collect();
                self.all(begin, weight);
                for (place, old) in places.zip(old) {
                    weight[place] = old;
                }
            }
        }
    }

    fn all<W: Number>(&self, begin: usize, weight: &mut [W]) {
        let direction = self.direction.stretch(begin, weight.len());
        let chance = self.chance.filter(|_| W::DROPPED > 0);
        simd::vectorized(
            #[inline(always)]
            || match (self.factors, chance) {
                (factors, Some(keys)) => {
                    let factors = factors.iter().cycle();
                    let entries = weight.iter_mut().zip(&*direction).zip(factors);
                    for (place, ((weight, direction), factor)) in (begin..).zip(entries) {
                        let moved = weight.up() + direction * factor;
                        *weight = W::down_by_chance(moved, random_bits(keys, place as u32));
                    }
                }
                ([factor], None) => {
                    for (weight, direction) in weight.iter_mut().zip(&*direction) {
                        *weight = W::down(weight.up() + direction * factor);
                    }
                }
                (factors, None) => {
                    let rows = weight.chunks_exact_mut(factors.len());
                    for (weight, direction) in rows.zip(direction.chunks_exact(factors.len())) {
                        for ((weight, direction), factor) in weight.iter_mut().zip(direction).zip(factors) {
                            *weight = W::down(weight.up() + direction * factor);
                        }
                    }
                }
            },
        );
    }
}
