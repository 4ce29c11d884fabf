//! The update rules on the CPU, entry by entry.

use super::super::EXCLUDED;
use super::super::step::Coefficients;
use crate::host::entries::Number;

/// A rule on one entry with `N` arrays of state.
pub trait Rule<const N: usize>: Copy + Send + Sync {
    /// The new weight and state.
    fn entry(self, weight: f32, gradient: f32, state: [f32; N]) -> (f32, [f32; N]);
}

#[derive(Clone, Copy)]
pub struct AdamW(pub Coefficients);

#[derive(Clone, Copy)]
pub struct Sgd(pub Coefficients);

#[derive(Clone, Copy)]
pub struct Lion(pub Coefficients);

#[derive(Clone, Copy)]
pub struct Sign(pub Coefficients);

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
pub fn is_excluded(first: f32) -> bool {
    first.to_bits() == EXCLUDED.to_bits()
}

/// -1, 0 or 1.
#[inline(always)]
fn sign(value: f32) -> f32 {
    f32::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}

/// The rule on every entry, or where `MARKED` on those whose first array is not [`EXCLUDED`].
#[inline(always)]
pub fn entries<W: Number, const N: usize, const MARKED: bool>(
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
