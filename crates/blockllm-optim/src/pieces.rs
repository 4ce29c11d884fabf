//! An update composed of tensor operations, piece by piece, so that what is computed in between stays small.

use burn::tensor::{Device, Tensor};

/// How many entries make a piece on `device`: on the CPU what its nearer caches hold, 256 KiB of f32; elsewhere enough to
/// keep a GPU busy, 16 MiB.
pub(crate) fn piece_len(device: &Device) -> usize {
    if is_flex(device) { 1 << 16 } else { 1 << 22 }
}

/// Whether this is the CPU backend.
#[cfg(feature = "flex")]
fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}

/// Without the CPU backend compiled in, no device is on it.
#[cfg(not(feature = "flex"))]
fn is_flex(_device: &Device) -> bool {
    false
}

/// `update` of weights, gradient and state, `[n_l]` each; it must treat every entry for itself, so that the pieces make
/// the same bits as the whole. What is returned is written into the memory that came in, where nobody else holds it.
///
/// An update rule computes half a dozen arrays as long as its parameter. For the embedding of a large vocabulary these
/// would be the largest buffers of the whole step, each of them new memory.
pub(crate) fn update_in_pieces(
    weight: Tensor<1>,
    gradient: Tensor<1>,
    state: Vec<Tensor<1>>,
    update: impl Fn(Tensor<1>, Tensor<1>, Vec<Tensor<1>>) -> (Tensor<1>, Vec<Tensor<1>>),
) -> (Tensor<1>, Vec<Tensor<1>>) {
    let piece_len = piece_len(&weight.device());
    update_in_pieces_of(piece_len, weight, gradient, state, update)
}

fn update_in_pieces_of(
    piece_len: usize,
    mut weight: Tensor<1>,
    gradient: Tensor<1>,
    mut state: Vec<Tensor<1>>,
    update: impl Fn(Tensor<1>, Tensor<1>, Vec<Tensor<1>>) -> (Tensor<1>, Vec<Tensor<1>>),
) -> (Tensor<1>, Vec<Tensor<1>>) {
    let numel = weight.dims()[0];
    if numel <= piece_len {
        return update(weight, gradient, state);
    }
    for start in (0..numel).step_by(piece_len) {
        let range = start..numel.min(start + piece_len);
        let piece = |of: &Tensor<1>| of.clone().slice(range.clone());
        let (new, new_state) = update(
            piece(&weight),
            piece(&gradient),
            state.iter().map(piece).collect(),
        );
        weight = weight.slice_assign(range.clone(), new);
        state = state
            .into_iter()
            .zip(new_state)
            .map(|(array, new)| array.slice_assign(range.clone(), new))
            .collect();
    }
    (weight, state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamW, Parameter, StepContext, UpdateRule as _};
    use burn::tensor::Distribution;

    fn devices() -> Vec<Device> {
        vec![
            #[cfg(feature = "flex")]
            Device::flex(),
            #[cfg(feature = "wgpu")]
            Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        ]
    }

    #[test]
    fn pieces_make_the_same_bits_as_the_whole() {
        for device in devices() {
            let random = || Tensor::<1>::random([2003], Distribution::Uniform(0.1, 1.0), &device);
            let (weight, gradient, state) = (random(), random(), vec![random(), random()]);
            let context = StepContext {
                learning_rate: 1e-3,
                state_step: 3,
                parameter: &Parameter::vector("weight", 2003),
            };
            let update = |weight: Tensor<1>, gradient, state| {
                let (change, state) = AdamW::default().update(context, weight.clone(), gradient, state);
                (weight + change, state)
            };
            let whole = update(weight.clone(), gradient.clone(), state.clone());
            let pieces = update_in_pieces_of(500, weight, gradient, state, update);
            assert_eq!(pieces.0.into_data(), whole.0.into_data());
            for (pieces, whole) in pieces.1.into_iter().zip(whole.1) {
                assert_eq!(pieces.into_data(), whole.into_data());
            }
        }
    }
}
