//! The update on the CPU: tasks of some thousand entries, on all cores, in place.

mod rules;
mod stored;

use burn::tensor::{DType, bf16, f16};
use burn_flex::{Flex, FlexTensor};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::{
    ArrayParts, Coding, FusedRule, Maybe, Places, Rounding, StateArrays, UpdateBackend, UpdateParts,
    UpdateStep, Updated,
};
use crate::dropout::{keys_of, random_bits};
use crate::host::entries::{Number, Rest, owned, small_integers};
use crate::host::{in_f32, numbers, simd};
use rules::{AdamW, Lion, Rule, Sgd, Sign, entries, is_excluded};
use stored::{Codes, PIECE, Shared, Stretch};

/// Entries of one task: whole blocks of codes.
const TASK: usize = 1 << 14;

impl UpdateBackend for Flex {
    fn update(
        weight: FlexTensor,
        gradient: FlexTensor,
        parts: UpdateParts<Self>,
        step: UpdateStep,
    ) -> Updated<Self> {
        let gradient = in_f32(gradient);
        let clip = parts
            .clip
            .into_option()
            .map_or(1.0, |clip| numbers(&in_f32(clip))[0]);
        let indices = match &parts.places {
            Places::At(indices) => Some(small_integers(indices)),
            Places::All | Places::Marked => None,
        };
        let mut run = Run {
            weight: owned(weight),
            state: parts.state.into_vec().into_iter().map(owned_array).collect(),
            codings: step.codings,
            master: parts.master.into_option().map(owned),
            gradient: numbers(&gradient),
            clip,
            marked: matches!(parts.places, Places::Marked),
            chance: match step.rounding {
                Rounding::Nearest => None,
                Rounding::Stochastic { seed } => Some(keys_of(seed)),
            },
            indices: indices.as_deref(),
        };
        let coefficients = step.coefficients();
        match step.rule {
            FusedRule::AdamW { .. } => run.step(AdamW(coefficients)),
            FusedRule::Sgd { .. } => run.step(Sgd(coefficients)),
            FusedRule::Lion { .. } => run.step(Lion(coefficients)),
            FusedRule::Sign => run.step(Sign(coefficients)),
        }
        Updated {
            weight: run.weight,
            state: StateArrays::from_vec(run.state),
            master: Maybe::from(run.master),
        }
    }
}

fn owned_array(array: ArrayParts<Flex>) -> ArrayParts<Flex> {
    match array {
        ArrayParts::F32(values) => ArrayParts::F32(owned(values)),
        ArrayParts::Int8(words, scales) => ArrayParts::Int8(owned(words), owned(scales)),
    }
}

/// One update: the tensors that it changes, and what it reads.
struct Run<'a> {
    weight: FlexTensor,
    state: Vec<ArrayParts<Flex>>,
    codings: [Coding; 2],
    master: Option<FlexTensor>,
    gradient: &'a [f32],
    clip: f32,
    marked: bool,
    /// The keys of what weights are rounded by.
    chance: Option<[u32; 2]>,
    indices: Option<&'a [i32]>,
}

impl Run<'_> {
    fn step<const N: usize>(&mut self, rule: impl Rule<N>) {
        match self.weight.dtype() {
            DType::F32 => self.step_over::<f32, N>(FlexTensor::storage_mut, rule),
            DType::BF16 => self.step_over::<bf16, N>(FlexTensor::storage_mut, rule),
            DType::F16 => self.step_over::<f16, N>(FlexTensor::storage_mut, rule),
            DType::F64 => self.step_over::<f64, N>(FlexTensor::storage_mut, rule),
            other => unreachable!("a float tensor has no {other:?} entries"),
        }
    }

    /// [`step`](Self::step) on weights of one type.
    fn step_over<W: Number, const N: usize>(
        &mut self,
        entries_of: fn(&mut FlexTensor) -> &mut [W],
        rule: impl Rule<N>,
    ) {
        // Taken out, so that all else can be read while they are shared out.
        let mut state = std::mem::take(&mut self.state);
        let is_coded = matches!(state.first(), Some(ArrayParts::Int8(..)));
        let mut arrays = state.iter_mut().zip(self.codings);
        if is_coded {
            let shared: [Codes<_, _>; N] = std::array::from_fn(|_| match arrays.next() {
                Some((ArrayParts::Int8(words, scales), coding)) => Codes {
                    words: Rest::of(words.storage_mut()),
                    scales: Rest::of(scales.storage_mut()),
                    coding,
                },
                _ => unreachable!("the arrays are counted, and all of one form"),
            });
            self.share_out(entries_of, rule, shared);
        } else {
            let shared: [Rest<'_, f32>; N] = std::array::from_fn(|_| match arrays.next() {
                Some((ArrayParts::F32(values), _)) => Rest::of(values.storage_mut()),
                _ => unreachable!("the arrays are counted, and all of one form"),
            });
            self.share_out(entries_of, rule, shared);
        }
        self.state = state;
    }

    /// Cuts all into tasks, and does them.
    fn share_out<W: Number, const N: usize>(
        &mut self,
        entries_of: fn(&mut FlexTensor) -> &mut [W],
        rule: impl Rule<N>,
        mut state: impl Shared<N>,
    ) {
        let mut weight = Rest::of(entries_of(&mut self.weight));
        let mut master = self.master.as_mut().map(|master| Rest::of(master.storage_mut()));
        let trained = self.indices.map_or(weight.len(), <[i32]>::len);
        // What has a master copy, and what has room for all of an f32, is rounded as it is.
        let chance = self.chance.filter(|_| master.is_none() && W::DROPPED > 0);
        let mut tasks = Vec::with_capacity(trained.div_ceil(TASK));
        // Where the rest of the weights begins.
        let mut begin = 0;
        for start in (0..trained).step_by(TASK) {
            let end = trained.min(start + TASK);
            let next = match self.indices {
                Some(indices) if end < trained => indices[end] as usize,
                Some(_) => begin + weight.len(),
                None => end,
            };
            tasks.push(Task {
                weight: weight.take(next - begin),
                begin,
                state: state.take(end - start),
                master: master.as_mut().map(|master| master.take(end - start)),
                chance,
            });
            begin = next;
        }
        let (gradient, clip, marked, indices) = (self.gradient, self.clip, self.marked, self.indices);
        tasks.into_par_iter().enumerate().for_each(|(task, stretch)| {
            simd::vectorized(
                #[inline(always)]
                || match indices {
                    Some(indices) => {
                        let end = indices.len().min((task + 1) * TASK);
                        stretch.at(&indices[task * TASK..end], gradient, clip, rule);
                    }
                    None if marked => stretch.all::<N, true>(gradient, clip, rule),
                    None => stretch.all::<N, false>(gradient, clip, rule),
                },
            );
        });
    }
}

/// A stretch of the trained entries: their state, and the weights from the first of them on.
struct Task<'a, W, S> {
    weight: &'a mut [W],
    /// The first weight's place in the parameter.
    begin: usize,
    state: S,
    master: Option<&'a mut [f32]>,
    /// The keys of what weights are rounded by.
    chance: Option<[u32; 2]>,
}

impl<W: Number, S> Task<'_, W, S> {
    /// Every weight of the stretch, but those that are marked where `MARKED`.
    #[inline(always)]
    fn all<const N: usize, const MARKED: bool>(self, gradient: &[f32], clip: f32, rule: impl Rule<N>)
    where
        S: Stretch<N>,
    {
        let Self {
            weight,
            begin,
            state,
            mut master,
            chance,
        } = self;
        let mut kept = [0.0; PIECE];
        state.pieces(
            weight.len(),
            #[inline(always)]
            |range, mut state| {
                let gradient = &gradient[begin..][range.clone()];
                let weight = &mut weight[range.clone()];
                if let Some(master) = &mut master {
                    let master = &mut master[range];
                    let arrays = state.each_mut().map(|array| &mut **array);
                    entries::<f32, N, MARKED>(master, gradient, arrays, clip, rule);
                    for (entry, (weight, master)) in weight.iter_mut().zip(master).enumerate() {
                        if !(MARKED && is_excluded(state[0][entry])) {
                            *weight = W::down(*master);
                        }
                    }
                } else if let Some(keys) = chance {
                    let kept = &mut kept[..weight.len()];
                    for (kept, weight) in kept.iter_mut().zip(&*weight) {
                        *kept = weight.up();
                    }
                    entries::<f32, N, MARKED>(kept, gradient, state, clip, rule);
                    // One that is marked is exact already, and stays.
                    for (place, (weight, kept)) in (begin + range.start..).zip(weight.iter_mut().zip(kept)) {
                        *weight = W::down_by_chance(*kept, random_bits(keys, place as u32));
                    }
                } else {
                    entries::<W, N, MARKED>(weight, gradient, state, clip, rule);
                }
            },
        );
    }

    /// The weights at `indices`.
    #[inline(always)]
    fn at<const N: usize>(self, indices: &[i32], gradient: &[f32], clip: f32, rule: impl Rule<N>)
    where
        S: Stretch<N>,
    {
        let Self {
            weight,
            begin,
            state,
            mut master,
            chance,
        } = self;
        let (mut gathered, mut kept) = ([0.0; PIECE], [0.0; PIECE]);
        state.pieces(
            indices.len(),
            #[inline(always)]
            |range, state| {
                let indices = &indices[range.clone()];
                let gathered = &mut gathered[..indices.len()];
                for (gathered, index) in gathered.iter_mut().zip(indices) {
                    *gathered = gradient[*index as usize];
                }
                let precise = if let Some(master) = &mut master {
                    &mut master[range]
                } else {
                    let kept = &mut kept[..indices.len()];
                    for (kept, index) in kept.iter_mut().zip(indices) {
                        *kept = weight[*index as usize - begin].up();
                    }
                    kept
                };
                entries::<f32, N, false>(precise, gathered, state, clip, rule);
                for (precise, index) in precise.iter().zip(indices) {
                    weight[*index as usize - begin] = match chance {
                        Some(keys) => W::down_by_chance(*precise, random_bits(keys, *index as u32)),
                        None => W::down(*precise),
                    };
                }
            },
        );
    }
}
