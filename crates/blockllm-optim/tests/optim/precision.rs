//! Half-precision weights: state and statistics stay in f32.
use crate::common::{NEVER, Run, Toy, batch, blockllm, roles};
use blockllm_optim::BlockOptimizerConfig;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};

struct Halve;

impl ModuleMapper for Halve {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| Tensor::from_inner(tensor.inner().cast(DType::BF16)).require_grad())
    }
}

#[cfg(feature = "flex")]
#[test]
fn bf16_weights_train_and_stay_bf16() {
    let device = Device::flex().autodiff();
    let config = BlockOptimizerConfig::new(0.6)
        .with_roles(roles(&["norm"], &[]))
        .with_max_grad_norm(Some(1.0));
    let model = Toy::new(&device).map(&mut Halve);
    let mut run = Run::of(model, &device, config, blockllm(NEVER));
    let first = run.step(&batch(0), 1e-2).unwrap().loss;
    for _ in 0..30 {
        run.step(&batch(0), 1e-2).unwrap();
    }
    let last = run.step(&batch(0), 1e-2).unwrap().loss;
    assert!(last < 0.7 * first, "{first} {last}");
    assert_eq!(run.model.fc1.weight.val().dtype(), DType::BF16);
    assert_eq!(run.optimizer.trained_entries(), 108);
    assert_eq!(run.optimizer.state_bytes(), run.optimizer.estimated_state_bytes());
}
