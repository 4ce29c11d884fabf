//! The parts of a training step alone: attention, the head with its loss, the optimizer's step, and a selection.
//!
//! Shape legend: `B` batch, `T` sequence, `H` heads, `N = B T` tokens, `D` width, `V` vocabulary, `P` parameters.
use crate::Work;
use crate::measured::{Measured, Memory, Times, forget_peaks, since};
use anyhow::Result;
use blockllm::model::LossOptions;
use blockllm::model::loss::{HeadWeight, chunked_cross_entropy};
use blockllm::optim::parameters;
use blockllm::prelude::*;
use blockllm::train::{Method, TrainConfig};
use blockllm_kernels::{AttentionOptions, Visibility, largest, with_sum_of_squares};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use std::hint::black_box;
use std::time::Instant;

/// Of a hundred entries this many are selected.
const SELECTED_PERCENT: u64 = 5;

/// Repeats `part` once for the caches and then as often as asked.
fn repeated(
    work: &Work,
    before: Memory,
    weights: u64,
    mut part: impl FnMut() -> Result<Times>,
) -> Result<Measured> {
    part()?;
    forget_peaks();
    let times = (0..work.steps).map(|_| part()).collect::<Result<_>>()?;
    Ok(Measured {
        times,
        memory: before.peaks_above(),
        weights_bytes: weights,
        trained: Vec::new(),
    })
}

/// A scalar's forward pass and the backward pass below it.
fn both_ways(forward: impl Fn() -> Tensor<1>) -> Times {
    let start = Instant::now();
    let loss = forward();
    let forward = since(start);
    let part = Instant::now();
    black_box(loss.backward());
    Times {
        forward,
        backward: since(part),
        optimizer: 0.0,
        whole: since(start),
    }
}

/// Causal attention of one layer, forward and backward.
pub fn attention(work: &Work) -> Measured {
    let before = Memory::now();
    let device = Device::flex().autodiff();
    let heads = work.config.num_attention_heads;
    let width = work.config.hidden_size / heads;
    let shape = [work.batch_size, work.seq_len, heads, width]; // [B, T, H, D / H]
    let drawn = || Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad();
    let [queries, keys, values] = [drawn(), drawn(), drawn()];
    let options = AttentionOptions {
        scale: 1.0 / (width as f32).sqrt(),
        causal: true,
        past: 0,
        dropout: None,
    };
    let forward = || {
        let [queries, keys, values] = [&queries, &keys, &values].map(Clone::clone);
        blockllm_kernels::attention(queries, keys, values, &Visibility::All, options).sum()
    };
    repeated(work, before, 0, || Ok(both_ways(forward))).expect("attention has nothing to refuse")
}

/// The head's product and the cross entropy of its logits, with the gradients of both inputs.
pub fn loss(work: &Work) -> Measured {
    let before = Memory::now();
    let device = Device::flex().autodiff();
    let (tokens, vocab) = (work.batch_size * work.seq_len, work.config.vocab_size);
    let drawn = |shape, deviation| {
        Tensor::<2>::random(shape, Distribution::Normal(0.0, deviation), &device).require_grad()
    };
    let hidden = drawn([tokens, work.config.hidden_size], 1.0); // [N, D]
    let head = drawn([work.config.hidden_size, vocab], 0.02); // [D, V]
    let labels: Vec<i32> = (0..tokens).map(|i| (i * 7919 % vocab) as i32).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [tokens]), &device);
    let forward = || {
        let head = HeadWeight::Columns(head.clone());
        chunked_cross_entropy(hidden.clone(), head, labels.clone(), &LossOptions::default()).loss
    };
    let weights = (work.config.hidden_size * vocab * 4) as u64;
    repeated(work, before, weights, || Ok(both_ways(forward))).expect("the loss has nothing to refuse")
}

/// One step of dense `AdamW` with clipping over all parameters of the model; the gradients are there.
pub fn optimizer(work: &Work) -> Result<Measured> {
    let before = Memory::now();
    let model = work.config.init(0, &Device::flex().autodiff());
    let mut optimizer = Method::adamw().optimizer(&model, &TrainConfig::default())?;
    let mut model = Some(model);
    repeated(work, before, work.config.num_parameters() * 4, || {
        let taken = model.take().expect("the last step gave it back");
        let taken = optimizer.prepare_with(taken, &mut constant_gradients)?;
        // Made anew each time, as by a backward pass: a second owner would keep the step from working in place.
        let gradients = constant_gradients(&taken);
        let start = Instant::now();
        let stepped = optimizer.step(taken, gradients, 1e-3)?;
        let whole = since(start);
        model = Some(stepped.model);
        Ok(Times {
            optimizer: whole,
            whole,
            ..Times::default()
        })
    })
}

/// The norms of all gradients, read back, and the places of the largest entries over all of them.
pub fn selection(work: &Work) -> Result<Measured> {
    let before = Memory::now();
    let device = Device::flex();
    let model = work.config.init(0, &device);
    let entries: Vec<usize> = parameters(&model)
        .iter()
        .map(|parameter| parameter.info.shape.iter().product())
        .collect();
    let drawn = |len: &usize| Tensor::<1>::random([*len], Distribution::Normal(0.0, 1.0), &device);
    let gradients: Vec<_> = entries.iter().map(drawn).collect();
    let budget = work.config.num_parameters() * SELECTED_PERCENT / 100;
    repeated(work, before, work.config.num_parameters() * 4, || {
        let start = Instant::now();
        let mut sums = Tensor::<1>::zeros([gradients.len()], &device); // [P]
        for (slot, gradient) in gradients.iter().enumerate() {
            sums = with_sum_of_squares(sums, slot, gradient.clone());
        }
        black_box(sums.into_data());
        for kept in largest(vec![(gradients.clone(), budget)])? {
            black_box(kept.indices());
        }
        let whole = since(start);
        Ok(Times {
            optimizer: whole,
            whole,
            ..Times::default()
        })
    })
}

/// A small gradient for every parameter.
fn constant_gradients<M: Module>(model: &M) -> GradientsParams {
    struct Constant(GradientsParams);
    impl ModuleVisitor for Constant {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = Tensor::<D>::full(param.lazy_shape(), 1e-3, &Device::flex());
            self.0.register(param.id, gradient);
        }
    }
    let mut visitor = Constant(GradientsParams::new());
    model.visit(&mut visitor);
    visitor.0
}
