//! The update on the CPU: tasks of some thousand entries, on all cores, in place.

use burn::tensor::{DType, bf16, f16};
use burn_flex::{Flex, FlexTensor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::{
    Coefficients, EXCLUDED, FusedRule, Maybe, Places, Rounding, StateArrays, UpdateBackend, UpdateParts,
    UpdateStep, Updated,
};
use crate::dropout::{keys_of, random_bits};
use crate::host::entries::{Number, Rest, owned, small_integers};
use crate::host::{in_f32, numbers, simd};

/// Entries of one task.
const TASK: usize = 1 << 14;

/// Trained entries that are gathered at a time.
const GATHERED: usize = 1 << 10;

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
            state: parts.state.into_vec().into_iter().map(owned).collect(),
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

/// A rule on one entry with `N` arrays of state.
trait Rule<const N: usize>: Copy + Send + Sync {
    /// The new weight and state.
    fn entry(self, weight: f32, gradient: f32, state: [f32; N]) -> (f32, [f32; N]);
}

#[derive(Clone, Copy)]
struct AdamW(Coefficients);

#[derive(Clone, Copy)]
struct Sgd(Coefficients);

#[derive(Clone, Copy)]
struct Lion(Coefficients);

#[derive(Clone, Copy)]
struct Sign(Coefficients);

impl Rule<2> for AdamW {
    #[inline(always)]
    fn entry(self, weight: f32, gradient: f32, [first, second]: [f32; 2]) -> (f32, [f32; 2]) {
        let c = self.0;
        let first = first * c.keep_1 + gradient * c.share_1;
        let second = second * c.keep_2 + gradient * gradient * c.share_2;
        let change = first / (second.sqrt() / c.correction + c.epsilon) * c.scale;
        (weight + (change - weight * c.decay), [first, second])
    }
}

impl Rule<1> for Sgd {
    #[inline(always)]
    fn entry(self, weight: f32, gradient: f32, [momentum]: [f32; 1]) -> (f32, [f32; 1]) {
        let c = self.0;
        let momentum = momentum * c.keep_1 + gradient;
        (weight + (momentum * c.scale - weight * c.decay), [momentum])
    }
}

impl Rule<1> for Lion {
    #[inline(always)]
    fn entry(self, weight: f32, gradient: f32, [momentum]: [f32; 1]) -> (f32, [f32; 1]) {
        let c = self.0;
        let direction = sign(momentum * c.keep_1 + gradient * c.share_1);
        let momentum = momentum * c.keep_2 + gradient * c.share_2;
        (weight + (direction * c.scale - weight * c.decay), [momentum])
    }
}

impl Rule<0> for Sign {
    #[inline(always)]
    fn entry(self, weight: f32, gradient: f32, _: [f32; 0]) -> (f32, [f32; 0]) {
        (weight + sign(gradient) * self.0.scale, [])
    }
}

/// Whether this first array's number marks an entry that is not trained.
#[inline(always)]
fn is_excluded(first: f32) -> bool {
    first.to_bits() == EXCLUDED.to_bits()
}

/// -1, 0 or 1.
#[inline(always)]
fn sign(value: f32) -> f32 {
    f32::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}

/// One update: the tensors that it changes, and what it reads.
struct Run<'a> {
    weight: FlexTensor,
    state: Vec<FlexTensor>,
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
        let mut arrays = self.state.iter_mut();
        let mut state: [Rest<'_, f32>; N] = std::array::from_fn(|_| {
            let array = arrays.next().expect("the caller counted the arrays");
            Rest::of(array.storage_mut())
        });
        let mut weight = Rest::of(entries_of(&mut self.weight));
        let mut master = self.master.as_mut().map(|master| Rest::of(master.storage_mut()));
        let trained = self.indices.map_or(weight.len(), <[i32]>::len);
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
                state: state.each_mut().map(|array| array.take(end - start)),
                master: master.as_mut().map(|master| master.take(end - start)),
                indices: self.indices.map(|indices| &indices[start..end]),
            });
            begin = next;
        }
        let (gradient, clip, marked) = (self.gradient, self.clip, self.marked);
        // What has a master copy, and what has room for all of an f32, is rounded as it is.
        let chance = self.chance.filter(|_| master.is_none() && W::DROPPED > 0);
        tasks.into_par_iter().for_each(|task| {
            simd::vectorized(
                #[inline(always)]
                || match (task.indices, marked, chance) {
                    (Some(indices), _, _) => task.at(indices, gradient, clip, rule, chance),
                    (None, true, Some(keys)) => task.all_by_chance::<true>(gradient, clip, rule, keys),
                    (None, false, Some(keys)) => task.all_by_chance::<false>(gradient, clip, rule, keys),
                    (None, true, None) => task.all::<true>(gradient, clip, rule),
                    (None, false, None) => task.all::<false>(gradient, clip, rule),
                },
            );
        });
    }
}

/// A stretch of the trained entries: `N` state arrays as long as it, and the weights from the first of them on.
struct Task<'a, W, const N: usize> {
    weight: &'a mut [W],
    /// The first weight's place in the parameter.
    begin: usize,
    state: [&'a mut [f32]; N],
    master: Option<&'a mut [f32]>,
    indices: Option<&'a [i32]>,
}

impl<W: Number, const N: usize> Task<'_, W, N> {
    /// Every weight of the stretch, but those that are marked where `MARKED`.
    #[inline(always)]
    fn all<const MARKED: bool>(self, gradient: &[f32], clip: f32, rule: impl Rule<N>) {
        let gradient = &gradient[self.begin..][..self.weight.len()];
        let Some(master) = self.master else {
            return entries::<W, N, MARKED>(self.weight, gradient, self.state, clip, rule);
        };
        let mut state = self.state;
        entries::<f32, N, MARKED>(
            master,
            gradient,
            state.each_mut().map(|array| &mut **array),
            clip,
            rule,
        );
        for (entry, (weight, master)) in self.weight.iter_mut().zip(master).enumerate() {
            if !(MARKED && is_excluded(state[0][entry])) {
                *weight = W::down(*master);
            }
        }
    }

    /// The same with each weight rounded up or down by chance; one that is marked is exact already, and stays.
    #[inline(always)]
    fn all_by_chance<const MARKED: bool>(
        self,
        gradient: &[f32],
        clip: f32,
        rule: impl Rule<N>,
        keys: [u32; 2],
    ) {
        let gradient = &gradient[self.begin..][..self.weight.len()];
        let mut kept = [0.0; GATHERED];
        let mut state = self.state.map(Rest::of);
        let pieces = self.weight.chunks_mut(GATHERED).zip(gradient.chunks(GATHERED));
        for (piece, (weight, gradient)) in pieces.enumerate() {
            let kept = &mut kept[..weight.len()];
            for (kept, weight) in kept.iter_mut().zip(&*weight) {
                *kept = weight.up();
            }
            let state = state.each_mut().map(|array| array.take(weight.len()));
            entries::<f32, N, MARKED>(kept, gradient, state, clip, rule);
            let begin = self.begin + piece * GATHERED;
            for (place, (weight, kept)) in (begin..).zip(weight.iter_mut().zip(kept)) {
                *weight = W::down_by_chance(*kept, random_bits(keys, place as u32));
            }
        }
    }

    /// The weights at `indices`.
    #[inline(always)]
    fn at(self, indices: &[i32], gradient: &[f32], clip: f32, rule: impl Rule<N>, chance: Option<[u32; 2]>) {
        let (mut gathered, mut kept) = ([0.0; GATHERED], [0.0; GATHERED]);
        let (mut state, mut master) = (self.state.map(Rest::of), self.master.map(Rest::of));
        for indices in indices.chunks(GATHERED) {
            let gathered = &mut gathered[..indices.len()];
            for (gathered, index) in gathered.iter_mut().zip(indices) {
                *gathered = gradient[*index as usize];
            }
            let precise = if let Some(master) = &mut master {
                master.take(indices.len())
            } else {
                let kept = &mut kept[..indices.len()];
                for (kept, index) in kept.iter_mut().zip(indices) {
                    *kept = self.weight[*index as usize - self.begin].up();
                }
                kept
            };
            let state = state.each_mut().map(|array| array.take(indices.len()));
            entries::<f32, N, false>(precise, gathered, state, clip, rule);
            for (precise, index) in precise.iter().zip(indices) {
                self.weight[*index as usize - self.begin] = match chance {
                    Some(keys) => W::down_by_chance(*precise, random_bits(keys, *index as u32)),
                    None => W::down(*precise),
                };
            }
        }
    }
}

/// The rule on every entry, or where `MARKED` on those whose first array is not [`EXCLUDED`].
#[inline(always)]
fn entries<W: Number, const N: usize, const MARKED: bool>(
    weight: &mut [W],
    gradient: &[f32],
    state: [&mut [f32]; N],
    clip: f32,
    rule: impl Rule<N>,
) {
    let len = weight.len();
    let gradient = &gradient[..len];
    let state = state.map(|array| &mut array[..len]);
    for entry in 0..len {
        let old = std::array::from_fn(|array| state[array][entry]);
        let (new_weight, new) = rule.entry(weight[entry].up(), gradient[entry] * clip, old);
        let stays = MARKED && is_excluded(old[0]);
        weight[entry] = if stays { weight[entry] } else { W::down(new_weight) };
        for array in 0..N {
            state[array][entry] = if stays { old[array] } else { new[array] };
        }
    }
}
