//! APOLLO-Mini as an optimizer: what it keeps, what it draws, what it refuses, decay and rates beside GaLore's. (Its formula:
//! `low_rank/tests.rs`.)
use crate::common::{Mlp, Tensors, batch, devices, reference};
use blockllm_optim::{
    ApolloConfig, GaLoreAdam, GaLoreConfig, GradientsParams, Groups, LowRankConfig, LowRankOptimizer,
};
use burn::module::Module;
use burn::tensor::Device;
use std::collections::BTreeMap;

/// The matrices that GaLore's tests project, a new projection every fourth step.
pub fn settings() -> ApolloConfig {
    ApolloConfig {
        update_proj_gap: 4,
        targets: ["tall.weight", "square.weight", "wide.weight"]
            .map(String::from)
            .to_vec(),
        ..ApolloConfig::default()
    }
}

fn train(
    reference: &Tensors,
    config: impl Into<LowRankConfig>,
    device: &Device,
    mut after: impl FnMut(&LowRankOptimizer),
) -> BTreeMap<String, Vec<f32>> {
    let mut model = Mlp::from_reference(reference, device);
    let mut optimizer = LowRankOptimizer::new(&model, config).unwrap();
    for step in 0..10 {
        let (x, y) = batch(reference, step, device);
        model = optimizer.unfreeze(model);
        let gradients = GradientsParams::from_grads(model.loss(x, y).backward(), &model);
        model = optimizer.step(model, gradients, 1e-3).unwrap().model;
        after(&optimizer);
    }
    model.weights()
}

#[test]
fn state_bytes_equal_the_estimate_and_the_formula() {
    // side r + 2 r other + 1: tall 14x8, square 14x14, wide 6x14; then 8 bytes for each of the 14 + 14 biases and 14
    // entries of the head.
    for (rank, projected) in [(1, (8 + 28 + 1) + (14 + 28 + 1) + (6 + 28 + 1)), (2, 2 * 112 + 3)] {
        let config = ApolloConfig { rank, ..settings() };
        for (_, device) in devices() {
            train(&reference(), config.clone(), &device.autodiff(), |optimizer| {
                assert_eq!(optimizer.state_bytes(), 4 * projected + 8 * (14 + 14 + 14));
                assert_eq!(optimizer.estimated_state_bytes(), optimizer.state_bytes());
            });
        }
    }
}

#[test]
fn every_weight_is_trained_and_the_targets_are_projected() {
    let model = Mlp::from_reference(&reference(), &Device::flex().autodiff());
    let optimizer = LowRankOptimizer::new(&model, settings()).unwrap();
    assert_eq!(optimizer.projected_parameters(), settings().targets);
    assert_eq!(optimizer.trained_entries(), model.num_params() as u64);
}

#[test]
fn a_seed_gives_one_run_and_projections_of_their_own_to_matrices_and_refreshes() {
    let device = Device::flex().autodiff();
    let run = |seed| {
        let mut drawn = Vec::new();
        let config = ApolloConfig { seed, ..settings() };
        let weights = train(&reference(), config, &device, |optimizer| {
            let tensors = optimizer.record().tensors;
            let bases = tensors
                .into_iter()
                .filter(|(name, _)| name.rsplit('.').next() == Some("basis"));
            drawn.push(
                bases
                    .map(|(name, held)| held.into_data(&name).unwrap().try_into_vec::<f32>().unwrap())
                    .collect::<Vec<_>>(),
            );
        });
        (weights, drawn)
    };
    let (weights, drawn) = run(3);
    assert_eq!((&weights, &drawn), (&run(3).0, &run(3).1));
    assert_ne!(weights, run(4).0);
    assert_ne!(drawn[0], run(4).1[0]);
    // Steps 1 to 4, then 5 to 8, have one projection each; that of no matrix begins as another's does.
    assert!(drawn[0] == drawn[3] && drawn[3] != drawn[4] && drawn[4] == drawn[7]);
    for bases in [&drawn[0], &drawn[4]] {
        assert_eq!(bases.len(), 3);
        let bits = [0, 1, 2].map(|refresh: usize| bases[refresh][0].to_bits());
        assert!(bits[0] != bits[1] && bits[1] != bits[2] && bits[0] != bits[2]);
    }
    assert_ne!(drawn[0][0][0].to_bits(), drawn[4][0][0].to_bits());
}

#[test]
fn decay_shrinks_the_moved_weight_and_groups_have_rates_of_their_own() {
    let apollo = |adam: GaLoreAdam, groups: Groups| {
        LowRankConfig::from(ApolloConfig {
            adam,
            groups,
            ..settings()
        })
    };
    let galore = |adam: GaLoreAdam, groups: Groups| {
        let config = GaLoreConfig::new(3).with_targets(settings().targets);
        LowRankConfig::from(config.with_adam(adam).with_groups(groups))
    };
    let device = Device::flex().autodiff();
    let reference = reference();
    let (x, y) = batch(&reference, 0, &device);
    let start = Mlp::from_reference(&reference, &device);
    let before = start.weights();
    let after = |config: LowRankConfig| {
        let mut optimizer = LowRankOptimizer::new(&start, config).unwrap();
        let model = optimizer.unfreeze(start.clone());
        let loss = model.loss(x.clone(), y.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        optimizer.step(model, gradients, 1e-2).unwrap().model.weights()
    };
    let decaying = GaLoreAdam {
        weight_decay: 0.5,
        ..GaLoreAdam::default()
    };
    let groups = Groups {
        head: 2.0,
        vectors: 0.5,
        matrices: 3.0,
        ..Groups::default()
    };
    let plain = (GaLoreAdam::default(), Groups::default());
    for (method, plain, found) in [
        ("apollo", apollo(plain.0, plain.1), apollo(decaying, groups)),
        ("galore", galore(plain.0, plain.1), galore(decaying, groups)),
    ] {
        let plain = after(plain);
        for (path, found) in after(found) {
            let (rate, decay) = match path.as_str() {
                "head.weight" => (2.0, 0.5),
                "tall.bias" | "square.bias" | "head.bias" => (0.5, 0.0),
                _ => (3.0, 0.5),
            };
            for ((found, plain), before) in found.iter().zip(&plain[&path]).zip(&before[&path]) {
                let expected = (before + rate * (plain - before)) * (1.0 - rate * 1e-2 * decay);
                let error = (found - expected).abs();
                assert!(error < 1e-5, "{method} {path}: {found} {expected}");
            }
        }
    }
}

#[test]
fn settings_out_of_range_and_a_record_of_galore_are_refused_by_name() {
    let device = Device::flex().autodiff();
    let model = Mlp::from_reference(&reference(), &device);
    let refusal = |config: ApolloConfig| LowRankOptimizer::new(&model, config).unwrap_err().to_string();
    for (config, expected) in [
        (
            ApolloConfig {
                rank: 7,
                ..settings()
            },
            "rank 7",
        ),
        (
            ApolloConfig {
                rank: 0,
                ..settings()
            },
            "`rank` is 0",
        ),
        (
            ApolloConfig {
                scale: -1.0,
                ..settings()
            },
            "`scale` is -1",
        ),
        (
            ApolloConfig {
                norm_growth: 0.9,
                ..settings()
            },
            "`norm_growth` is 0.9",
        ),
        (
            ApolloConfig {
                norm_growth: f64::NAN,
                ..settings()
            },
            "`norm_growth` is NaN",
        ),
        (
            ApolloConfig {
                update_proj_gap: 0,
                ..settings()
            },
            "`update_proj_gap` is 0",
        ),
    ] {
        let error = refusal(config);
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    let galore = crate::galore_parity::settings("std").0.with_update_proj_gap(4);
    let mut galore = LowRankOptimizer::new(&model, galore).unwrap();
    let mut apollo = LowRankOptimizer::new(
        &model,
        ApolloConfig {
            rank: 3,
            ..settings()
        },
    )
    .unwrap();
    let error = apollo.restore(galore.record(), &device).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("optimizer GaLore, this run has APOLLO"),
        "{error}"
    );
    let error = galore.restore(apollo.record(), &device).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("optimizer APOLLO, this run has GaLore"),
        "{error}"
    );
}
