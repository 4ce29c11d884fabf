//! The chunked loss against plain cross entropy by autodiff: value and gradients, whatever is trained.

use blockllm_model::loss::{HeadWeight, chunked_cross_entropy};
use blockllm_model::{IGNORE_INDEX, LossOptions};
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::common::{devices, max_error, small_model, some_ids, values};

const TOKENS: usize = 11;
const WIDTH: usize = 8;
const VOCAB: usize = 23;

fn labels(device: &Device) -> Tensor<1, Int> {
    let label = |i: usize| {
        if i % 4 == 1 {
            IGNORE_INDEX as i32
        } else {
            (i * 5 % VOCAB) as i32
        }
    };
    let labels: Vec<i32> = (0..TOKENS).map(label).collect();
    Tensor::from_data(TensorData::new(labels, [TOKENS]), device)
}

/// Mean cross entropy over counted labels by plain tensor operations.
fn plain(hidden: Tensor<2>, columns: Tensor<2>, device: &Device) -> Tensor<1> {
    let counted = labels(device).not_equal_elem(IGNORE_INDEX).float();
    let log_probs = log_softmax(hidden.matmul(columns), 1);
    let picked = log_probs
        .gather(1, labels(device).clamp_min(0).unsqueeze_dim(1))
        .squeeze_dim::<1>(1);
    -(picked * counted.clone()).sum() / counted.sum()
}

/// Two leaves with the same numbers on every call: hidden states and head.
fn leaves(tied: bool, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let wave = |rows: usize, columns: usize, pace: f32| {
        let values: Vec<f32> = (0..rows * columns)
            .map(|i| (i as f32 * pace).sin() * 1.5)
            .collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), device)
    };
    let head = wave(WIDTH, VOCAB, 0.71);
    let head = if tied {
        Tensor::from_data(head.transpose().into_data(), device)
    } else {
        head
    };
    (wave(TOKENS, WIDTH, 1.3), head)
}

fn head_of(tied: bool, weight: Tensor<2>) -> HeadWeight {
    if tied {
        HeadWeight::Rows(weight)
    } else {
        HeadWeight::Columns(weight)
    }
}

#[test]
fn value_and_gradients_equal_plain_autodiff_for_every_chunk_size_and_layout() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for (tied, chunk) in [(false, 1), (false, 4), (true, 4), (true, 100), (false, 11)] {
            let (hidden, head) = leaves(tied, &device);
            let (hidden, head) = (hidden.require_grad(), head.require_grad());
            let columns = if tied {
                head.clone().transpose()
            } else {
                head.clone()
            };
            let expected = plain(hidden.clone(), columns, &device) * 3.0;
            let expected_grads = expected.backward();

            let options = LossOptions::with_chunk_tokens(chunk);
            let found = chunked_cross_entropy(
                hidden.clone(),
                head_of(tied, head.clone()),
                labels(&device),
                &options,
            );
            // The loss must stay linear: gradient accumulation scales it.
            let loss = found.loss * 3.0;
            let grads = loss.backward();
            assert!(max_error(&values(loss), &values(expected)) < 1e-5, "{name}");
            for leaf in [hidden, head] {
                let [found, expected] =
                    [&grads, &expected_grads].map(|grads| values(leaf.grad(grads).unwrap()));
                assert!(
                    max_error(&found, &expected) < 1e-5,
                    "{name} tied {tied} chunk {chunk}"
                );
            }
            let count = values(found.count)[0];
            assert_eq!(count as usize, (0..TOKENS).filter(|i| i % 4 != 1).count());
            assert!(!found.sum.is_autodiff());
        }
    }
}

#[test]
fn a_frozen_head_or_frozen_layers_leave_the_other_gradient_alone() {
    let device = Device::flex().autodiff();
    for (train_hidden, train_head) in [(true, false), (false, true)] {
        let (hidden, head) = leaves(false, &device);
        let (hidden, head) = (
            hidden.set_require_grad(train_hidden),
            head.set_require_grad(train_head),
        );
        let expected = plain(hidden.clone(), head.clone(), &device).backward();
        let options = LossOptions::with_chunk_tokens(4);
        let loss = chunked_cross_entropy(
            hidden.clone(),
            HeadWeight::Columns(head.clone()),
            labels(&device),
            &options,
        );
        let found = loss.loss.backward();
        for (leaf, trained) in [(hidden, train_hidden), (head, train_head)] {
            assert_eq!(leaf.grad(&found).is_some(), trained);
            if let (Some(found), Some(expected)) = (leaf.grad(&found), leaf.grad(&expected)) {
                assert!(max_error(&values(found), &values(expected)) < 1e-5);
            }
        }
    }
}

#[test]
fn evaluation_without_autodiff_gives_the_same_number() {
    let plain_device = Device::flex();
    let (hidden, head) = leaves(false, &plain_device);
    let options = LossOptions::with_chunk_tokens(4);
    let found = chunked_cross_entropy(
        hidden.clone(),
        HeadWeight::Columns(head.clone()),
        labels(&plain_device),
        &options,
    );
    assert!(!found.loss.is_autodiff());
    let expected = values(plain(hidden, head, &plain_device));
    assert!(max_error(&values(found.loss), &expected) < 1e-5);
    assert!(max_error(&values(found.sum / found.count), &expected) < 1e-5);
}

#[test]
fn labels_that_never_count_give_zero_and_no_nan() {
    let device = Device::flex().autodiff();
    let (hidden, head) = leaves(false, &device);
    let hidden = hidden.require_grad();
    let labels = Tensor::<1, Int>::full([TOKENS], IGNORE_INDEX, &device);
    let found = chunked_cross_entropy(
        hidden.clone(),
        HeadWeight::Columns(head),
        labels,
        &LossOptions::default(),
    );
    let grads = found.loss.backward();
    assert_eq!(values(found.loss), [0.0]);
    assert!(
        values(hidden.grad(&grads).unwrap())
            .iter()
            .all(|grad| *grad == 0.0)
    );
}

#[test]
fn statistics_stay_in_f32_for_bf16_weights() {
    let device = Device::flex().autodiff();
    let (hidden, head) = leaves(false, &device);
    let rounded = |tensor: Tensor<2>| tensor.inner().cast(DType::BF16);
    let lifted = |tensor: Tensor<2>| Tensor::from_inner(tensor).require_grad();
    let (hidden, head) = (lifted(rounded(hidden)), lifted(rounded(head)));
    let found = chunked_cross_entropy(
        hidden.clone(),
        HeadWeight::Columns(head.clone()),
        labels(&device),
        &LossOptions::with_chunk_tokens(4),
    );
    let grads = found.loss.backward();
    assert_eq!(found.sum.dtype(), DType::F32);
    assert_eq!(head.grad(&grads).unwrap().dtype(), DType::BF16);
    let wide = |tensor: Tensor<2>| tensor.inner().cast(DType::F32);
    let expected = plain(wide(hidden), wide(head), &Device::flex());
    assert!(max_error(&values(found.loss), &values(expected)) < 3e-2);
}

#[test]
fn the_loss_of_a_model_equals_that_of_its_logits() {
    let device = Device::flex();
    let model = small_model(&device);
    let (ids, labels) = (some_ids(2, 9, 96, 0, &device), some_ids(2, 9, 96, 1, &device));
    let log_probs = log_softmax(model.forward(ids.clone()), 2);
    let expected = values(-log_probs.gather(2, labels.clone().unsqueeze_dim(2)).mean());
    let found = model.loss(ids, labels, None, &LossOptions::with_chunk_tokens(5));
    assert!(max_error(&values(found.loss), &expected) < 1e-5);
}

#[test]
fn the_gradient_of_a_half_precision_head_is_as_near_with_many_chunks_as_with_one() {
    for (name, device) in devices() {
        if !device.supports_dtype(DType::BF16) {
            continue;
        }
        let device = device.autodiff();
        let tokens = 1024;
        let hidden: Vec<f32> = (0..tokens * WIDTH)
            .map(|i| 1.0 + (i as f32 * 1.3).sin() * 0.2)
            .collect();
        let labels: Vec<i32> = vec![3; tokens];
        let gradient = |dtype: DType, chunk: usize| {
            let hidden = TensorData::new(hidden.clone(), [tokens, WIDTH]);
            let hidden = Tensor::<2>::from_data(hidden, &device).cast(dtype);
            let head = Tensor::<2>::zeros([WIDTH, VOCAB], &device)
                .cast(dtype)
                .detach()
                .require_grad();
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels.clone(), [tokens]), &device);
            let options = LossOptions::with_chunk_tokens(chunk);
            let loss =
                chunked_cross_entropy(hidden, HeadWeight::Columns(head.clone()), labels, &options).loss;
            values(head.grad(&loss.backward()).unwrap())
        };
        let expected = gradient(DType::F32, tokens);
        // One rounding of the sum; adding 1,024 times in bf16 would stop at 256 times a chunk's share.
        let worst = expected
            .iter()
            .fold(0.0_f32, |worst, value| worst.max(value.abs()));
        for chunk in [tokens, 1] {
            let error = max_error(&gradient(DType::BF16, chunk), &expected);
            assert!(
                error < worst * 0.01,
                "{name}, chunks of {chunk}: {error} of {worst}"
            );
        }
    }
}
