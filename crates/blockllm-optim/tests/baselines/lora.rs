//! LoRA factors are all that a block optimizer trains of an adapted module.
use crate::common::{Mlp, batch, devices, reference, values};
use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, GradientsParams, LoraConfig, parameters};
use blockllm_policy::{All, Roles};
use burn::module::Module;
use burn::tensor::Device;

fn config(rank: usize) -> LoraConfig {
    LoraConfig::new(rank).with_targets(["tall", "wide"])
}

fn adapted(device: &Device) -> Mlp {
    config(2)
        .apply(Mlp::from_reference(&reference(), device))
        .unwrap()
}

/// The base weights, without the adapters' contribution.
fn base(model: &Mlp) -> Vec<Vec<f32>> {
    let layers = [&model.tall, &model.square, &model.wide, &model.head];
    layers.map(|layer| values(layer.weight.base().inner())).to_vec()
}

#[test]
fn a_block_optimizer_trains_the_factors_and_nothing_else() {
    let reference = reference();
    for (backend, device) in devices() {
        let device = device.autodiff();
        let mut model = adapted(&device);
        let before = base(&model);
        let mut optimizer = BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.0), All).unwrap();
        let blocks: Vec<_> = optimizer
            .selector()
            .blocks()
            .iter()
            .map(|block| block.name.clone())
            .collect();
        assert_eq!(
            blocks,
            [
                "tall.weight.lora.a",
                "tall.weight.lora.b",
                "wide.weight.lora.a",
                "wide.weight.lora.b"
            ]
        );
        let entries = 2 * (8 + 14) + 2 * (14 + 6);
        let mut losses = Vec::new();
        for _ in 0..30 {
            let (x, y) = batch(&reference, 0, &device);
            model = optimizer
                .prepare(model, |model| model.loss(x.clone(), y.clone()))
                .unwrap();
            let loss = model.loss(x, y);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            assert_eq!(gradients.len(), 4);
            model = optimizer.step(model, gradients, 2e-2).unwrap().model;
            losses.push(loss.into_scalar::<f32>());
            optimizer.observe(losses[losses.len() - 1]).unwrap();
        }
        assert_eq!(base(&model), before, "base weights keep their bits on {backend}");
        assert!(losses[29] < 0.7 * losses[0], "{losses:?} on {backend}");
        assert_eq!(optimizer.trained_entries(), entries);
        assert_eq!(optimizer.gradient_entries(), entries);
        assert_eq!(optimizer.state_bytes(), 8 * entries);
        assert_eq!(optimizer.estimated_state_bytes(), 8 * entries);
    }
}

#[test]
fn adapters_start_as_in_peft_and_change_nothing_at_first() {
    for (_, device) in devices() {
        let model = adapted(&device.clone().autodiff());
        let adapter = model.tall.weight.adapter().unwrap();
        let a = values(adapter.a.val().inner());
        let bound = 1.0 / 8f32.sqrt();
        assert!(a.iter().all(|value| value.abs() <= bound));
        assert!(a.iter().any(|value| value.abs() > 0.5 * bound));
        assert!(values(adapter.b.val().inner()).iter().all(|value| *value == 0.0));
        assert!((adapter.scale - 2.0).abs() < f64::EPSILON);
        let plain = Mlp::from_reference(&reference(), &device.autodiff());
        assert_eq!(model.weights(), plain.weights());
    }
}

#[test]
fn one_seed_gives_the_same_factors_on_every_backend() {
    let factors = |device: &Device, seed| {
        let model = config(2)
            .with_seed(seed)
            .apply(Mlp::from_reference(&reference(), device))
            .unwrap();
        values(model.wide.weight.adapter().unwrap().a.val())
    };
    let expected = factors(&Device::flex(), 4);
    for (backend, device) in devices() {
        assert_eq!(factors(&device, 4), expected, "{backend}");
    }
    assert_ne!(factors(&Device::flex(), 5), expected);
}

#[test]
fn a_never_role_on_frozen_weights_is_content_and_a_typo_is_not() {
    let model = adapted(&Device::flex().autodiff());
    let with_never = |never: &str| {
        let roles = Roles {
            always: vec![],
            never: vec![never.into()],
        };
        BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.0).with_roles(roles), All)
    };
    assert!(with_never("head").is_ok());
    assert_eq!(with_never("wide").unwrap().selector().candidates().len(), 2);
    assert!(with_never("heed").is_err());
}

#[test]
fn wrong_use_is_told() {
    let told = |config: LoraConfig, parts: &[&str]| {
        let model = Mlp::from_reference(&reference(), &Device::flex().autodiff());
        let error = config.apply(model).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    };
    told(config(0), &["`rank` is 0"]);
    told(config(7), &["rank 7", "`wide.weight`", "which is 6"]);
    told(config(2).with_alpha(-1.0), &["`alpha` is -1"]);
    told(
        config(2).with_targets(["tall", "q_proj"]),
        &["`q_proj`", "4 matrices", "tall.weight"],
    );
    told(config(2).with_targets::<&str>([]), &["`targets` is empty"]);
    let twice = config(2).apply(adapted(&Device::flex())).unwrap_err().to_string();
    assert!(twice.contains("tall.weight.lora.a"), "{twice}");
}

#[test]
fn merging_leaves_plain_weights_of_the_same_value() {
    let model = adapted(&Device::flex());
    let weights = model.weights();
    let merged = model.materialize();
    assert_eq!(parameters(&merged).len(), 7);
    assert_eq!(merged.weights(), weights);
}
