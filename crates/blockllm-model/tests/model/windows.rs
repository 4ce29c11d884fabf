//! Texts longer than a sliding window against what the window says, against texts alone, and against texts computed at once.

use std::collections::BTreeMap;
use std::convert::Infallible;

use blockllm_backward::GradientsParams;
use blockllm_model::LossOptions;
use blockllm_model::hf::{WeightDtype, load_pretrained, save_pretrained};
use blockllm_model::llama::{
    GenerateConfig, Generator, KvCache, LayerType, LlamaConfig, LlamaFamily, LlamaForCausalLM,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::common::{fixture, gradients, max_error, small_config, some_ids, values};

/// What rotations at other positions may change of numbers about as large as one; a token too many or too few changes far more.
const TOLERANCE: f32 = 5e-5;

/// A Mistral, both of whose layers have a window of that many tokens.
fn mistral(window: usize) -> LlamaConfig {
    LlamaConfig {
        family: LlamaFamily::Mistral,
        sliding_window: Some(window),
        ..small_config()
    }
}

/// A Qwen2 whose lower layer has a window of that many tokens.
fn qwen2(window: usize) -> LlamaConfig {
    LlamaConfig {
        family: LlamaFamily::Qwen2,
        attention_bias: true,
        sliding_window: Some(window),
        layer_types: Some(vec![LayerType::SlidingAttention, LayerType::FullAttention]),
        ..small_config()
    }
}

/// A row of tokens.
fn row(tokens: &[i32], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(tokens.to_vec(), [1, tokens.len()]), device)
}

/// `length` tokens, no two neighbours alike.
fn text(length: usize) -> Vec<i32> {
    (0..length).map(|i| ((i * 37 + i * i * 7) % 96) as i32).collect()
}

/// The largest difference at every token of hidden states, `[1, T, D]`.
fn differences(one: Tensor<3>, other: Tensor<3>) -> Vec<f32> {
    let [_, length, width] = one.dims();
    let (one, other) = (values(one), values(other));
    (0..length)
        .map(|token| token * width..(token + 1) * width)
        .map(|part| max_error(&one[part.clone()], &other[part]))
        .collect()
}

#[test]
fn a_text_no_longer_than_the_window_has_the_bits_that_it_has_without_one() {
    let device = Device::flex().autodiff();
    let of = |window: Option<usize>, length: usize| {
        let config = LlamaConfig {
            sliding_window: window,
            ..mistral(9)
        };
        let model = config.init(11, &device);
        let (ids, labels) = (
            some_ids(2, length, 96, 0, &device),
            some_ids(2, length, 96, 1, &device),
        );
        let loss = model
            .loss(ids.clone(), labels, None, &LossOptions::default())
            .loss;
        let found = gradients(&model, &loss.backward());
        let plain = model.valid();
        let mut text = Generator::new(&plain);
        text.push(&[7, 1, 80, 4, 4, 31, 2]).unwrap();
        for _ in 7..length {
            text.push(&[9]).unwrap();
            text.next_logits().unwrap();
        }
        (values(model.forward(ids)), found, text.next_logits().unwrap())
    };
    assert_eq!(of(Some(9), 9), of(None, 9));
    let (logits, found, cached) = of(Some(9), 10);
    let (free, expected, free_cached) = of(None, 10);
    assert!(max_error(&logits, &free) > 1e-2 && max_error(&cached, &free_cached) > 1e-2);
    let path = "model.layers.0.self_attn.v_proj.weight";
    assert!(max_error(&found[path].0, &expected[path].0) > 1e-5);
}

#[test]
fn a_token_reaches_as_far_as_the_windows_of_all_layers_together() {
    let device = Device::flex();
    let (window, changed) = (4, 3);
    let mut other = text(24);
    other[changed] = 95 - other[changed];
    let [one, other] = [text(24), other].map(|tokens| row(&tokens, &device));
    let model = mistral(window).init(11, &device);
    let found = differences(
        model.hidden_states(one.clone(), None),
        model.hidden_states(other.clone(), None),
    );
    // Each of the two layers carries it three tokens on.
    let last = changed + 2 * (window - 1);
    for (token, difference) in found.iter().enumerate() {
        if (changed..=last).contains(&token) {
            assert!(*difference > 1e-4, "{token} sees it: {difference}");
        } else {
            assert!(*difference < 1e-6, "{token} does not: {difference}");
        }
    }
    // Where a layer sees everything, no token is too far.
    let model = qwen2(window).init(11, &device);
    let found = differences(model.hidden_states(one, None), model.hidden_states(other, None));
    assert!(
        found[changed..].iter().all(|difference| *difference > 1e-6),
        "{found:?}"
    );
}

#[test]
fn packed_documents_longer_than_the_window_have_loss_and_gradients_of_each_alone() {
    let device = Device::flex().autodiff();
    let lengths = [11, 13, 2];
    let segments = row(&[vec![4; 11], vec![1; 13], vec![2; 2]].concat(), &device);
    for config in [mistral(4), qwen2(4)] {
        let model = config.init(11, &device);
        let (ids, labels) = (some_ids(1, 26, 96, 0, &device), some_ids(1, 26, 96, 1, &device));
        let hidden = values(model.hidden_states(ids.clone(), Some(segments.clone())));
        let loss = |ids: Tensor<2, Int>, labels: Tensor<2, Int>, segments: Option<Tensor<2, Int>>| {
            model.loss(ids, labels, segments, &LossOptions::default()).loss
        };
        let packed = loss(ids.clone(), labels.clone(), Some(segments.clone()));
        let (mut from, mut alone) = (0, Vec::new());
        let mut sum: Option<Tensor<1>> = None;
        for length in lengths {
            let [ids, labels] = [&ids, &labels].map(|of| of.clone().narrow(1, from, length));
            alone.extend(values(model.hidden_states(ids.clone(), None)));
            let part = loss(ids, labels, None) * (length as f64 / 26.0);
            sum = Some(match sum {
                None => part,
                Some(sum) => sum + part,
            });
            from += length;
        }
        let sum = sum.unwrap();
        assert!(max_error(&hidden, &alone) < TOLERANCE);
        assert!(max_error(&values(packed.clone()), &values(sum.clone())) < TOLERANCE);
        let found = gradients(&model, &packed.backward());
        let expected = gradients(&model, &sum.backward());
        assert_eq!(found.len(), expected.len());
        for (path, (grad, _)) in &found {
            let error = max_error(grad, &expected[path].0);
            assert!(error < 1e-4, "{path}: {error}");
        }
        let mixed = values(model.hidden_states(ids, None));
        assert!(
            max_error(&mixed, &hidden) > 1e-2,
            "without segments they see each other"
        );
    }
}

#[test]
fn padding_on_either_side_of_a_text_longer_than_the_window_changes_nothing() {
    let device = Device::flex();
    for config in [mistral(4), qwen2(4)] {
        let model = config.init_classifier(3, 11, &device);
        let alone = values(model.forward(row(&text(11), &device), None));
        for left in [0, 2, 5] {
            let padded = [vec![0; left], text(11), vec![0; 5 - left]].concat();
            let mask = [vec![0; left], vec![1; 11], vec![0; 5 - left]].concat();
            let found = model.forward(row(&padded, &device), Some(row(&mask, &device)));
            let error = max_error(&values(found), &alone);
            assert!(error < TOLERANCE, "{left} on the left: {error}");
        }
    }
}

/// The gradients of parameters, by path, as a pass through layers hands them over.
struct Reader<'a> {
    path: Vec<String>,
    gradients: &'a GradientsParams,
    found: &'a mut BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.found.insert(self.path.join("."), values(gradient));
        }
    }
}

#[test]
fn layer_by_layer_and_with_checkpoints_the_gradients_are_those_of_the_whole_pass() {
    let plain = Device::flex().autodiff();
    let thrifty = Device::flex().autodiff().gradient_checkpointing();
    let options = LossOptions::with_chunk_tokens(9);
    for config in [mistral(4), qwen2(4)] {
        let [(loss, expected), (_, checkpointed)] = [&plain, &thrifty].map(|device| {
            let model = config.init(11, device);
            let (ids, labels) = (some_ids(2, 21, 96, 0, device), some_ids(2, 21, 96, 1, device));
            let loss = model.loss(ids, labels, None, &options).loss;
            (values(loss.clone()), gradients(&model, &loss.backward()))
        });
        let model = config.init(11, &plain);
        let (ids, labels) = (some_ids(2, 21, 96, 0, &plain), some_ids(2, 21, 96, 1, &plain));
        let mut by_layers = BTreeMap::new();
        let stack = model.stack(ids, labels, None, options);
        let (_, again) = stack
            .backward(model, |model, gradients| {
                let mut reader = Reader {
                    path: Vec::new(),
                    gradients: &gradients,
                    found: &mut by_layers,
                };
                model.visit(&mut reader);
                Ok::<_, Infallible>(model)
            })
            .unwrap();
        assert!(max_error(&values(again), &loss) < 1e-5);
        assert_eq!(expected.len(), by_layers.len());
        for (path, (grad, _)) in &expected {
            assert!(max_error(grad, &by_layers[path]) < 1e-5, "{path} layer by layer");
            assert!(
                max_error(grad, &checkpointed[path].0) < 1e-5,
                "{path} with checkpoints"
            );
        }
    }
}

/// The logits after the last of `tokens`, without a cache.
fn last_logits(model: &LlamaForCausalLM, tokens: &[u32]) -> Vec<f32> {
    let tokens: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
    let logits = model.forward(row(&tokens, &Device::flex()));
    values(logits.narrow(1, tokens.len() - 1, 1))
}

#[test]
fn a_text_that_grows_by_any_number_of_tokens_is_the_one_computed_at_once() {
    for config in [mistral(5), qwen2(5), mistral(1)] {
        let model = config.init(11, &Device::flex());
        let mut text = Generator::new(&model);
        let mut next = 3;
        for (round, count) in [3, 9, 1, 1, 7, 2, 1, 5, 1].into_iter().enumerate() {
            let tokens: Vec<u32> = (0..count).map(|i| (next + i * 11) % 96).collect();
            next = (next * 5 + 1) % 96;
            text.push(&tokens).unwrap();
            let logits = text.next_logits().unwrap();
            let error = max_error(&logits, &last_logits(&model, text.tokens()));
            assert!(error < TOLERANCE, "round {round}: {error}");
            if round == 5 {
                text.truncate(14); // within what a window has gone past
            }
        }
    }
}

#[test]
fn tokens_between_padding_see_as_many_of_their_text_as_alone() {
    let device = Device::flex();
    let window = 4;
    for config in [mistral(window), qwen2(window)] {
        let model = config.init(11, &device);
        let mut cache = KvCache::new(2, 2);
        let mut texts: [Vec<i32>; 2] = [Vec::new(), Vec::new()];
        // New tokens of either row; shorter ones are padded on their left, and that stays in the cache.
        for counts in [[6, 2], [3, 7], [1, 1], [2, 5], [1, 1], [4, 1]] {
            let length = counts[0].max(counts[1]);
            let mut ids: Vec<i32> = Vec::new();
            for (row, count) in counts.into_iter().enumerate() {
                let from = texts[row].len();
                let new = (from..from + count).map(|i| ((i * 29 + row * 13 + i * i * 3) % 96) as i32);
                texts[row].extend(new);
                ids.extend(vec![0; length - count]);
                ids.extend_from_slice(&texts[row][from..]);
            }
            let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [2, length]), &device);
            let padding = counts.map(|count| length - count);
            let hidden = model.model.forward_cached(ids, &padding, &mut cache);
            for (index, text) in texts.iter().enumerate() {
                let alone = model.hidden_states(row(text, &device), None);
                let count = counts[index];
                let found = hidden
                    .clone()
                    .narrow(0, index, 1)
                    .narrow(1, length - count, count);
                let expected = alone.narrow(1, text.len() - count, count);
                let error = max_error(&values(found), &values(expected));
                assert!(error < TOLERANCE, "row {index} at {counts:?}: {error}");
            }
        }
    }
}

#[test]
fn texts_of_a_batch_that_end_early_leave_the_others_in_their_windows() {
    let prompt = |length: u32| (0..length).map(|i| (i * 7 + 3) % 96).collect();
    let prompts: [Vec<u32>; 4] = [2, 17, 9, 1].map(prompt);
    let most = [30, 3, 18, 11];
    for config in [mistral(5), qwen2(5)] {
        let model = config.init(11, &Device::flex());
        let mut texts = prompts.clone();
        let config = GenerateConfig::greedy(64);
        for chosen in model.stream_batch_up_to(&prompts, &most, &config).unwrap() {
            let (row, token) = chosen.unwrap();
            texts[row].push(token);
        }
        for ((text, prompt), most) in texts.iter().zip(&prompts).zip(most) {
            let greedy = GenerateConfig::greedy(most);
            assert_eq!(text, &model.generate(prompt, &greedy).unwrap());
            let uncached = greedy.with_use_cache(false);
            assert_eq!(text, &model.generate(prompt, &uncached).unwrap());
        }
    }
}

#[test]
fn weights_in_bf16_have_windows_too() {
    let device = Device::flex();
    let ids = || row(&text(24), &device);
    let rounded = mistral(4).init_as(11, WeightDtype::BF16, &device);
    let of = |config: LlamaConfig| values(config.init(11, &device).forward(ids()));
    let (found, expected, free) = (values(rounded.forward(ids())), of(mistral(4)), of(mistral(24)));
    let largest = expected
        .iter()
        .fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
    let (error, without) = (max_error(&found, &expected), max_error(&free, &expected));
    assert!(
        error < 0.1 * largest && without > 2.0 * error,
        "{error} of {largest}; {without} without a window"
    );
}

#[test]
fn a_saved_folder_has_the_windows_that_it_was_loaded_with() {
    let device = Device::flex();
    for name in ["mistral", "qwen2_windows"] {
        let (model, config) = load_pretrained(&fixture(name), &device).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save_pretrained(&model, &config, dir.path()).unwrap();
        let (again, read) = load_pretrained(dir.path(), &device).unwrap();
        assert_eq!(read, config);
        let windows = |model: &LlamaForCausalLM| -> Vec<Option<usize>> {
            let layers = model.model.layers.iter();
            layers.map(|layer| layer.self_attn.sliding_window).collect()
        };
        assert_eq!(windows(&again), windows(&model));
        assert_eq!(windows(&model).last(), Some(&Some(8)));
        let ids = || some_ids(1, 24, 64, 0, &device);
        assert_eq!(values(again.forward(ids())), values(model.forward(ids())));
    }
}
