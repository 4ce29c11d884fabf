//! `weight-decay=RATE` behind the name of every method: what a step takes off each weight, and which weights it leaves alone.
use crate::batches::padded;
use crate::training::{constant, groups, tiny_llama};
use crate::weights::{Numbers, weights};
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::optim::{GradientsParams, parameters};
use blockllm::train::{LanguageModeling, Method, Objective, TrainConfig};
use burn::tensor::Device;

const LEARNING_RATE: f64 = 1e-3;

/// A tiny Llama after a step of a method, and its weights before and after it.
struct Stepped {
    model: LlamaForCausalLM,
    before: Numbers,
    after: Numbers,
}

fn step(method: &Method) -> Stepped {
    let device = Device::flex().autodiff();
    let config = TrainConfig {
        max_grad_norm: None,
        ..constant(1, LEARNING_RATE)
    };
    let mut model = method.adapt(tiny_llama().init(0, &device), &config).unwrap();
    let before = weights(&model);
    let mut optimizer = method.optimizer(&model, &config).unwrap();
    let batch = padded(&[12, 7], 12, 0);
    let mut gradients_of = |model: &LlamaForCausalLM| {
        let loss = LanguageModeling::default().loss(model, &batch, &device);
        GradientsParams::from_grads(loss.backward(), model)
    };
    model = optimizer.prepare_with(model, &mut gradients_of).unwrap();
    let gradients = gradients_of(&model);
    let model = optimizer.step(model, gradients, LEARNING_RATE).unwrap().model;
    let after = weights(&model);
    Stepped { model, before, after }
}

fn method(text: &str) -> Method {
    Method::parse(text).unwrap()
}

/// How many entries decay in a step of the method `name` with a decay and `more` behind its name, and of how many that may. Each
/// decays by its rate, or has the bits that it has without a decay.
fn decayed(name: &str, more: &str) -> [usize; 2] {
    const DECAY: f64 = 10.0;
    // So small that no entry that decays is taken for one that does not, and above rounding.
    const NEAR: f64 = 1e-6;
    let decaying = method(&format!("{name}+weight-decay={DECAY}{more}"));
    let (groups, is_low_rank) = (
        groups(&decaying),
        name.starts_with("galore") || name.starts_with("apollo"),
    );
    let (plain, found) = (step(&method(name)), step(&decaying));
    let mut counts = [0, 0];
    for parameter in &parameters(&found.model) {
        let path = &parameter.info.path;
        if found.after.contains_key(&format!("{path}.lora.a")) {
            // Itself frozen: what is seen of it are its factors.
            continue;
        }
        let decays = more.contains("decay=all") || groups.decays(parameter);
        let rate = LEARNING_RATE * groups.multiplier(parameter) * DECAY;
        let entries = plain.before[path].iter().zip(&plain.after[path]);
        for ((before, plain), found) in entries.zip(&found.after[path]) {
            // Adam of the low-rank methods shrinks the weight that it has moved, as galore-torch does.
            let shrunk = f64::from(if is_low_rank { *plain } else { *before });
            let expected = -rate * shrunk;
            let stays = found.to_bits() == plain.to_bits();
            let error = (f64::from(*found) - f64::from(*plain) - expected).abs();
            assert!(
                stays || (decays && error < NEAR),
                "{name} {path}: {before} became {plain}, and {found} with a decay"
            );
            if decays && expected.abs() > 10.0 * NEAR {
                counts[0] += usize::from(!stays);
                counts[1] += 1;
            }
        }
    }
    counts
}

#[test]
fn the_decay_in_a_name_reaches_every_weight_of_a_method_that_trains_all() {
    for name in [
        "adamw",
        "all+rule=sgd",
        "all+rule=lion",
        "lora:2",
        "galore:4",
        "apollo-mini",
    ] {
        let [matrices, all_matrices] = decayed(name, "");
        assert_eq!(matrices, all_matrices, "{name}");
        let [all, of] = decayed(name, "+decay=all");
        assert!(
            all == of && all > matrices && matrices > 0,
            "{name}: {all} of {of}"
        );
    }
}

#[test]
fn where_some_is_trained_that_decays_and_no_other_entry() {
    for name in [
        "blockllm:0.8",
        "badam:2",
        "lisa:1",
        "blockllm-sgd:0.8",
        "blockllm-whitened:0.8",
        "scale+always=lm_head",
    ] {
        let [found, of] = decayed(name, "");
        assert!(0 < found && found < of, "{name}: {found} of {of}");
    }
}

#[test]
fn a_decay_that_would_reach_nothing_is_refused_with_what_to_do() {
    let model = tiny_llama().init(0, &Device::flex().autodiff());
    let refused = method("scale+weight-decay=0.1").optimizer(&model, &TrainConfig::default());
    let refused = refused.unwrap_err().to_string();
    for part in ["`weight_decay` is 0.1", "leave it out", "decay=all", "always="] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let [vectors, of] = decayed("scale", "+decay=all");
    assert!(0 < vectors && vectors < of, "{vectors} of {of}");
}

#[test]
fn a_multiplier_of_the_embeddings_multiplies_their_step_and_no_other() {
    for name in ["galore:4", "apollo-mini", "adamw"] {
        let (plain, faster) = (
            step(&method(name)),
            step(&method(&format!("{name}+embedding-rate=3"))),
        );
        let mut moved = 0;
        for (path, before) in &plain.before {
            let steps = plain.after[path].iter().zip(&faster.after[path]);
            for (before, (plain, faster)) in before.iter().zip(steps) {
                if !path.contains("embed") {
                    assert_eq!(plain.to_bits(), faster.to_bits(), "{name} {path}");
                    continue;
                }
                let expected = before + 3.0 * (plain - before);
                assert!(
                    (faster - expected).abs() < 1e-6,
                    "{name} {path}: {before} {plain} {faster}"
                );
                moved += usize::from(plain.to_bits() != before.to_bits());
            }
        }
        assert!(moved > 0, "{name}");
    }
}

#[test]
fn a_decay_that_acts_on_nothing_is_refused_where_both_rates_are_known() {
    let model = tiny_llama().init(0, &Device::flex().autodiff());
    let made = |text: &str, weight_decay| {
        let config = TrainConfig {
            weight_decay,
            ..TrainConfig::default()
        };
        let method = method(text);
        let model = method.adapt(model.clone(), &config).unwrap();
        method.optimizer(&model, &config).map(drop)
    };
    for name in ["adamw", "lora:2", "galore:4", "apollo-mini"] {
        let text = format!("{name}+decay=all");
        let error = made(&text, 0.0).unwrap_err().to_string();
        assert!(error.contains("`decay` is all"), "{name}: {error}");
        made(&text, 0.1).unwrap();
    }
    let error = made("scale", 0.1).unwrap_err().to_string();
    assert!(error.contains("`weight_decay` is 0.1"), "{error}");
}
