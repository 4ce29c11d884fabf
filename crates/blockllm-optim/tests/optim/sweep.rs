//! The sweep: the same norms however it is grouped, and never more gradients than it says.
use crate::common::{ENTRIES, NEVER, Run, batch, blockllm, devices, roles};
use blockllm_optim::{BlockOptimizerConfig, SweepMode};
use blockllm_policy::Partition;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Which parameters require gradients, by position.
fn trainable<M: Module>(module: &M) -> Vec<bool> {
    struct Reader(Vec<bool>);
    impl ModuleVisitor for Reader {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.is_require_grad());
        }
    }
    let mut reader = Reader(Vec::new());
    module.visit(&mut reader);
    reader.0
}

/// The norms after a sweep, and the blocks that were free in each of its passes.
fn swept(
    device: &burn::tensor::Device,
    mode: SweepMode,
    partition: Partition,
) -> (Vec<Option<f64>>, Vec<Vec<usize>>) {
    let mut config = BlockOptimizerConfig::new(0.8)
        .with_partition(partition)
        .with_roles(roles(&["norm.gamma"], &["fc2.bias"]));
    config.sweep = mode;
    let run = Run::new(device, config, blockllm(NEVER));
    let (model, mut optimizer) = (run.model, run.optimizer);
    let blocks = optimizer.selector().blocks().to_vec();
    let mut passes = Vec::new();
    let model = optimizer.prepare(model, |model| {
        let free = trainable(model);
        let is_free = |index: &usize| blocks[*index].params.iter().any(|param| free[*param]);
        passes.push((0..blocks.len()).filter(is_free).collect());
        model.loss(&batch(0), device)
    });
    model.unwrap();
    (optimizer.selector().norms().to_vec(), passes)
}

#[test]
fn grouped_and_full_sweeps_measure_the_same() {
    for (name, device) in devices() {
        for partition in [Partition::Tensor, Partition::Module] {
            let (full, passes) = swept(&device, SweepMode::Full, partition.clone());
            assert_eq!(passes.len(), 1, "{name}");
            for group in 1..=6 {
                let (grouped, passes) = swept(&device, SweepMode::Grouped(group), partition.clone());
                let candidates = full.iter().flatten().count();
                assert_eq!(passes.len(), candidates.div_ceil(group), "{name}");
                assert!(
                    passes.iter().all(|free| free.len() <= group),
                    "{name} {group}: {passes:?}"
                );
                assert_eq!(passes.concat().len(), candidates, "{name}: each candidate once");
                for (a, b) in full.iter().zip(&grouped) {
                    assert_eq!(a.is_some(), b.is_some());
                    if let (Some(a), Some(b)) = (a, b) {
                        assert!((a / b - 1.0).abs() < 1e-6, "{name} {group}: {a} {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_sweep_leaves_the_weights_and_only_the_first_selection_runs_one() {
    for (name, device) in devices() {
        let mut config = BlockOptimizerConfig::new(0.8);
        config.probes = 0;
        let mut run = Run::new(&device, config, blockllm(1));
        let before = run.weights();
        run.prepare(&batch(0)).unwrap();
        assert_eq!(before, run.weights(), "{name}");
        run.steps(3, 1e-2);
        run.optimizer.request_selection();
        let model = run
            .optimizer
            .prepare(run.model, |_| panic!("{name}: a later selection needs no sweep"));
        assert_eq!(trainable(&model.unwrap()).len(), 7);
        assert!(run.optimizer.gradient_entries() < ENTRIES);
    }
}
