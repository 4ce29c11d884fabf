//! A run of GaLore or APOLLO that stops and goes on is the run that never stopped.
use crate::apollo;
use crate::common::{Mlp, Tensors, batch, devices, reference};
use crate::galore_parity::settings;
use blockllm_optim::{
    ApolloConfig, GaLoreConfig, GradientsParams, LowRankConfig, LowRankOptimizer, OptimizerRecord, SvdMethod,
};
use burn::tensor::Device;
use std::ops::Range;

fn train(
    mut model: Mlp,
    optimizer: &mut LowRankOptimizer,
    reference: &Tensors,
    steps: Range<usize>,
    device: &Device,
) -> Mlp {
    for step in steps {
        let (x, y) = batch(reference, step, device);
        model = optimizer.prepare(model, |_| unreachable!()).unwrap();
        let gradients = GradientsParams::from_grads(model.loss(x, y).backward(), &model);
        model = optimizer.step(model, gradients, 1e-2).unwrap().model;
    }
    model
}

#[test]
fn a_resumed_run_has_the_bits_of_one_that_never_stopped() {
    let reference = reference();
    for (backend, device) in devices() {
        let device = device.autodiff();
        let galore = |svd| LowRankConfig::from(settings("std").0.with_svd(svd));
        let apollo = ApolloConfig {
            update_proj_gap: 12,
            ..apollo::settings()
        };
        for config in [
            galore(SvdMethod::Exact),
            galore(SvdMethod::randomized()),
            apollo.into(),
        ] {
            // Before the first step, within a subspace, and right before a refresh.
            for stop in [0, 7, 12] {
                let model = Mlp::from_reference(&reference, &device);
                let mut optimizer = LowRankOptimizer::new(&model, config.clone()).unwrap();
                let model = train(model, &mut optimizer, &reference, 0..stop, &device);
                let record = optimizer.record();
                let meta = serde_json::to_string(&record.meta).unwrap();
                let record = OptimizerRecord {
                    meta: serde_json::from_str(&meta).unwrap(),
                    ..record
                };
                let mut resumed = LowRankOptimizer::new(&model, config.clone()).unwrap();
                resumed.restore(record, &device).unwrap();
                assert_eq!(resumed.state_bytes(), optimizer.state_bytes());
                let through = train(model.clone(), &mut optimizer, &reference, stop..15, &device);
                let again = train(model, &mut resumed, &reference, stop..15, &device);
                assert_eq!(
                    again.weights(),
                    through.weights(),
                    "{backend}, {config:?}, stopped at {stop}"
                );
            }
        }
    }
}

#[test]
fn a_record_of_another_run_is_refused() {
    let reference = reference();
    let device = Device::flex().autodiff();
    let model = Mlp::from_reference(&reference, &device);
    let optimizer = |config| LowRankOptimizer::new(&model, config).unwrap();
    let (config, _) = settings("std");
    let mut first = optimizer(config.clone());
    train(model.clone(), &mut first, &reference, 0..1, &device);
    let record = || first.record();
    let refusal =
        |mut other: LowRankOptimizer, record| other.restore(record, &device).unwrap_err().to_string();

    let other_rank = GaLoreConfig {
        rank: 4,
        ..config.clone()
    };
    let error = refusal(optimizer(other_rank), record());
    assert!(error.contains("state"), "{error}");
    let error = refusal(optimizer(config.clone().with_targets(["tall"])), record());
    assert!(error.contains("state"), "{error}");
    let mut less = record();
    less.tensors.pop_last();
    assert!(refusal(optimizer(config), less).contains("state"));
}
