//! 8-bit moments: close to f32 ones, at a third of the bytes, and resumed to the bit.
use crate::common::devices;
use blockllm_optim::{
    BlockOptimizer, BlockOptimizerConfig, GradientsParams, Lion, MaskRefresh, MomentPrecision, StateEstimate,
    Update,
};
use blockllm_policy::BlockLlmPolicy;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// `B` outputs of a matrix that is to become another: 96 x 96 entries, enough to be coded.
#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

const SIDE: usize = 96;
const ENTRIES: u64 = (SIDE * SIDE) as u64;

fn values(seed: u32, scale: f32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 24) as f32 - 0.5).powi(3) * scale
    };
    (0..SIDE * SIDE).map(next).collect()
}

fn tensor(seed: u32, scale: f32, device: &Device) -> Tensor<2> {
    Tensor::<1>::from_floats(values(seed, scale).as_slice(), device).reshape([SIDE, SIDE])
}

struct Run {
    model: Matrix,
    optimizer: BlockOptimizer,
    target: Tensor<2>,
    input: Tensor<2>,
}

impl Run {
    fn new(device: &Device, config: BlockOptimizerConfig) -> Self {
        let model = Matrix {
            weight: Param::from_tensor(tensor(1, 1.0, device)),
        };
        let policy = BlockLlmPolicy::new(1_000_000).unwrap();
        Self {
            optimizer: BlockOptimizer::new(&model, config, policy).unwrap(),
            model,
            target: tensor(2, 1.0, device),
            input: tensor(3, 3.0, device),
        }
    }

    fn step(&mut self) -> f32 {
        let (input, target) = (self.input.clone(), self.target.clone());
        let loss_of = move |model: &Matrix| {
            let miss = input.clone().matmul(model.weight.val() - target.clone());
            miss.square().mean()
        };
        self.model = self.optimizer.prepare(self.model.clone(), &loss_of).unwrap();
        let loss = loss_of(&self.model);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self
            .optimizer
            .step(self.model.clone(), gradients, 1e-3)
            .unwrap()
            .model;
        let loss = loss.into_scalar::<f32>();
        self.optimizer.observe(loss).unwrap();
        loss
    }

    fn weights(&self) -> Vec<f32> {
        self.model.weight.val().into_data().iter::<f32>().collect()
    }
}

fn config(sparsity: f64, moments: MomentPrecision, update: Update) -> BlockOptimizerConfig {
    let mut config = BlockOptimizerConfig::new(sparsity).with_update(update);
    config.moment_precision = moments;
    config
}

#[test]
fn coded_moments_train_nearly_as_f32_ones_do() {
    for (name, device) in devices() {
        for (sparsity, update) in [
            (0.0, Update::default()),
            (0.5, Update::default()),
            (0.0, Lion::default().into()),
        ] {
            let train = |moments| {
                let mut run = Run::new(&device, config(sparsity, moments, update));
                let first = run.step();
                for _ in 0..60 {
                    run.step();
                }
                (first, run.step())
            };
            let ((first, full), (_, coded)) = (train(MomentPrecision::F32), train(MomentPrecision::Int8));
            assert!(full < 0.8 * first, "{name}: it learns, {first} to {full}");
            let (gain, coded_gain) = (first - full, first - coded);
            assert!(
                (coded_gain / gain - 1.0).abs() < 0.03,
                "{name} {sparsity} {update:?}: {full} {coded}"
            );
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_codes() {
    let (device, update) = (Device::flex().autodiff(), Update::default());
    // 36 blocks of 256 codes and a scale, twice; beside a compact mask, an index for each entry.
    for (sparsity, bytes) in [
        (0.0, 2 * 36 * 260),
        (0.25, 2 * 27 * 260 + 6912 * 4),
        (0.5, 2 * 18 * 260 + 4608 * 4),
    ] {
        let mut run = Run::new(&device, config(sparsity, MomentPrecision::Int8, update));
        run.step();
        assert_eq!(run.optimizer.state_bytes(), bytes, "{sparsity}");
        assert_eq!(run.optimizer.estimated_state_bytes(), bytes);
        let trained = run.optimizer.trained_entries();
        assert_eq!(trained, (ENTRIES as f64 * (1.0 - sparsity)) as u64);
        let in_f32 = StateEstimate::new(ENTRIES, trained, 2).bytes();
        assert!(
            bytes * 5 < in_f32 * 3,
            "{sparsity}: {bytes} bytes in place of {in_f32}"
        );
    }
    // Few entries stay in f32.
    let mut run = Run::new(&device, config(0.9, MomentPrecision::Int8, update));
    run.step();
    assert_eq!(run.optimizer.state_bytes(), 922 * 12);
}

#[test]
fn a_resumed_run_gives_the_same_bits() {
    for (name, device) in devices() {
        for (sparsity, refresh) in [
            (0.0, MaskRefresh::EachSelection),
            (0.5, MaskRefresh::EachSelection),
            (0.5, MaskRefresh::EachStep),
        ] {
            let config = || {
                let mut config = config(sparsity, MomentPrecision::Int8, Update::default());
                config.refresh = refresh;
                config
            };
            let mut whole = Run::new(&device, config());
            for _ in 0..3 {
                whole.step();
            }
            let record = whole.optimizer.record().unwrap();
            let mut resumed = Run::new(&device, config());
            resumed.model = whole.model.clone();
            resumed.optimizer = BlockOptimizer::new(
                &whole.model.clone(),
                config(),
                BlockLlmPolicy::new(1_000_000).unwrap(),
            )
            .unwrap();
            resumed.optimizer.restore(record, &device).unwrap();
            for _ in 0..3 {
                whole.step();
                resumed.step();
            }
            assert_eq!(
                whole.weights(),
                resumed.weights(),
                "{name} {sparsity} {refresh:?}"
            );
        }
    }
}
