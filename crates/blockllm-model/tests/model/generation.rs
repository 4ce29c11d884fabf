//! Generation against transformers (`tests/fixtures/generation_reference.py`), batches against texts alone, texts that go on.

use std::collections::BTreeMap;
use std::fs;

use blockllm_model::ModelError;
use blockllm_model::hf::load_pretrained;
use blockllm_model::llama::{GenerateConfig, Generator, LlamaForCausalLM, RopeScaling};
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use serde::Deserialize;

use crate::common::{devices, fixture, max_error, small_config, small_model, values};

/// What transformers adds to one prompt.
#[derive(Deserialize)]
struct Row {
    prompt: Vec<u32>,
    added: Vec<u32>,
    largest: Vec<f32>,
    least_gap: f32,
    last_logits: Vec<f32>,
}

#[derive(Deserialize)]
struct Reference {
    rows: Vec<Row>,
}

/// How many tokens are added to every prompt.
const NEW_TOKENS: usize = 64;

/// How far our logits may be from transformers': no two largest ones of the fixtures are that near.
const TOLERANCE: f32 = 1e-4;

fn references() -> BTreeMap<String, Reference> {
    let path = fixture("generation.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn largest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[test]
fn every_model_of_the_family_continues_as_in_transformers_with_its_logits() {
    for (name, reference) in references() {
        let (model, _) = load_pretrained(&fixture(&name), &Device::flex()).unwrap();
        let mut worst = 0.0_f32;
        for row in &reference.rows {
            assert!(row.least_gap > 2.0 * TOLERANCE, "a tie decides nothing");
            assert_eq!(row.added.len(), NEW_TOKENS, "{name}");
            let mut text = Generator::new(&model);
            text.push(&row.prompt).unwrap();
            for (step, token) in row.added.iter().enumerate() {
                let logits = text.next_logits().unwrap();
                worst = worst.max((largest(&logits) - row.largest[step]).abs());
                if step + 1 == NEW_TOKENS {
                    worst = worst.max(max_error(&logits, &row.last_logits));
                } else {
                    text.push(&[*token]).unwrap();
                }
            }
            let text = model.generate(&row.prompt, &GenerateConfig::greedy(NEW_TOKENS));
            assert_eq!(text.unwrap()[row.prompt.len()..], row.added, "{name}");
        }
        println!("{name}: logits max abs error {worst:.2e}");
        assert!(worst < TOLERANCE, "{name}: {worst}");
    }
}

#[test]
fn prompts_of_many_lengths_at_once_continue_as_each_alone_in_transformers() {
    for (name, reference) in references() {
        for (backend, device) in devices() {
            if backend != "flex" && name != "grouped" && name != "dynamic" {
                continue; // software Vulkan is slow
            }
            let count = if backend == "flex" { NEW_TOKENS } else { 12 };
            let (model, _) = load_pretrained(&fixture(&name), &device).unwrap();
            let prompts: Vec<&[u32]> = reference.rows.iter().map(|row| row.prompt.as_slice()).collect();
            for use_cache in [true, false] {
                // Without a cache all of a stretched text is rotated as its last token is, which transformers does not do.
                if !use_cache && ["dynamic", "longrope"].contains(&name.as_str()) {
                    continue;
                }
                let config = GenerateConfig::greedy(count).with_use_cache(use_cache);
                let texts = model.generate_batch(&prompts, &config).unwrap();
                for (text, row) in texts.iter().zip(&reference.rows) {
                    assert_eq!(text[..row.prompt.len()], row.prompt);
                    assert_eq!(
                        text[row.prompt.len()..],
                        row.added[..count],
                        "{name} on {backend}"
                    );
                }
            }
        }
    }
}

/// Prompt and continuation of one prompt by itself.
fn alone(model: &LlamaForCausalLM, prompt: &[u32], config: &GenerateConfig) -> Vec<u32> {
    model.generate(prompt, config).unwrap()
}

#[test]
fn a_text_that_stops_leaves_the_others_as_they_are() {
    let model = small_model(&Device::flex());
    let prompts = [vec![5], vec![9, 2, 44, 7, 7], vec![3, 3], vec![80, 1, 13]];
    let free: Vec<Vec<u32>> = prompts
        .iter()
        .map(|prompt| alone(&model, prompt, &GenerateConfig::greedy(20)))
        .collect();
    // Ends that come at other places in every text.
    let config = GenerateConfig::greedy(20).with_stop_at([free[1][8], free[2][4], free[3][15]]);
    let expected: Vec<Vec<u32>> = prompts
        .iter()
        .map(|prompt| alone(&model, prompt, &config))
        .collect();
    let lengths: Vec<usize> = expected
        .iter()
        .zip(&prompts)
        .map(|(text, prompt)| text.len() - prompt.len())
        .collect();
    assert!(
        lengths.iter().any(|length| *length < 8) && lengths.iter().max() > lengths.iter().min(),
        "{lengths:?}"
    );
    assert_eq!(model.generate_batch(&prompts, &config).unwrap(), expected);
}

#[test]
fn tokens_come_in_rounds_and_no_row_comes_again_after_its_last() {
    let model = small_model(&Device::flex());
    let prompts = [vec![5], vec![9, 2, 44]];
    let texts = model
        .generate_batch(&prompts, &GenerateConfig::greedy(6))
        .unwrap();
    let config = GenerateConfig::greedy(6).with_stop_at([texts[0][2]]);
    let chosen: Vec<(usize, u32)> = model
        .stream_batch(&prompts, &config)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let of = |row: usize| {
        chosen
            .iter()
            .filter(|(of, _)| *of == row)
            .map(|(_, token)| *token)
            .collect::<Vec<u32>>()
    };
    for (row, prompt) in prompts.iter().enumerate() {
        assert_eq!([prompt.clone(), of(row)].concat(), alone(&model, prompt, &config));
    }
    assert_eq!(
        chosen[..2].iter().map(|(row, _)| *row).collect::<Vec<_>>(),
        [0, 1]
    );
    assert!(model.generate_batch::<Vec<u32>>(&[], &config).unwrap().is_empty());
    assert_eq!(
        model
            .generate_batch(&prompts, &GenerateConfig::greedy(0))
            .unwrap(),
        prompts
    );
}

#[test]
fn every_text_has_its_own_number_of_tokens_up_to_the_last_position() {
    let model = small_config()
        .with_max_position_embeddings(24)
        .init(11, &Device::flex());
    let prompts: [Vec<u32>; 4] = [2, 7, 24, 9].map(|length| (0..length).map(|i| i * 7 % 96).collect());
    // As many as there is room for; of the second none, and of the last fewer.
    let most = [23, 0, 1, 4];
    let config = GenerateConfig::greedy(1000);
    let mut texts = prompts.clone();
    for chosen in model.stream_batch_up_to(&prompts, &most, &config).unwrap() {
        let (row, token) = chosen.unwrap();
        texts[row].push(token);
    }
    for ((text, prompt), most) in texts.iter().zip(&prompts).zip(most) {
        assert_eq!(text, &alone(&model, prompt, &GenerateConfig::greedy(most)));
        assert_eq!(text.len(), prompt.len() + most);
    }
    let error = model
        .stream_batch_up_to(&prompts, &[24, 0, 1, 4], &config)
        .unwrap_err();
    assert!(error.to_string().contains("25 positions"), "{error}");
}

#[test]
fn texts_that_outgrow_the_buffers_are_those_of_each_alone_computed_anew() {
    let config = small_config().with_max_position_embeddings(400);
    let model = config.init(11, &Device::flex());
    let prompts: [Vec<u32>; 3] = [3, 40, 90].map(|length| (0..length).map(|i| i * 7 % 96).collect());
    let texts = model
        .generate_batch(&prompts, &GenerateConfig::greedy(200))
        .unwrap();
    for (text, prompt) in texts.iter().zip(&prompts) {
        let config = GenerateConfig::greedy(200).with_use_cache(false);
        assert_eq!(text, &alone(&model, prompt, &config));
        let mut whole = Generator::new(&model);
        whole.push(&text[..text.len() - 1]).unwrap();
        let ids: Vec<i32> = text[..text.len() - 1].iter().map(|token| *token as i32).collect();
        let last = ids.len() - 1;
        let ids = Tensor::from_data(TensorData::new(ids, [1, last + 1]), &Device::flex());
        let uncached = values(model.forward(ids).narrow(1, last, 1));
        assert!(max_error(&whole.next_logits().unwrap(), &uncached) < 1e-5);
    }
}

#[test]
fn a_sampled_row_does_not_depend_on_what_is_beside_it_but_on_its_place() {
    let model = small_model(&Device::flex());
    let config = GenerateConfig {
        min_p: 0.05,
        repetition_penalty: 1.2,
        ..GenerateConfig::sampling(12, 1.0, 5)
    };
    let texts = |prompts: [&[u32]; 3]| model.generate_batch(&prompts, &config).unwrap();
    let one = texts([&[5], &[9, 2, 44], &[7, 7]]);
    let other = texts([&[8, 1, 1, 1, 30], &[9, 2, 44], &[9, 2, 44]]);
    assert_eq!(one[1], other[1]);
    assert_ne!(other[1], other[2], "rows draw for themselves");
    assert_eq!(one[0], alone(&model, &[5], &config));
}

#[test]
fn a_conversation_goes_on_from_its_cache_as_if_it_were_computed_anew() {
    for rope in [RopeScaling::Default, RopeScaling::Linear { factor: 2.0 }] {
        let model = small_config().with_rope(10_000.0, rope).init(11, &Device::flex());
        let mut text = Generator::new(&model);
        for turn in [&[5, 9, 2][..], &[44], &[7, 8, 1, 0]] {
            text.push(turn).unwrap();
            let before = text.tokens().to_vec();
            let added: Vec<u32> = text
                .stream(&GenerateConfig::greedy(6))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert_eq!([before.clone(), added].concat(), text.tokens());
            assert_eq!(alone(&model, &before, &GenerateConfig::greedy(6)), text.tokens());
            let cached = text.next_logits().unwrap();
            let mut anew = Generator::new(&model);
            anew.push(text.tokens()).unwrap();
            assert!(max_error(&cached, &anew.next_logits().unwrap()) < 1e-5);
        }
    }
}

#[test]
fn a_stream_knows_the_whole_text_and_stops_where_generation_does() {
    let model = small_model(&Device::flex());
    let prompt = [5, 9, 2, 44, 7, 7, 80, 31];
    let penalized = |penalty: f64| GenerateConfig {
        repetition_penalty: penalty,
        ..GenerateConfig::greedy(20)
    };
    let streamed = |config: &GenerateConfig| {
        let mut text = Generator::new(&model);
        text.push(&prompt).unwrap();
        for token in text.stream(config).unwrap() {
            token.unwrap();
        }
        text.tokens().to_vec()
    };
    // So large or small a penalty lets no token of the prompt come, or no other.
    let (never, only) = (penalized(1e6), penalized(1e-6));
    assert!(streamed(&never)[8..].iter().all(|token| !prompt.contains(token)));
    assert!(streamed(&only)[8..].iter().all(|token| prompt.contains(token)));
    let free = streamed(&penalized(1.3));
    let ended = penalized(1.3).with_stop_at([free[12]]);
    for config in [never, only, penalized(1.3), ended.clone()] {
        assert_eq!(streamed(&config), alone(&model, &prompt, &config));
    }
    assert!(streamed(&ended).len() <= 13 && free.len() == 28);
}

#[test]
fn a_text_is_cut_and_replaced_without_computing_its_beginning_again() {
    let model = small_model(&Device::flex());
    let sampled = GenerateConfig::sampling(10, 1.0, 3);
    let mut text = Generator::new(&model);
    text.push(&[5, 9, 2]).unwrap();
    let first: Vec<u32> = text.stream(&sampled).unwrap().map(Result::unwrap).collect();
    text.truncate(7);
    assert_eq!(text.tokens()[3..], first[..4]);
    let rest: Vec<u32> = text
        .stream(&sampled)
        .unwrap()
        .take(6)
        .map(Result::unwrap)
        .collect();
    assert_eq!(rest, first[4..], "the places of the text draw the same again");
    assert_eq!(text.set_tokens(&[5, 9, 44, 1]).unwrap(), 2);
    let mut anew = Generator::new(&model);
    anew.push(&[5, 9, 44, 1]).unwrap();
    assert!(max_error(&text.next_logits().unwrap(), &anew.next_logits().unwrap()) < 1e-5);
    assert_eq!(text.set_tokens(&[5, 9]).unwrap(), 2);
    assert_eq!(text.positions_left(), 62);
}

#[test]
fn a_conversation_ends_with_an_error_where_the_positions_do_and_stays_as_it_is() {
    let model = small_model(&Device::flex());
    let mut text = Generator::new(&model);
    text.push(&[1; 60]).unwrap();
    let items: Vec<Result<u32, ModelError>> = text.stream(&GenerateConfig::greedy(50)).unwrap().collect();
    // The token after the last position has none itself, and is the last.
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 5);
    let message = items.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(
        items.len() == 6 && message.contains("65 positions, the model has 64"),
        "{message}"
    );
    assert_eq!((text.tokens().len(), text.positions_left()), (65, 0));
    assert!(matches!(
        text.push(&[1]),
        Err(ModelError::TooLong {
            expected: 64,
            found: 66
        })
    ));
    text.truncate(10);
    assert_eq!(
        text.stream(&GenerateConfig::greedy(4)).unwrap().flatten().count(),
        4
    );
}

#[test]
fn senseless_input_is_refused_by_name() {
    let model = small_model(&Device::flex());
    let greedy = GenerateConfig::greedy(1);
    let refused = |config: GenerateConfig| model.generate(&[1], &config).unwrap_err().to_string();
    for min_p in [-0.1, 1.1, f64::NAN] {
        assert!(
            refused(GenerateConfig {
                min_p,
                ..greedy.clone()
            })
            .contains("`min_p`")
        );
    }
    for repetition_penalty in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
        let message = refused(GenerateConfig {
            repetition_penalty,
            ..greedy.clone()
        });
        assert!(message.contains("`repetition_penalty`"), "{message}");
    }
    let of_batch = |prompts: &[Vec<u32>]| model.generate_batch(prompts, &greedy).unwrap_err().to_string();
    assert!(of_batch(&[vec![1], vec![]]).contains("`prompts[1]` is empty"));
    assert!(of_batch(&[vec![1, 96], vec![1]]).contains("`prompts[0]` is 96"));
    let mut text = Generator::new(&model);
    assert!(
        text.push(&[3, 96])
            .unwrap_err()
            .to_string()
            .contains("tokens less than 96")
    );
    assert!(
        text.next_logits()
            .unwrap_err()
            .to_string()
            .contains("bos_token_id")
    );
    assert!(
        text.stream(&greedy)
            .err()
            .unwrap()
            .to_string()
            .contains("`tokens` is empty")
    );
    assert!(text.tokens().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_batch_is_its_texts_alone(
        prompts in prop::collection::vec(prop::collection::vec(0u32..96, 1..30), 1..5),
        count in 1usize..12,
        end in 0u32..96,
    ) {
        let model = small_model(&Device::flex());
        let config = GenerateConfig::greedy(count).with_stop_at([end]);
        let texts = model.generate_batch(&prompts, &config).unwrap();
        for (text, prompt) in texts.iter().zip(&prompts) {
            prop_assert_eq!(text, &model.generate(prompt, &config).unwrap());
        }
    }
}
