//! What block coordinate training asks of the model: parameter names, freezing, determinism, packed documents.

use std::collections::BTreeSet;

use blockllm_model::LossOptions;
use blockllm_model::hf::module::module_tensors;
use blockllm_model::llama::LlamaForCausalLM;
use burn::module::{Module, ParamGroup};
use burn::tensor::{Device, Tensor};

use crate::common::{devices, gradients, ids, max_error, small_config, small_model, some_ids, values};

fn paths(model: &LlamaForCausalLM) -> Vec<String> {
    module_tensors(model, &str::to_owned)
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn parameter_paths_are_hugging_face_keys() {
    let found: BTreeSet<String> = paths(&small_model(&Device::flex())).into_iter().collect();
    let mut expected =
        BTreeSet::from(["model.embed_tokens", "model.norm", "lm_head"].map(|s| format!("{s}.weight")));
    for layer in 0..2 {
        let modules = [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
            "input_layernorm",
            "post_attention_layernorm",
        ];
        expected.extend(modules.map(|module| format!("model.layers.{layer}.{module}.weight")));
    }
    assert_eq!(found, expected);
}

#[test]
fn one_seed_gives_the_same_weights_on_every_backend() {
    let weights = |device: &Device, seed| -> Vec<Vec<f32>> {
        let model = small_config().init(seed, device);
        module_tensors(&model, &str::to_owned)
            .iter()
            .map(|(key, tensor)| tensor.to_f32(key).unwrap())
            .collect()
    };
    let expected = weights(&Device::flex(), 4);
    for (name, device) in devices() {
        assert_eq!(weights(&device, 4), expected, "{name}");
        assert_eq!(weights(&device.autodiff(), 4), expected, "{name} with autodiff");
    }
    assert_ne!(weights(&Device::flex(), 5)[0], expected[0]);
}

#[test]
fn only_the_chosen_block_has_gradients_and_they_equal_those_of_full_training() {
    let device = Device::flex().autodiff();
    let model = small_model(&device);
    let loss = |model: &LlamaForCausalLM| {
        let (ids, labels) = (some_ids(2, 9, 96, 0, &device), some_ids(2, 9, 96, 1, &device));
        model
            .loss(ids, labels, None, &LossOptions::with_chunk_tokens(5))
            .loss
    };
    let all = gradients(&model, &loss(&model).backward());
    assert_eq!(all.len(), paths(&model).len());
    for block in [
        "model.layers.0",
        "model.layers.1",
        "model.embed_tokens",
        "lm_head",
        "model.norm",
    ] {
        let chosen: Vec<String> = all
            .keys()
            .filter(|path| path.starts_with(block))
            .cloned()
            .collect();
        let one = model
            .clone()
            .set_require_grad_group(ParamGroup::all(), false)
            .set_require_grad_group(ParamGroup::from_paths(chosen.clone()), true);
        let found = gradients(&one, &loss(&one).backward());
        assert_eq!(found.keys().cloned().collect::<Vec<_>>(), chosen);
        for (path, (grad, _)) in &found {
            assert!(max_error(grad, &all[path].0) < 1e-6, "{path}");
        }
    }
}

#[test]
fn a_frozen_model_still_computes_its_loss() {
    let device = Device::flex().autodiff();
    let model = small_model(&device);
    let labels = some_ids(1, 6, 96, 1, &device);
    let trained = model.loss(
        some_ids(1, 6, 96, 0, &device),
        labels.clone(),
        None,
        &LossOptions::default(),
    );
    let frozen = model.set_require_grad_group(ParamGroup::all(), false);
    let loss = frozen.loss(
        some_ids(1, 6, 96, 0, &device),
        labels,
        None,
        &LossOptions::default(),
    );
    assert_eq!(values(loss.loss), values(trained.loss));
}

#[test]
fn gradient_checkpointing_changes_no_gradient() {
    let plain = Device::flex().autodiff();
    let thrifty = Device::flex().autodiff().gradient_checkpointing();
    let grads = [plain, thrifty].map(|device| {
        let model = small_model(&device);
        let (ids, labels) = (some_ids(2, 9, 96, 0, &device), some_ids(2, 9, 96, 1, &device));
        let loss = model
            .loss(ids, labels, None, &LossOptions::with_chunk_tokens(5))
            .loss;
        gradients(&model, &loss.backward())
    });
    for (path, (grad, _)) in &grads[0] {
        assert!(max_error(grad, &grads[1][path].0) < 1e-6, "{path}");
    }
}

#[test]
fn a_model_survives_the_way_from_training_to_evaluation_and_back() {
    let device = Device::flex().autodiff();
    let model = small_model(&device);
    let tokens = || some_ids(1, 7, 96, 0, &Device::flex());
    let expected = values(model.forward(tokens()));
    let valid = model.valid();
    let logits = valid.forward(tokens());
    assert!(!logits.is_autodiff());
    // Outside autodiff the backends fuse some operations, so the last bits may differ.
    assert!(max_error(&values(logits), &expected) < 1e-5);
    let again = valid.train();
    let loss = again.loss(tokens(), tokens(), None, &LossOptions::default()).loss;
    assert_eq!(gradients(&again, &loss.backward()).len(), paths(&again).len());
}

#[test]
fn packed_documents_do_not_see_each_other() {
    for (name, device) in devices() {
        let model = small_model(&device);
        let packed = ids([[3, 14, 15, 9, 26, 5, 35]], &device);
        let segments = ids([[0, 0, 0, 1, 1, 1, 1]], &device);
        let hidden = values(model.hidden_states(packed.clone(), Some(segments)));
        let alone = |from: usize, length: usize| -> Tensor<3> {
            model.hidden_states(packed.clone().narrow(1, from, length), None)
        };
        let expected = [values(alone(0, 3)), values(alone(3, 4))].concat();
        let error = max_error(&hidden, &expected);
        assert!(error < 1e-5, "{name}: {error}");
        let mixed = values(model.hidden_states(packed.clone(), None));
        assert!(
            max_error(&mixed, &expected) > 1e-2,
            "{name}: without segments they do see each other"
        );
    }
}
