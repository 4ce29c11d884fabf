//! Bytes held equal the analytic estimate, in each of the three forms.
use crate::common::{NEVER, Run, blockllm, devices};
use blockllm_optim::{BlockOptimizerConfig, Lion, MaskScope, StateEstimate, Update};
use blockllm_policy::{Fixed, Partition, Roles};

/// One block that holds only `fc1.weight` (60 entries), masked to `keep` of them.
fn one_parameter(device: &burn::tensor::Device, keep: u64, update: Update) -> Run {
    let never = ["embed", "norm", "fc1.bias", "fc2"].map(String::from).to_vec();
    let config = BlockOptimizerConfig::new(1.0 - keep as f64 / 60.0)
        .with_roles(Roles {
            never,
            ..Roles::default()
        })
        .with_update(update);
    let mut run = Run::new(device, config, blockllm(NEVER));
    run.steps(2, 1e-2);
    assert_eq!(run.optimizer.trained_entries(), keep);
    run
}

#[test]
fn each_form_holds_what_its_formula_says() {
    let (adamw, lion) = (Update::default(), Update::from(Lion::default()));
    for (name, device) in devices() {
        for (keep, update, bytes) in [
            (60, adamw, 60 * 8),  // whole
            (50, adamw, 60 * 8),  // dense under a mask: 50 * 12 would be more
            (40, adamw, 60 * 8),  // two thirds: both cost the same
            (39, adamw, 39 * 12), // compact
            (1, adamw, 12),
            (60, lion, 60 * 4),
            (31, lion, 60 * 4), // one array: the index doubles an entry
            (29, lion, 29 * 8),
        ] {
            let run = one_parameter(&device, keep, update);
            assert_eq!(run.optimizer.state_bytes(), bytes, "{name} {keep} {update:?}");
            assert_eq!(run.optimizer.estimated_state_bytes(), bytes, "{name} {keep}");
            let arrays = update.rule().state_arrays() as u64;
            let estimate = StateEstimate::new(60, keep, arrays);
            assert_eq!(estimate.bytes(), bytes);
        }
    }
}

#[test]
fn a_global_mask_over_several_parameters_costs_the_sum_of_its_parts() {
    for (name, device) in devices() {
        for scope in [MaskScope::Global, MaskScope::PerParameter] {
            let mut config = BlockOptimizerConfig::new(0.5).with_partition(Partition::Module);
            config.mask = scope;
            let mut run = Run::new(&device, config, blockllm(NEVER));
            run.steps(2, 1e-2);
            let (held, entries) = (run.optimizer.state_bytes(), run.optimizer.trained_entries());
            assert_eq!(held, run.optimizer.estimated_state_bytes(), "{name}");
            assert!(
                held >= entries * 8 && held <= entries * 12,
                "{name}: {held} for {entries}"
            );
        }
    }
}

#[test]
fn no_state_is_held_before_the_first_step_and_none_for_what_is_not_trained() {
    for (_, device) in devices() {
        let policy = Fixed::new(vec!["fc1.bias".into()]).unwrap();
        let mut run = Run::new(&device, BlockOptimizerConfig::new(0.0), policy);
        assert_eq!(run.optimizer.state_bytes(), 0);
        run.prepare(&crate::common::batch(0)).unwrap();
        assert_eq!(run.optimizer.state_bytes(), 0);
        run.steps(1, 1e-2);
        assert_eq!(run.optimizer.state_bytes(), 10 * 8);
    }
}
