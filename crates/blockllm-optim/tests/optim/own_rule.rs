//! An update rule from outside the crate: it knows its parameter, keeps to the mask, decays or not by group, and its state
//! is refused by another rule.
use crate::common::devices;
use blockllm_optim::{
    BlockOptimizer, BlockOptimizerConfig, GradientsParams, OptimError, ParameterGroup, StepContext,
    UpdateRule,
};
use blockllm_policy::{All, RandomBlocks};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// SGD that goes twice as far in vectors, and counts its steps in its state.
#[derive(Debug)]
struct Counting {
    decay: f64,
}

impl UpdateRule for Counting {
    fn state_arrays(&self) -> usize {
        1
    }

    fn update(
        &self,
        context: StepContext<'_>,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        mut state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let scale = match context.parameter.group() {
            ParameterGroup::Vectors => 2.0,
            _ => 1.0,
        };
        assert_eq!(context.parameter.info.shape.len() == 1, scale > 1.0);
        let change =
            (gradient.mul_scalar(scale) + weight.mul_scalar(self.decay)).mul_scalar(-context.learning_rate);
        (change, vec![state.remove(0).add_scalar(1.0)])
    }

    fn validate(&self) -> Result<(), OptimError> {
        if self.decay >= 0.0 {
            return Ok(());
        }
        Err(OptimError::Setting {
            field: "decay",
            value: self.decay.to_string(),
            mend: "use 0 or more",
        })
    }

    fn without_decay(&self) -> Option<Box<dyn UpdateRule>> {
        Some(Box::new(Self { decay: 0.0 }))
    }

    /// In a dense mask too, whose first array tells what is left out.
    fn is_non_negative(&self, _: usize) -> bool {
        true
    }
}

#[derive(Module, Debug)]
struct Model {
    matrix: Param<Tensor<2>>,
    gain: Param<Tensor<1>>,
}

impl Model {
    fn ones(device: &Device) -> Self {
        Self {
            matrix: Param::from_tensor(Tensor::ones([3, 4], device)),
            gain: Param::from_tensor(Tensor::ones([4], device)),
        }
    }

    /// 1, 2, 3, ... for each parameter.
    fn gradients(&self, device: &Device) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        let matrix = Tensor::<1, burn::tensor::Int>::arange(1..13, device).float();
        gradients.register(self.matrix.id, matrix.reshape([3, 4]));
        let gain = Tensor::<1, burn::tensor::Int>::arange(1..5, device).float();
        gradients.register(self.gain.id, gain);
        gradients
    }
}

fn numbers<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    param.val().into_data().iter::<f32>().collect()
}

#[test]
fn it_knows_its_parameter_and_vectors_do_not_decay() {
    for (name, device) in devices() {
        let device = device.without_autodiff();
        let config = BlockOptimizerConfig::new(0.0).with_update(Counting { decay: 0.5 });
        let mut model = Model::ones(&device);
        let mut optimizer = BlockOptimizer::new(&model, config, All).unwrap();
        model = optimizer
            .prepare(model, |_| unreachable!("nothing is swept"))
            .unwrap();
        let gradients = model.gradients(&device);
        model = optimizer.step(model, gradients, 0.01).unwrap().model;
        optimizer.observe(1.0).unwrap();
        let matrix: Vec<f32> = (1..13).map(|g| 1.0 - 0.01 * (g as f32 + 0.5)).collect();
        let gain: Vec<f32> = (1..5).map(|g| 1.0 - 0.02 * g as f32).collect();
        for (found, expected) in [(numbers(&model.matrix), matrix), (numbers(&model.gain), gain)] {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6, "{name}: {found} {expected}");
            }
        }
        let record = optimizer.record().unwrap();
        let other = BlockOptimizerConfig::new(0.0).with_update(Counting { decay: 0.25 });
        let mut other = BlockOptimizer::new(&model, other, All).unwrap();
        let refused = other.restore(record, &device).unwrap_err().to_string();
        assert!(refused.contains("update") && refused.contains("0.5"), "{refused}");
    }
}

#[test]
fn a_state_without_negative_numbers_is_kept_under_a_dense_mask() {
    for (name, device) in devices() {
        let device = device.without_autodiff();
        // More than half of a matrix is trained: a list of places would be longer than the entries that it leaves out.
        let optimizer = |model: &Model| {
            let config = BlockOptimizerConfig::new(0.5).with_update(Counting { decay: 0.0 });
            BlockOptimizer::new(model, config, RandomBlocks::new(100, None).unwrap()).unwrap()
        };
        let mut model = Model::ones(&device);
        let mut first = optimizer(&model);
        model = first
            .prepare_with(model, |model| model.gradients(&device))
            .unwrap();
        let gradients = model.gradients(&device);
        model = first.step(model, gradients, 0.01).unwrap().model;
        first.observe(1.0).unwrap();
        let moved = [numbers(&model.matrix), numbers(&model.gain)].concat();
        let stayed = moved
            .iter()
            .filter(|weight| (**weight - 1.0).abs() < 1e-6)
            .count();
        assert_eq!(stayed, 8, "{name}: half of 16 entries");
        let record = first.record().unwrap();
        optimizer(&model).restore(record, &device).unwrap();
    }
}

#[test]
fn its_own_settings_are_checked_before_the_first_step() {
    let device = devices().remove(0).1;
    let config = BlockOptimizerConfig::new(0.0).with_update(Counting { decay: -1.0 });
    let refused = BlockOptimizer::new(&Model::ones(&device), config, All).unwrap_err();
    assert!(refused.to_string().contains("use 0 or more"), "{refused}");
}
