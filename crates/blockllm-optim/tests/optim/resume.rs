//! Exact resume: a run that is saved and goes on in a fresh optimizer takes the same steps, bit for bit.
use crate::common::{Run, Toy, batch, blockllm, devices, roles};
use blockllm_optim::{BlockOptimizerConfig, CarriedMoments, Lion, NormKind, OptimizerRecord, Sgd};

fn fresh(model: Toy, device: &burn::tensor::Device) -> Run {
    let config = BlockOptimizerConfig::new(0.6).with_roles(roles(&["norm"], &[]));
    Run::of(model, device, config, blockllm(2))
}

/// A fresh optimizer with the record of `run`, whose part without tensors goes through text.
fn resumed(run: &Run) -> Run {
    let record = run.optimizer.record().unwrap();
    let meta = serde_json::from_str(&serde_json::to_string(&record.meta).unwrap()).unwrap();
    let record = OptimizerRecord { meta, ..record };
    let mut resumed = fresh(Toy::with_weights(&run.device, &run.weights()), &run.device);
    resumed.optimizer.restore(record, &run.device).unwrap();
    resumed
}

#[test]
fn a_run_resumed_after_any_step_goes_on_bit_for_bit() {
    for (name, device) in devices() {
        let mut run = fresh(Toy::new(&device), &device);
        let mut copies = Vec::new();
        for step in 0..9 {
            copies.push(resumed(&run));
            let loss = run.step(&batch(step), 1e-2).unwrap().loss;
            for (start, copy) in copies.iter_mut().enumerate() {
                let at = format!("{name}: resumed after {start}, step {step}");
                assert_eq!(
                    copy.step(&batch(step), 1e-2).unwrap().loss.to_bits(),
                    loss.to_bits(),
                    "{at}"
                );
                assert_eq!(
                    copy.optimizer.selected_blocks(),
                    run.optimizer.selected_blocks(),
                    "{at}"
                );
                assert_eq!(copy.optimizer.state_bytes(), run.optimizer.state_bytes(), "{at}");
                assert_eq!(copy.weights(), run.weights(), "{at}");
            }
        }
        assert!(run.optimizer.visits().selections() > 2, "{name}");
    }
}

#[test]
fn a_record_made_under_other_settings_is_refused_by_name_and_changes_nothing() {
    let (_, device) = devices().remove(0);
    let mut run = fresh(Toy::new(&device), &device);
    run.steps(3, 1e-2);
    let record = run.optimizer.record().unwrap();
    let config = || BlockOptimizerConfig::new(0.6).with_roles(roles(&["norm"], &[]));
    let mut carried = config();
    carried.moments = CarriedMoments::CarriedOver;
    let mut betas = config();
    betas.update = std::sync::Arc::new(blockllm_optim::AdamW {
        beta_1: 0.8,
        ..blockllm_optim::AdamW::default()
    });
    let others = [
        (config().with_update(Sgd::default()), "update"),
        (config().with_update(Lion::default()), "update"),
        (betas, "beta_1"),
        (config().with_norm(NormKind::Grad), "norm"),
        (carried, "moments"),
        (
            BlockOptimizerConfig::new(0.5).with_roles(roles(&["norm"], &[])),
            "sparsity",
        ),
        (
            BlockOptimizerConfig::new(0.6).with_roles(roles(&["fc1"], &[])),
            "always",
        ),
    ];
    for (other, what) in others {
        let mut other = Run::of(Toy::new(&device), &device, other, blockllm(2));
        let before = other.optimizer.record().unwrap();
        let error = other.optimizer.restore(record.clone(), &device).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
        let after = other.optimizer.record().unwrap();
        assert_eq!(before.meta, after.meta, "{what}");
    }
}

#[test]
fn a_record_that_lacks_a_tensor_changes_nothing() {
    let (_, device) = devices().remove(0);
    let mut run = fresh(Toy::new(&device), &device);
    run.steps(3, 1e-2);
    let record = run.optimizer.record().unwrap();
    for name in record.tensors.keys().cloned().collect::<Vec<_>>() {
        let mut torn = record.clone();
        torn.tensors.remove(&name);
        let mut other = fresh(Toy::new(&device), &device);
        let before = other.optimizer.record().unwrap().meta;
        assert!(other.optimizer.restore(torn, &device).is_err(), "{name}");
        assert_eq!(other.optimizer.record().unwrap().meta, before, "{name}");
        assert_eq!(other.optimizer.state_bytes(), 0, "{name}");
    }
}
