//! Exact resume: a run that is saved and goes on in a fresh optimizer takes the same steps, bit for bit.
use crate::common::{Run, Toy, batch, blockllm, devices, roles};
use blockllm_optim::{BlockOptimizerConfig, OptimizerRecord};

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
