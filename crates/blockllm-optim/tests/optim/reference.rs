//! `BlockLLM` replayed against a plain PyTorch rendering of ALGORITHM.md.
//!
//! The numbers are made by `fixtures/blockllm_reference.py`: the same blocks at the same steps, the same probes,
//! losses, gradient norms and final weights, for both norm kinds.
use crate::clipping::gradients_of;
use crate::common::{Batch, Run, Toy, Weights, blockllm, devices, max_difference, roles, scalar};
use blockllm_optim::{AdamW, BlockOptimizerConfig, Groups, NormKind, SweepMode};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    norm: String,
    sparsity: f64,
    patience: usize,
    probes: usize,
    always: Vec<String>,
    learning_rate: f64,
    weight_decay: f32,
    max_grad_norm: Option<f64>,
    batches: Vec<Batch>,
    initial: Weights,
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
    probes_of_steps: Vec<Vec<String>>,
    selections: Vec<Selected>,
    r#final: Weights,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Selected {
    step: u64,
    blocks: Vec<String>,
}

impl Case {
    fn config(&self) -> BlockOptimizerConfig {
        let always: Vec<&str> = self.always.iter().map(String::as_str).collect();
        let mut config = BlockOptimizerConfig::new(self.sparsity)
            .with_roles(roles(&always, &[]))
            .with_norm(if self.norm == "rms" {
                NormKind::Rms
            } else {
                NormKind::Grad
            })
            .with_max_grad_norm(self.max_grad_norm)
            .with_groups(Groups::ungrouped())
            .with_update(AdamW {
                weight_decay: self.weight_decay,
                ..AdamW::default()
            });
        config.probes = self.probes;
        config.sweep = SweepMode::Grouped(2);
        config
    }

    fn replay(&self, name: &str, device: &burn::tensor::Device) {
        let model = Toy::with_weights(device, &self.initial);
        let mut run = Run::of(model, device, self.config(), blockllm(self.patience));
        let mut selections = Vec::new();
        let mut worst = [0f64; 2];
        for (step, expected) in self.losses.iter().enumerate() {
            let at = format!("{name} {} step {}", self.norm, step + 1);
            let batch = &self.batches[step % self.batches.len()];
            run.prepare(batch).unwrap();
            if let Some(event) = run.optimizer.take_selection_event() {
                selections.push(Selected {
                    step: event.step,
                    blocks: event.blocks,
                });
            }
            let (loss, gradients) = run.backward(batch);
            assert_eq!(self.probed(&run, &gradients), self.probes_of_steps[step], "{at}");
            let stepped = run
                .optimizer
                .step(run.model, gradients, self.learning_rate)
                .unwrap();
            run.model = stepped.model;
            run.optimizer.observe(loss).unwrap();
            let norm = scalar(stepped.grad_norm);
            for (worst, (found, expected)) in worst
                .iter_mut()
                .zip([(loss, *expected), (norm, self.grad_norms[step])])
            {
                let relative = (found / expected - 1.0).abs();
                assert!(relative < 1e-4, "{at}: {found} {expected}");
                *worst = worst.max(relative);
            }
        }
        // The last step of the script may select for a step that is never run.
        let last = self.losses.len() as u64;
        let expected: Vec<_> = self
            .selections
            .iter()
            .filter(|selection| selection.step < last)
            .collect();
        assert_eq!(
            selections.iter().collect::<Vec<_>>(),
            expected,
            "{name} {}",
            self.norm
        );
        let difference = max_difference(&run.weights(), &self.r#final);
        println!(
            "{name} {}: {} selections, loss within {:.1e}, gradient norm within {:.1e}, weights within {difference:.1e}",
            self.norm,
            selections.len(),
            worst[0],
            worst[1]
        );
        assert!(difference < 1e-4, "{name} {}: {difference:e}", self.norm);
    }

    /// Paths with a gradient that are neither selected nor always trained.
    fn probed(&self, run: &Run, gradients: &blockllm_optim::GradientsParams) -> Vec<String> {
        let selected = run.optimizer.selected_blocks();
        let found = gradients_of(&run.model, gradients).into_keys();
        let outside = |path: &String| !selected.contains(&path.as_str()) && !self.always.contains(path);
        found.filter(outside).collect()
    }
}

#[test]
fn sixty_steps_equal_the_plain_rendering() {
    let fixture: Fixture = serde_json::from_str(include_str!("../fixtures/blockllm_reference.json")).unwrap();
    assert_eq!(fixture.cases.len(), 2);
    for (name, device) in devices() {
        for case in &fixture.cases {
            case.replay(name, &device);
        }
    }
}
