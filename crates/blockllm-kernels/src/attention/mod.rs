//! Attention (Vaswani et al. 2017) with grouped heads, without a buffer of all scores.
//!
//! For query `i` and the keys `j` that it may see: `s_ij = scale q_i k_j`, `p_i = softmax(s_i)`, `o_i = sum_j p_ij v_j`. With
//! dropout, `p_ij` is multiplied with a mask `m_ij` of zeros and `1 / (1 - probability)` before the sum. Backward makes `p`
//! again. For the gradient `g` of `o`: `dv_j = sum_i m_ij p_ij g_i`, `dp_ij = m_ij g_i v_j`, `delta_i = sum_j p_ij dp_ij`,
//! `ds_ij = p_ij (dp_ij - delta_i)`, `dq_i = scale sum_j ds_ij k_j` and `dk_j = scale sum_i ds_ij q_i`.
//!
//! Queries, keys and values stand as their projections leave them, token by token, and so does the output: nothing is
//! transposed or copied. Scores and sums are in f32.

mod backward;
mod composed;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cube")]
mod cube_kernels;
#[cfg(feature = "flex")]
mod flex;
mod options;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{DType, Tensor};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

pub use composed::composed_attention;
pub use options::{AttentionDropout, AttentionOptions, Visibility};

/// `softmax(scale q k^T) v` over the keys that each query may see; zero for a query that sees none.
///
/// # Shapes
///
/// - queries and output: `[B, T, H, head_dim]`
/// - keys, values: `[B, S, K, head_dim]`, where `K` divides `H`: query head `h` reads key head `h K / H`
///
/// # Panics
///
/// When the shapes do not belong together.
pub fn attention(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    visibility: &Visibility,
    options: AttentionOptions,
) -> Tensor<4> {
    let ([batch, length, heads, width], [_, seen, groups, _]) = (queries.dims(), keys.dims());
    assert_eq!(keys.dims(), values.dims(), "keys and values have one shape");
    assert_eq!(
        keys.dims(),
        [batch, seen, groups, width],
        "queries and keys have the same rows"
    );
    assert!(
        heads.is_multiple_of(groups),
        "{groups} key heads cannot serve {heads} query heads"
    );
    assert!(
        options.dropout.is_none() || (batch * heads * length * seen) as u64 <= 1 << 32,
        "the mask's indices have 32 bits"
    );
    if queries.dtype() == DType::F64 {
        // The kernels would lose its precision.
        return composed_attention(queries, keys, values, visibility, options);
    }
    match visibility {
        Visibility::All => {}
        Visibility::Segments(ids) => {
            assert_eq!((ids.dims(), length), ([batch, seen], seen), "ids are [B, T]");
        }
        Visibility::Keys(ids) => assert_eq!(ids.dims(), [batch, seen], "ids are [B, S]"),
    }
    let visible = match visibility {
        Visibility::All => Visible::All,
        Visibility::Segments(ids) => Visible::Segments(ids.clone().inner().into_dispatch()),
        Visibility::Keys(ids) => Visible::Keys(ids.clone().inner().into_dispatch()),
    };
    Tensor::from_dispatch(Dispatch::fused_attention(
        queries.into_dispatch(),
        keys.into_dispatch(),
        values.into_dispatch(),
        visible,
        options,
    ))
}

/// [`Visibility`] as backends see it.
#[derive(Debug, Clone, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Visible<B: Backend> {
    /// All keys.
    All,
    /// Keys with the query's id.
    Segments(IntTensor<B>),
    /// Keys with an id other than zero.
    Keys(IntTensor<B>),
}

/// The gradients of queries, keys and values, each in the shape of its own.
#[derive(Debug, Clone, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct AttentionGrads<B: Backend> {
    /// `[B, T, H, head_dim]`.
    pub queries: FloatTensor<B>,
    /// `[B, S, K, head_dim]`.
    pub keys: FloatTensor<B>,
    /// `[B, S, K, head_dim]`.
    pub values: FloatTensor<B>,
}

/// Backends with attention. There is no default: for other backends [`composed_attention`] stands in.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait AttentionBackend: Backend {
    /// The output, `[B, T, H, head_dim]`.
    #[fusion(dtype = queries, shape = queries)]
    fn fused_attention(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        #[extension_type] visible: Visible<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self>;

    /// The gradients of all three inputs for the gradient of the output.
    #[fusion(meta = |queries, keys, values, _grad, _visible, _options| AttentionGradsMetadata {
        queries: queries.clone(),
        keys: keys.clone(),
        values: values.clone(),
    })]
    fn fused_attention_grads(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        #[extension_type] visible: Visible<Self>,
        options: AttentionOptions,
    ) -> AttentionGrads<Self>;
}

/// The sizes of one attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    /// Queries, `T`.
    pub length: usize,
    /// Keys, `S`.
    pub seen: usize,
    /// Query heads, `H`.
    pub heads: usize,
    /// Key heads, `K`.
    pub groups: usize,
    /// `head_dim`.
    pub width: usize,
}

impl Sizes {
    /// Those of queries and keys of the given shapes.
    pub fn new(queries: &[usize], keys: &[usize]) -> Self {
        Self {
            batch: queries[0],
            length: queries[1],
            seen: keys[1],
            heads: queries[2],
            groups: keys[2],
            width: queries[3],
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, TensorData};

    use super::*;
    use crate::testing::assert_agreement;

    /// Batch, queries, keys, query heads, key heads, width.
    type Shape = [usize; 6];

    fn agree(
        shape: Shape,
        options: AttentionOptions,
        visibility: &dyn Fn(&burn::tensor::Device) -> Visibility,
    ) {
        let [batch, length, seen, heads, groups, width] = shape;
        let four = |inputs: &[Tensor<2>]| {
            let queries = inputs[0].clone().reshape([batch, length, heads, width]);
            let keys = inputs[1].clone().reshape([batch, seen, groups, width]);
            let values = inputs[2].clone().reshape([batch, seen, groups, width]);
            let visibility = visibility(&inputs[0].device().inner());
            (queries, keys, values, visibility)
        };
        let flat = |output: Tensor<4>| output.reshape([batch * length, heads * width]);
        let keys = [batch * seen, groups * width];
        assert_agreement(
            &format!("attention {shape:?} {options:?}"),
            &[[batch * length, heads * width], keys, keys],
            &|inputs| {
                let (queries, keys, values, visibility) = four(inputs);
                flat(attention(queries, keys, values, &visibility, options))
            },
            &|inputs| {
                let (queries, keys, values, visibility) = four(inputs);
                flat(composed_attention(queries, keys, values, &visibility, options))
            },
        );
    }

    fn options(width: usize, causal: bool, past: usize) -> AttentionOptions {
        AttentionOptions {
            scale: (width as f32).powf(-0.5) * 3.0,
            causal,
            past,
            dropout: None,
        }
    }

    #[test]
    fn dropped_weights_are_those_of_dropout() {
        for (probability, seed) in [(0.1, 3), (0.6, 4)] {
            for (shape, causal) in [([2, 5, 5, 4, 2, 8], true), ([1, 70, 70, 2, 2, 6], false)] {
                let options = AttentionOptions {
                    dropout: Some(AttentionDropout { probability, seed }),
                    ..options(shape[5], causal, 0)
                };
                agree(shape, options, &|_| Visibility::All);
            }
        }
    }

    #[test]
    fn every_shape_agrees_with_the_composition() {
        for shape in [
            [1, 1, 1, 1, 1, 1],
            [2, 3, 3, 1, 1, 5],
            [1, 7, 7, 4, 2, 8],
            [2, 70, 70, 3, 1, 16],
            [1, 130, 130, 2, 2, 4],
        ] {
            for causal in [true, false] {
                agree(shape, options(shape[5], causal, 0), &|_| Visibility::All);
            }
        }
        agree([1, 70, 70, 2, 1, 128], options(128, true, 0), &|_| {
            Visibility::All
        });
    }

    #[test]
    fn queries_behind_a_past_see_it_whole() {
        agree([2, 3, 8, 4, 2, 8], options(8, true, 5), &|_| Visibility::All);
        agree([1, 1, 9, 2, 2, 6], options(6, true, 8), &|_| Visibility::All);
    }

    #[test]
    fn segments_and_padding_hide_keys() {
        let ids = |numbers: [[i64; 6]; 2]| {
            move |device: &burn::tensor::Device| {
                Tensor::<2, Int>::from_data(TensorData::from(numbers), device)
            }
        };
        let segments = ids([[0, 0, 1, 1, 1, 2], [5, 5, 5, 5, 4, 4]]);
        agree([2, 6, 6, 2, 1, 8], options(8, true, 0), &|device| {
            Visibility::Segments(segments(device))
        });
        agree([2, 6, 6, 2, 1, 8], options(8, false, 0), &|device| {
            Visibility::Segments(segments(device))
        });
        let padding = ids([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]]);
        agree([2, 6, 6, 2, 2, 8], options(8, false, 0), &|device| {
            Visibility::Keys(padding(device))
        });
        // The first queries of the second row see no key at all.
        agree([2, 6, 6, 2, 2, 8], options(8, true, 0), &|device| {
            Visibility::Keys(padding(device))
        });
    }
}
