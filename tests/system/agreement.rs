//! flex and wgpu agree: logits, loss, every gradient, and three `BlockLLM` steps with a selection in between.
use crate::batches::packed_row;
use crate::training::tiny_llama;
use crate::weights::{Numbers, changed, gradients, max_error, values, weights, worst};
use blockllm::data::LmBatch;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::prelude::*;
use blockllm::train::{LanguageModeling, Objective};
use burn::tensor::{Device, DeviceKind, Int, Tensor, TensorData};
use std::collections::{BTreeMap, BTreeSet};

/// Both sum in f32 but in another order: some thirty units in the last place of values around 1.
const TOLERANCE: f32 = 4e-6;

fn packed() -> LmBatch {
    let rows = vec![packed_row(&[5, 1, 6], 3), packed_row(&[12], 8)];
    LmBatch::from_rows(rows, 12)
}

fn on_both<T>(compute: impl Fn(&Device) -> T) -> [T; 2] {
    [Device::flex(), Device::wgpu(DeviceKind::DefaultDevice)].map(|device| compute(&device.autodiff()))
}

fn upload(ids: &[i32], batch: &LmBatch, device: &Device) -> Tensor<2, Int> {
    let shape = [batch.batch_size, batch.seq_len];
    Tensor::from_data(TensorData::new(ids.to_vec(), shape), device)
}

#[test]
fn flex_and_wgpu_agree_on_the_logits_of_packed_documents() {
    let batch = packed();
    let [flex, wgpu] = on_both(|device| {
        let model = tiny_llama().init(1, device);
        let ids = upload(&batch.input_ids, &batch, device);
        let segments = upload(batch.segment_ids.as_ref().unwrap(), &batch, device);
        values(model.logits(model.hidden_states(ids, Some(segments))))
    });
    let largest = flex
        .iter()
        .fold(0.0, |largest: f32, value| largest.max(value.abs()));
    assert!(largest > 1.0, "logits this small compare nothing: {largest}");
    let error = max_error(&wgpu, &flex);
    assert!(
        error < TOLERANCE * largest,
        "{error} beside logits up to {largest}"
    );
}

#[test]
fn flex_and_wgpu_agree_on_the_loss_and_on_every_gradient() {
    let batch = packed();
    let [(flex_loss, flex), (wgpu_loss, wgpu)] = on_both(|device| {
        let model = tiny_llama().init(1, device);
        let loss = LanguageModeling::default().loss(&model, &batch, device);
        let of_all = GradientsParams::from_grads(loss.backward(), &model);
        (values(loss), gradients(&model, &of_all))
    });
    assert!(
        max_error(&wgpu_loss, &flex_loss) < TOLERANCE * flex_loss[0],
        "{flex_loss:?} {wgpu_loss:?}"
    );
    let parameters = weights(&tiny_llama().init(1, &Device::flex()));
    assert!(flex.keys().eq(parameters.keys()), "a parameter has no gradient");
    for (path, expected) in &flex {
        let largest = expected
            .iter()
            .fold(0.0, |largest: f32, value| largest.max(value.abs()));
        assert!(
            largest > 1e-4,
            "{path}: gradients up to {largest} compare nothing"
        );
        // An entry is a sum of products as large as the largest entry, and errs as that does.
        let error = max_error(&wgpu[path], expected);
        assert!(
            error < 4.0 * TOLERANCE * largest,
            "{path}: {error} beside gradients up to {largest}"
        );
    }
}

/// What three steps did.
struct ThreeSteps {
    /// Entries that every mask keeps.
    budget: usize,
    /// Blocks trained in each step.
    selected: Vec<Vec<String>>,
    /// Entries that each step changed: the mask, as it can be seen from outside.
    changed: Vec<BTreeMap<String, BTreeSet<usize>>>,
    weights: Numbers,
}

/// Selects before the first step and, asked to, before the third.
fn three_steps(device: &Device) -> ThreeSteps {
    let batch = packed();
    let loss_of = |model: &LlamaForCausalLM| LanguageModeling::default().loss(model, &batch, device);
    let mut model = tiny_llama().init(1, device);
    // Tokens that the batch lacks give their embeddings gradients of zero, and zeros tie for a place in the mask.
    let roles = Roles {
        always: vec![],
        never: vec!["embed_tokens".into()],
    };
    let config = BlockOptimizerConfig::new(0.8)
        .with_roles(roles)
        .with_max_grad_norm(Some(1.0));
    let mut optimizer = BlockOptimizer::new(&model, config, BlockLlmPolicy::default()).unwrap();
    let mut done = ThreeSteps {
        budget: optimizer.selector().budget().trained_entries() as usize,
        selected: Vec::new(),
        changed: Vec::new(),
        weights: weights(&model),
    };
    for step in 1..=3 {
        if step == 3 {
            optimizer.request_selection();
        }
        model = optimizer.prepare(model, loss_of).unwrap();
        let loss = loss_of(&model);
        let of_step = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(model, of_step, 1e-2).unwrap().model;
        optimizer.observe(loss.into_scalar::<f32>()).unwrap();
        let after = weights(&model);
        done.selected.push(
            optimizer
                .selected_blocks()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        );
        done.changed.push(changed(&done.weights, &after));
        done.weights = after;
    }
    done
}

#[test]
fn flex_and_wgpu_agree_on_the_blocks_masks_and_weights_of_three_steps() {
    let [flex, wgpu] = on_both(three_steps);
    assert_eq!(wgpu.selected, flex.selected);
    assert_ne!(
        flex.selected[1], flex.selected[2],
        "the third step has a selection of its own"
    );
    assert_eq!(wgpu.changed, flex.changed);
    for changed in &flex.changed {
        let entries = changed.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(entries, flex.budget, "every entry of the mask is seen to change");
    }
    // Each step moves an entry by up to 1e-2 x 3; Adam divides gradients that err by TOLERANCE by their own size.
    let (path, error) = worst(&wgpu.weights, &flex.weights);
    assert!(error < 1e-5, "{path}: {error}");
}
