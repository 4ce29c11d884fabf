//! burn's dropout layers on our operation, which keeps a seed where burn's own keeps a random tensor.

use blockllm_kernels::{AttentionDropout, next_dropout_seed};
use burn::nn::Dropout;
use burn::tensor::{Device, Tensor};

/// What burn's `dropout.forward(x)` does, with the next seed of this thread's sequence.
pub(crate) fn dropped<const R: usize>(dropout: &Dropout, x: Tensor<R>) -> Tensor<R> {
    match next_seed(dropout, &x.device()) {
        Some(seed) => blockllm_kernels::dropout(x, dropout.prob, seed),
        None => x,
    }
}

/// The same for the weights of an attention on `device`.
pub(crate) fn of_attention(dropout: &Dropout, device: &Device) -> Option<AttentionDropout> {
    next_seed(dropout, device).map(|seed| AttentionDropout {
        probability: dropout.prob,
        seed,
    })
}

/// The next seed of this thread's sequence, where the layer drops anything.
fn next_seed(dropout: &Dropout, device: &Device) -> Option<u64> {
    // burn's own conditions: the layer takes part in training, and there may be a backward pass.
    if !dropout.training.is_enabled() || !device.is_autodiff() || dropout.prob == 0.0 {
        return None;
    }
    Some(next_dropout_seed())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use blockllm_kernels::{dropout_state, seed_dropout};
    use burn::nn::DropoutConfig;
    use burn::tensor::DType;

    use super::*;

    fn draw(device: &Device) -> Vec<f32> {
        let ones = Tensor::<1>::ones([200], (device, DType::F32));
        let data = dropped(&DropoutConfig::new(0.5).init(), ones).into_data();
        data.iter::<f32>().collect()
    }

    #[test]
    fn a_sequence_that_begins_anew_drops_the_same_and_its_calls_drop_differently() {
        let device = Device::flex().autodiff();
        seed_dropout(3);
        let first = draw(&device);
        let state = dropout_state();
        let second = draw(&device);
        assert_ne!(first, second);
        seed_dropout(state);
        assert_eq!(draw(&device), second);
        seed_dropout(3);
        assert_eq!(draw(&device), first);
        seed_dropout(4);
        assert_ne!(draw(&device), first);
    }

    #[test]
    fn nothing_is_dropped_without_autodiff() {
        assert_eq!(draw(&Device::flex()), vec![1.0; 200]);
    }
}
