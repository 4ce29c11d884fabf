//! The additive attention mask: no token sees a later one, nor one of another document.

use burn::tensor::{DType, Device, Int, Tensor};

/// What is added to a forbidden score: its exponential is zero, and no infinity enters the arithmetic.
pub(crate) const FORBIDDEN: f32 = -1e30;

/// The bias that is added to attention scores; one serves all layers and heads.
///
/// Query `t` is the key `past + t`, where `past` is the number of keys that came before (from a cache).
/// With `segment_ids`, tokens attend only within their own segment, so that documents packed into one row do not
/// see each other; as rotary embeddings are relative, positions need not start anew. `None` when nothing is
/// forbidden.
///
/// # Shapes
///
/// - `segment_ids`: `[B, T]`, only without past keys
/// - output: `[1, 1, T, past + T]`, or `[B, 1, T, T]` with segments, in f32, outside autodiff
pub fn attention_bias(
    past: usize,
    length: usize,
    segment_ids: Option<Tensor<2, Int>>,
    device: &Device,
) -> Option<Tensor<4>> {
    if length == 1 && segment_ids.is_none() {
        return None;
    }
    let device = device.clone().inner();
    let keys = past + length;
    let index = |from: usize, to: usize| Tensor::<1, Int>::arange(from as i64..to as i64, &device);
    let rows = index(past, keys).reshape([length, 1]).expand([length, keys]);
    let columns = index(0, keys).reshape([1, keys]).expand([length, keys]);
    let future = columns.greater(rows).unsqueeze::<3>(); // [1, T, S]
    let forbidden = match segment_ids {
        None => future,
        Some(segments) => {
            let [batch, _] = segments.dims();
            let shape = [batch, length, length];
            let segments = segments.inner();
            let of_query = segments.clone().unsqueeze_dim::<3>(2).expand(shape);
            let of_key = segments.unsqueeze_dim::<3>(1).expand(shape);
            future.expand(shape).bool_or(of_query.not_equal(of_key)) // [B, T, T]
        }
    };
    let shape = forbidden.dims();
    let bias = Tensor::<3>::zeros(shape, (&device, DType::F32)).mask_fill(forbidden, FORBIDDEN);
    Some(bias.unsqueeze_dim(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(bias: Option<Tensor<4>>) -> Vec<bool> {
        let bias: Vec<f32> = bias.unwrap().into_data().try_to_vec().unwrap();
        bias.into_iter().map(|value| value < 0.0).collect()
    }

    #[test]
    fn later_tokens_are_forbidden_and_past_keys_are_not() {
        let device = Device::default();
        let (o, x) = (false, true);
        assert_eq!(
            forbidden(attention_bias(0, 3, None, &device)),
            [o, x, x, o, o, x, o, o, o]
        );
        assert_eq!(forbidden(attention_bias(1, 2, None, &device)), [o, o, x, o, o, o]);
        assert!(attention_bias(5, 1, None, &device).is_none());
    }

    #[test]
    fn other_documents_are_forbidden() {
        let device = Device::default();
        let segments = Tensor::<2, Int>::from_ints([[0, 0, 1]], &device);
        let (o, x) = (false, true);
        assert_eq!(
            forbidden(attention_bias(0, 3, Some(segments), &device)),
            [o, x, x, o, o, x, x, x, o]
        );
    }
}
