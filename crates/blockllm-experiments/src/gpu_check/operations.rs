//! The fused operations that a GPU is tried on, and the shapes: odd widths, several cubes, rows longer than a cube.
//!
//! The update rules, norms of gradients and masks are tried by training steps instead.
use blockllm_kernels::{
    AttentionDropout, AttentionOptions, CODE_WORDS, Coding, FusedRule, NormalisedStep, Rounding, StateArray,
    Stay, Trained, TrainedEntries, UpdateStep, Visibility, attention, code_blocks, decayed_sum, dropout,
    embedding, gelu, layer_norm, linear, normalised_update, rms_norm, rotary, swiglu, update,
};
use blockllm_model::LossOptions;
use blockllm_model::loss::{HeadWeight, chunked_cross_entropy};
use burn::tensor::{DType, Int, Tensor};

/// An operation on matrices, and the shapes it is tried on.
pub(super) struct Operation {
    pub name: &'static str,
    pub shapes: &'static [&'static [[usize; 2]]],
    pub run: fn(&[Tensor<2>]) -> Tensor<2>,
}

/// All operations that have gradients, and two updates that no training step here makes as they are with larger models.
pub(super) const OPERATIONS: [Operation; 14] = [
    Operation {
        name: "swiglu",
        shapes: &[
            &[[1, 1], [1, 1]],
            &[[33, 65], [33, 65]],
            &[[512, 1376], [512, 1376]],
        ],
        run: |inputs| swiglu(inputs[0].clone(), inputs[1].clone()),
    },
    Operation {
        name: "gelu",
        shapes: &[&[[1, 1]], &[[33, 65]], &[[512, 1376]]],
        run: |inputs| gelu(inputs[0].clone() * 4.0),
    },
    Operation {
        name: "rms_norm",
        shapes: &[
            &[[1, 1], [1, 1]],
            &[[70, 33], [1, 33]],
            &[[513, 768], [1, 768]],
            &[[9, 5000], [1, 5000]],
        ],
        run: |inputs| rms_norm(inputs[0].clone(), row(&inputs[1]), 1e-5),
    },
    Operation {
        name: "layer_norm",
        shapes: &[
            &[[70, 33], [1, 33], [1, 33]],
            &[[513, 768], [1, 768], [1, 768]],
            &[[9, 5000], [1, 5000], [1, 5000]],
        ],
        run: |inputs| layer_norm(inputs[0].clone(), row(&inputs[1]), row(&inputs[2]), 1e-5),
    },
    Operation {
        name: "linear",
        shapes: &[&[[5, 3], [3, 2], [1, 2]], &[[130, 257], [257, 65], [1, 65]]],
        run: |inputs| linear(inputs[0].clone(), inputs[1].clone(), Some(row(&inputs[2]))),
    },
    Operation {
        name: "dropout",
        shapes: &[&[[33, 65]], &[[512, 1376]]],
        run: |inputs| dropout(inputs[0].clone() * 2.0, 0.3, 11),
    },
    Operation {
        name: "embedding",
        shapes: &[&[[7, 5]], &[[300, 768]]],
        run: |inputs| {
            let ([rows, width], device) = (inputs[0].dims(), inputs[0].device().inner());
            let ids = Tensor::<1, Int>::arange(0..700, &device).remainder_scalar(rows as i64);
            embedding(inputs[0].clone(), ids.reshape([2, 350])).reshape([700, width])
        },
    },
    Operation {
        name: "rotary",
        shapes: &[&[[6, 8]], &[[140, 256]]],
        run: |inputs| {
            let [rows, width] = inputs[0].dims();
            let tables = inputs[0].clone().inner().cast(burn::tensor::DType::F32);
            let tables = tables.narrow(0, 0, rows / 2).narrow(1, 0, width / 4);
            let heads = (inputs[0].clone() * 2.0).reshape([2, rows / 2, 2, width / 2]);
            rotary(heads, tables.clone().cos(), tables.sin()).reshape([rows, width])
        },
    },
    Operation {
        name: "attention, causal",
        shapes: &[
            &[[14, 32], [14, 16], [14, 16]],
            &[[260, 256], [260, 128], [260, 128]],
        ],
        run: |inputs| attend(inputs, true, None),
    },
    Operation {
        name: "attention",
        shapes: &[
            &[[14, 32], [14, 16], [14, 16]],
            &[[260, 256], [260, 128], [260, 128]],
        ],
        run: |inputs| attend(inputs, false, None),
    },
    Operation {
        name: "attention with dropout",
        shapes: &[&[[14, 32], [14, 16], [14, 16]]],
        run: |inputs| {
            let dropped = AttentionDropout {
                probability: 0.2,
                seed: 5,
            };
            attend(inputs, true, Some(dropped))
        },
    },
    Operation {
        name: "the head and cross entropy, in chunks",
        shapes: &[&[[13, 16], [16, 70]], &[[70, 256], [256, 2000]]],
        run: |inputs| {
            let ([tokens, _], [_, vocabulary]) = (inputs[0].dims(), inputs[1].dims());
            let device = inputs[0].device().inner();
            let labels =
                Tensor::<1, Int>::arange(0..tokens as i64, &device).remainder_scalar(vocabulary as i64);
            let head = HeadWeight::Columns(inputs[1].clone());
            let options = LossOptions::with_chunk_tokens(11);
            let loss = chunked_cross_entropy(inputs[0].clone(), head, labels, &options).loss;
            loss.cast(inputs[0].dtype()).reshape([1, 1])
        },
    },
    Operation {
        name: "the update of 8-bit state",
        shapes: &[&[[33, 65], [33, 65]], &[[512, 1376], [512, 1376]]],
        run: |inputs| beside(inputs, coded_steps),
    },
    Operation {
        name: "normalised SGD",
        shapes: &[
            &[[33, 1], [33, 1]],
            &[[33, 65], [33, 65]],
            &[[512, 1376], [512, 1376]],
        ],
        run: |inputs| beside(inputs, normalised_steps),
    },
];

/// `[1, D]` as `[D]`.
fn row(matrix: &Tensor<2>) -> Tensor<1> {
    let [_, width] = matrix.dims();
    matrix.clone().reshape([width])
}

/// Two rows of the batch, four query heads, two key heads.
fn attend(inputs: &[Tensor<2>], causal: bool, dropout: Option<AttentionDropout>) -> Tensor<2> {
    let [rows, width] = inputs[0].dims();
    let heads = |input: &Tensor<2>, heads: usize| input.clone().reshape([2, rows / 2, heads, width / 4]);
    let options = AttentionOptions {
        scale: (width as f32 / 4.0).powf(-0.5),
        causal,
        past: 0,
        dropout,
    };
    let (queries, keys, values) = (heads(&inputs[0], 4), heads(&inputs[1], 2), heads(&inputs[2], 2));
    attention(queries, keys, values, &Visibility::All, options).reshape([rows, width])
}

/// What `steps` make of the first matrix with the second as gradient, flat; added to both, so that both have gradients.
fn beside(inputs: &[Tensor<2>], steps: fn(Tensor<1>, &Tensor<1>, usize) -> Tensor<1>) -> Tensor<2> {
    let [rows, columns] = inputs[0].dims();
    let flat = |input: &Tensor<2>| input.clone().inner().reshape([rows * columns]);
    let moved = steps(flat(&inputs[0]), &flat(&inputs[1]), columns).reshape([rows, columns]);
    Tensor::from_inner(moved) + inputs[0].clone() + inputs[1].clone()
}

/// Two steps of AdamW from zeros.
fn coded_steps(weight: Tensor<1>, gradient: &Tensor<1>, _: usize) -> Tensor<1> {
    let (len, device) = (weight.dims()[0], weight.device());
    let zeros = |word: i32| StateArray::Int8 {
        words: Tensor::full([code_blocks(len) * CODE_WORDS], word, (&device, DType::I32)),
        scales: Tensor::full([code_blocks(len)], 1e-30, (&device, DType::F32)),
    };
    let mut trained = Trained {
        weight,
        // Zero is code 128 of a signed array.
        state: vec![zeros(i32::from_le_bytes([128; 4])), zeros(0)],
        master: None,
    };
    for state_step in 1..3 {
        let step = UpdateStep {
            rule: FusedRule::AdamW {
                beta_1: 0.9,
                beta_2: 0.999,
                epsilon: 1e-3,
                weight_decay: 0.1,
            },
            learning_rate: 1e-3,
            state_step,
            rounding: Rounding::Nearest,
            codings: [0, 1].map(|array| Coding::of_step(array == 1, state_step, array)),
        };
        trained = update(trained, gradient.clone(), None, TrainedEntries::All, step);
    }
    trained.weight
}

/// Two steps along a momentum.
fn normalised_steps(weight: Tensor<1>, gradient: &Tensor<1>, columns: usize) -> Tensor<1> {
    let step = NormalisedStep {
        columns,
        learning_rate: 1e-2,
        rounding: Rounding::Nearest,
    };
    let kept = Tensor::full([weight.dims()[0]], 0.0, (&weight.device(), DType::F32));
    let kept = decayed_sum(kept, gradient.clone(), 0.9);
    let weight = normalised_update(weight, kept.clone(), Stay::None, step);
    normalised_update(weight, decayed_sum(kept, gradient.clone(), 0.9), Stay::None, step)
}
